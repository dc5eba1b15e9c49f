"""Control groups and systemd on this machine's own kernel: what they bound, what survives, and what is left."""

import asyncio
import copy
import os
import signal
from pathlib import Path

import pytest

from guix_environment import process_identity
from guixspawner.limits import Backend, BackendKind, Limits
from guixspawner.limits.cgroups import folders_of, members

from .conftest import throttled
from .tree import Server

KEY = "ada.default"
MIB = 1024**2
LIMITS = Limits(memory=96 * MIB, cpu=0.5, processes=40)


def kills(events: Path) -> int:
    (count,) = [int(line.split()[1]) for line in events.read_text().splitlines() if line.startswith("oom_kill ")]
    return count


async def test_what_is_in_force_is_what_was_asked_for(backend: Backend, server: Server) -> None:
    enforced = await backend.hold(KEY, server.identity, LIMITS)
    assert (enforced.memory, enforced.cpu, enforced.processes) == (96 * MIB, 0.5, 40)
    assert enforced.backend == backend.kind
    assert enforced.memory_events
    assert kills(enforced.memory_events) == 0


async def test_nothing_is_in_force_that_was_not_asked_for(backend: Backend, server: Server) -> None:
    enforced = await backend.hold(KEY, server.identity, Limits())
    assert (enforced.memory, enforced.cpu) == (None, None)
    assert server.ask("kernel", 150 * MIB) == "0"


async def test_too_much_memory_ends_the_kernel_and_not_the_server(backend: Backend, server: Server) -> None:
    enforced = await backend.hold(KEY, server.identity, LIMITS)
    # The server has more than half of all, and the kernel goes nevertheless.
    assert server.ask("fill-server", 40 * MIB) == "kept"
    assert server.ask("kernel", 400 * MIB) == str(-signal.SIGKILL)
    assert server.ask("ping") == "pong"
    assert enforced.memory_events
    assert kills(enforced.memory_events) == 1
    assert server.ask("kernel", 8 * MIB) == "0"


async def test_memory_within_the_limit_is_left_alone(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    assert server.ask("kernel", 40 * MIB) == "0"


async def test_processes_come_to_an_end(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    assert int(server.ask("bomb", 200)) == 39
    assert server.ask("ping") == "pong"


async def test_computing_is_bounded(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, Limits(cpu=0.25))
    before = throttled(server.pid)
    for _ in range(10):
        assert float(server.ask("spin", 2)) < 0.4
        if throttled(server.pid) > before:
            return
    pytest.skip("this machine is too busy to give a session as much as it may have")


async def test_end_takes_everything(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    server.ask("daemons", 10)
    folders = set(folders_of(server.pid).values())
    held = await pids_of(backend, server)
    assert len(held) == 11
    await backend.end(KEY)
    assert not [pid for pid in held if process_identity.identify(pid)]
    assert not await backend.leftovers()
    assert not [folder for folder in folders if KEY in str(folder) and folder.exists()]


async def test_end_takes_what_flees(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    server.ask("keep-forking")
    await backend.end(KEY)
    assert not await backend.leftovers()


async def test_end_of_nothing_is_nothing(backend: Backend, server: Server) -> None:
    await backend.end(KEY)
    await backend.hold(KEY, server.identity, LIMITS)
    await asyncio.gather(backend.end(KEY), backend.end(KEY))
    await backend.end(KEY)
    assert not await backend.leftovers()


async def test_others_are_left_alone(backend: Backend, server: Server) -> None:
    other = Server()
    try:
        await backend.hold(KEY, server.identity, LIMITS)
        await backend.hold("ada.second", other.identity, LIMITS)
        assert set(await backend.leftovers()) == {KEY, "ada.second"}
        await backend.end(KEY)
        assert other.ask("ping") == "pong"
        assert set(await backend.leftovers()) == {"ada.second"}
    finally:
        await backend.end("ada.second")
        other.close()


async def test_a_new_session_of_the_same_name_ends_what_is_left_of_the_old(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    server.ask("daemons", 3)
    old = await pids_of(backend, server)
    server.ask("kernel", 400 * MIB)
    other = Server()
    try:
        enforced = await backend.hold(KEY, other.identity, LIMITS)
        assert not [pid for pid in old if process_identity.identify(pid)]
        assert enforced.memory_events
        assert kills(enforced.memory_events) == 0
        assert other.ask("ping") == "pong"
    finally:
        await backend.end(KEY)
        other.close()


async def test_a_hub_that_was_restarted_knows_it_again(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    again = copy.copy(backend)
    assert set(await again.leftovers()) == {KEY}
    await again.end(KEY)
    assert not process_identity.is_running(server.identity)


async def test_usage(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    before = await backend.usage(KEY)
    server.ask("fill-server", 30 * MIB)
    server.ask("daemons", 2)
    after = await backend.usage(KEY)
    assert before.memory is not None
    assert after.memory is not None
    assert 25 * MIB < after.memory - before.memory < 60 * MIB
    assert before.processes == 1
    assert after.processes == 3
    assert after.cpu is not None
    assert after.cpu > 0
    await backend.end(KEY)
    unused = await backend.usage(KEY)
    assert unused.memory is None


async def test_what_is_promised_is_written_down(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, Limits(memory_guarantee=32 * MIB, cpu_guarantee=1.0))
    folders = folders_of(server.pid)
    if backend.kind == BackendKind.CGROUP_V1:
        assert (folders["memory"] / "memory.soft_limit_in_bytes").read_text().strip() == str(32 * MIB)
        assert (folders["cpu"] / "cpu.shares").read_text().strip() == "10240"
    else:
        assert (folders[""] / "memory.low").read_text().strip() == str(32 * MIB)
        assert (folders[""].parent / "memory.low").read_text().strip() == "max"
        assert (folders[""] / "cpu.weight").read_text().strip() == "1024"


async def test_the_hub_is_not_in_the_group_of_a_session(backend: Backend, server: Server) -> None:
    await backend.hold(KEY, server.identity, LIMITS)
    assert os.getpid() not in await pids_of(backend, server)


async def pids_of(backend: Backend, server: Server) -> set[int]:
    folders = folders_of(server.pid)
    name = "memory" if backend.kind == BackendKind.CGROUP_V1 else ""
    return members([folders[name]])
