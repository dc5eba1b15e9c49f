"""What watchers of a start see."""

import asyncio

from guixspawner.progress import ProgressEvent, StartProgress


async def seen(progress: StartProgress, patience: float = 30) -> list[ProgressEvent]:
    return [event async for event in progress.follow(patience=patience)]


async def test_each_watcher_sees_everything_whenever_it_comes() -> None:
    progress = StartProgress()
    progress.add(10, "first")
    early = [asyncio.create_task(seen(progress)) for _ in range(3)]
    await asyncio.sleep(0)
    progress.add(20, "second")
    progress.add(30, "third")
    await asyncio.sleep(0)
    progress.add(40, "fourth")
    progress.end()
    late = await seen(progress)
    assert [event["message"] for event in late] == ["first", "second", "third", "fourth"]
    for task in early:
        assert await task == late


async def test_a_start_that_takes_long_says_so_and_never_claims_to_be_done() -> None:
    progress = StartProgress()
    progress.add(30, "first")
    events = []
    async for event in progress.follow(patience=0.001):
        events.append(event)
        if len(events) > 20:
            progress.end()
    percents = [event["progress"] for event in events]
    assert percents == sorted(percents)
    assert 50 < percents[-1] <= 90
    assert events[-1]["message"].startswith("Still starting")


async def test_a_bar_that_is_nearly_full_does_not_go_back() -> None:
    progress = StartProgress()
    progress.add(95, "JupyterLab is there")
    following = progress.follow(patience=0)
    assert [(await anext(following))["progress"] for _ in range(3)] == [95, 95, 95]


async def test_a_start_that_was_never_begun_keeps_nobody_waiting_for_its_end() -> None:
    progress = StartProgress()
    progress.end()
    assert await seen(progress) == []
