"""What all who follow a build look at, read once for all of them and not once for each.

Five hundred people may follow one build, and whatever is announced of it wakes all of them at the same moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from guix_build_service.logs.build_logs import Logs
from guix_build_service.model.environments import Build, BuildState, Environment, LogText, Person
from guix_build_service.queue.reports import Followers
from guix_build_service.store import Store
from guix_environment.errors import NotFound
from guix_environment.identifiers import BuildId

FRESH_SECONDS = 1.0
"""How long what was read counts where nothing was announced: another process may have changed it."""

PIECE_FOLLOWED = 64 * 1024
"""Bytes of a log that a follower gets at once, and that wait in memory for a slow one."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class SeenBuild:
    """A build, and for whom it is."""

    build: Build
    environments: Sequence[Environment]
    owners: frozenset[str]
    """Whose they are: most of who follows a build, found at once however many they are."""

    def may_be_seen_by(self, person: Person) -> bool:
        """Tell whether PERSON may know of the build: one of its environments, or that they asked for it, lets them."""
        return (
            person.admin
            or self.build.requested_by == person.name
            or person.name in self.owners
            or any(environment.may_be_seen_by(person) for environment in self.environments)
        )


@dataclass(slots=True)
class _Look:
    """What was read since the last announcement, or is being read."""

    announcements: int
    since: float
    reads: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)

    async def once(self, what: Hashable, read: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return what READ gives, which is called for the first who asks for WHAT."""
        if what not in self.reads:
            self.reads[what] = asyncio.ensure_future(_of(read()))
        result: _Result = await asyncio.shield(self.reads[what])  # the others wait for it too
        return result


async def _of(read: Awaitable[_Result]) -> _Result:
    return await read


class SharedLooks:
    """Looks at builds and their logs for whoever follows them."""

    def __init__(self, store: Store, logs: Logs, followers: Followers) -> None:
        """Look into STORE and LOGS, anew after what is announced to FOLLOWERS."""
        self._store = store
        self._logs = logs
        self._followers = followers
        self._looks: dict[BuildId, _Look] = {}

    async def build(self, build: BuildId, person: Person) -> Build:
        """Return BUILD as it was after the last announcement, or later.  Raises `NotFound` where PERSON may not see it."""
        seen = await self._look(build).once("build", lambda: self._read(build))
        if not seen.may_be_seen_by(person):
            seen = await self._read(build)  # who joins a build is announced to nobody
        if not seen.may_be_seen_by(person):
            raise NotFound("There is no such build.")
        return seen.build

    async def piece(self, build: BuildId, position: int, *, finished: bool) -> LogText:
        """Return what follows byte POSITION of BUILD's log, `PIECE_FOLLOWED` at most, as `Logs.read` does."""
        return await self._look(build).once(
            (position, finished),
            lambda: asyncio.to_thread(self._logs.read, build, position, PIECE_FOLLOWED, finished=finished),
        )

    def _look(self, build: BuildId) -> _Look:
        announcements, moment = self._followers.announcements(build), asyncio.get_running_loop().time()
        look = self._looks.get(build)
        if look is None:
            self._looks = {each: known for each, known in self._looks.items() if self._followers.has(each)}
        if look is None or look.announcements != announcements or moment - look.since > FRESH_SECONDS:
            look = self._looks[build] = _Look(announcements, moment)
        return look

    async def _read(self, build: BuildId) -> SeenBuild:
        found, environments = await self._store.build_and_environments(build)
        if found.state is BuildState.QUEUED:
            found = replace(found, expected=await self._store.expectation(build))
        return SeenBuild(found, environments, frozenset(environment.owner for environment in environments))
