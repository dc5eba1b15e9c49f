"""The process that is ready: shared by starts, replaced, ended, and never in the way when it is killed."""

import asyncio
import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

from guix_environment import process_identity
from guix_environment.container import Network
from guix_environment.records import ServerRecord
from guixspawner.limits import BackendKind, Limits, SessionLimits, cgroups
from guixspawner.session_key import SessionKey
from guixspawner.warm_start import WarmStart
from tests.containers import ACCOUNT
from tests.spawner.warm_start.starting import groups_of, printed, probing, ready_processes, warmed


@pytest.mark.guix
async def test_that_no_open_file_is_left_behind(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    [found] = ready_processes(settings)
    await printed(launcher, probing(server, "pass"))
    ours, theirs = await _settled(Path("/proc/self")), await _settled(found)
    for _ in range(5):
        await printed(launcher, probing(server, "pass"))
    assert (await _settled(Path("/proc/self")), await _settled(found)) == (ours, theirs)


async def _settled(process: Path) -> int:
    """Return how many files PROCESS has open, once that has been the same for a while: it may be about to close some."""
    counted: list[int] = []
    while len(counted) < 20 or len(set(counted[-20:])) > 1:
        counted.append(len(list((process / "fd").iterdir())))
        await asyncio.sleep(0.1)
    return counted[-1]


@pytest.mark.guix
async def test_that_another_profile_takes_over(settings: WarmStart, server: ServerRecord) -> None:
    await warmed(settings, server)
    [old] = ready_processes(settings)
    settings.idle = 77.0
    await warmed(settings, server)
    # The other one answers as soon as it has its place; the one before takes a moment to end.
    while old in ready_processes(settings):
        await asyncio.sleep(0.05)
    assert len(ready_processes(settings)) == 1


@pytest.mark.guix
async def test_that_it_ends_when_nobody_needs_it(settings: WarmStart, server: ServerRecord) -> None:
    settings.idle = 1.0
    launcher = await warmed(settings, server)
    while ready_processes(settings):
        await asyncio.sleep(0.1)
    assert await printed(launcher, probing(server, "print('here')")) == "here\n"


@pytest.mark.guix
async def test_that_no_group_is_left_of_one_that_ended(settings: WarmStart, server: ServerRecord) -> None:
    backend = await SessionLimits(parent=settings).chosen()
    if backend.kind in {BackendKind.RLIMITS, BackendKind.NOTHING}:
        pytest.skip("this machine has no groups of control that could be used")
    settings.idle = 1.0
    await warmed(settings, server)
    [found] = ready_processes(settings)
    groups = {path for path in cgroups.folders_of(found.name).values() if "/warm-" in str(path) or "-warm-" in path.name}
    assert groups
    while ready_processes(settings):
        await asyncio.sleep(0.1)
    # Systemd takes a moment to see that its scope is empty.
    while await groups_of(settings):
        await asyncio.sleep(0.1)
    assert not [path for path in groups if path.exists()]


@pytest.mark.guix
async def test_that_sessions_may_share_what_is_loaded(settings: WarmStart, server: ServerRecord) -> None:
    settings.shared = 3
    launcher = await warmed(settings, server)
    seeds = [json.loads(await printed(launcher, probing(server)))["seed"] for _ in range(6)]
    assert 2 <= len(set(seeds)) <= 3


@pytest.mark.guix
async def test_that_many_starts_at_once_all_come_up(settings: WarmStart, server: ServerRecord) -> None:
    settings.patience = 0.3
    launcher = await warmed(settings, server)
    shown = await asyncio.gather(*(printed(launcher, probing(server, f"print({number})")) for number in range(12)))
    assert [text.strip() for text in shown] == [str(number) for number in range(12)]


@pytest.mark.guix
async def test_that_it_belongs_neither_to_the_hub_nor_to_a_session(settings: WarmStart, server: ServerRecord) -> None:
    backend = await SessionLimits(parent=settings).chosen()
    if backend.kind in {BackendKind.RLIMITS, BackendKind.NOTHING}:
        pytest.skip("this machine has no groups of control that could be used")
    launcher = await warmed(settings, server)
    [found] = ready_processes(settings)
    [own] = await groups_of(settings)
    assert own.startswith("warm-")
    assert SessionKey.within(own) is None
    assert own in (found / "cgroup").read_text()
    assert own not in Path("/proc/self/cgroup").read_text()
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(ACCOUNT, Network.OWN, log.fileno())
        await backend.hold("somebody.default", waiting.first, Limits())
        assert own not in Path(f"/proc/{waiting.first.pid}/cgroup").read_text()
        waiting.give_up()
        await backend.end("somebody.default")
    ready = process_identity.identify(int(found.name))
    assert ready is not None
    await process_identity.end(ready, grace=0)
    os.utime(next(Path(settings.folder).glob("*.sock")), (0, 0))
    await printed(launcher, probing(server, "pass"))
    [other] = await groups_of(settings)
    assert other != own


@pytest.mark.guix
async def test_that_it_does_not_grow(settings: WarmStart, server: ServerRecord) -> None:
    settings.shared = 1000
    launcher = await warmed(settings, server)
    [found] = ready_processes(settings)
    before = _resident(found)
    for _ in range(200):
        await printed(launcher, probing(server, "pass"))
    assert ready_processes(settings) == [found]
    assert _resident(found) < before + 512
    assert not (found / f"task/{found.name}/children").read_text()


def _resident(process: Path) -> int:
    """Return the kilobytes of memory that PROCESS has."""
    [line] = [line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


@pytest.mark.guix
async def test_that_a_start_goes_on_when_the_process_is_stopped_or_killed(settings: WarmStart, server: ServerRecord) -> None:
    settings.patience = 0.2
    launcher = await warmed(settings, server)
    [found] = ready_processes(settings)
    os.kill(int(found.name), signal.SIGSTOP)
    starting = [asyncio.create_task(printed(launcher, probing(server, "print('here')"))) for _ in range(3)]
    assert await asyncio.gather(*starting) == ["here\n"] * 3
    starting = [asyncio.create_task(printed(launcher, probing(server, "print('here')"))) for _ in range(3)]
    await asyncio.sleep(0.05)
    os.kill(int(found.name), signal.SIGKILL)
    assert await asyncio.gather(*starting) == ["here\n"] * 3
