"""What becomes known of a build, told to all who follow it."""

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise

from guix_build_service.queue.reports import WOKEN_AT_ONCE, Followers
from guix_environment.identifiers import BuildId


async def test_all_who_follow_are_woken_and_others_are_served_between() -> None:
    followers, build, many = Followers(), BuildId.new(), 3 * WOKEN_AT_ONCE + 1
    async with AsyncExitStack() as stack:
        sleeping = [await stack.enter_async_context(followers.following(build)) for _ in range(many)]
        unconcerned = await stack.enter_async_context(followers.following(BuildId.new()))
        followers.announce(build)
        woken = [sum(event.is_set() for event in sleeping)]
        while woken[-1] < many:
            await asyncio.sleep(0)
            woken.append(sum(event.is_set() for event in sleeping))
        assert woken[0] <= WOKEN_AT_ONCE
        assert all(after - before <= WOKEN_AT_ONCE for before, after in pairwise(woken))
        assert not unconcerned.is_set()
    assert not followers.has(build)
    followers.announce(build)  # nobody is left
