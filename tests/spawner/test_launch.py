"""Containers of the machine's own programs, made by the real Bubblewrap, and who listens where."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from guix_environment import processes
from guix_environment.container import ContainerPlan, Mount, PlacedFile, TemporaryFolder
from guix_environment.errors import SessionFailure
from guix_environment.processes import Account
from guixspawner.checks import (
    check_containers,
    check_environment_items,
    check_folders,
    check_server_items,
    find_bubblewrap,
    first_closed_folder,
)
from guixspawner.launch import launch, listens, until_listening
from tests.spawner.conftest import PROFILE

OWN = Account(os.geteuid(), os.getegid())
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no Bubblewrap here")


def plan(*command: str) -> ContainerPlan:
    """Return a container that sees the machine's programs in the place of a profile's."""
    seen = ("/usr", "/bin", "/lib", "/lib64", sys.base_prefix)
    return ContainerPlan(
        store_items=(),
        command=command,
        directory="/tmp",
        variables={"PATH": "/usr/bin:/bin", "SECRET": "known inside"},
        host_name="analysis",
        mounts=tuple(Mount(folder, folder, optional=True) for folder in seen),
        temporary_folders=(TemporaryFolder("/tmp", 0o1777, 2**20),),
        files=(PlacedFile("/etc/one", b"1" * 100000), PlacedFile("/etc/two", b"two\n", 0o555)),
        shared_memory=2**20,
    )


async def outcome(*command: str) -> tuple[int, str]:
    with tempfile.TemporaryFile() as log:
        container = await launch("/usr/bin/bwrap", plan(*command), account=OWN, log=log.fileno())
        status = await container.monitor.wait()
        log.seek(0)
        return status, log.read().decode()


@needs_bubblewrap
async def test_what_was_planned_is_there() -> None:
    script = "wc -c </etc/one; cat /etc/two; stat -c %a /etc/one /etc/two; echo $SECRET; hostname; echo $$; id -u; >/etc/x"
    status, printed = await outcome("/bin/sh", "-c", script)
    assert status != 0
    assert printed.splitlines()[:-1] == ["100000", "two", "444", "555", "known inside", "analysis", "1", "1000"]
    assert "Read-only file system" in printed


@needs_bubblewrap
async def test_no_open_file_of_ours_is_left_to_the_container() -> None:
    _, printed = await outcome("/bin/ls", "/proc/self/fd")
    assert printed.split() == ["0", "1", "2", "3"], "the last one is the folder that is listed"


@needs_bubblewrap
async def test_memory_is_bounded() -> None:
    for folder in ("/tmp", "/dev/shm"):
        status, printed = await outcome("/bin/sh", "-c", f"head -c 3000000 /dev/zero >{folder}/x")
        assert (status != 0, "No space left" in printed) == (True, True)


@needs_bubblewrap
async def test_the_first_process_is_the_container() -> None:
    with tempfile.TemporaryFile() as log:
        container = await launch("/usr/bin/bwrap", plan("/bin/sleep", "60"), account=OWN, log=log.fileno())
        assert Path(f"/proc/{container.first.pid}/comm").read_text() in {"sleep\n", "bwrap\n"}
        container.monitor.kill()
        await container.monitor.wait()
        assert processes.is_running(container.first), "a container goes on without Bubblewrap"
        await processes.end(container.first, grace=0)
        assert not processes.is_running(container.first)


@needs_bubblewrap
async def test_a_container_that_cannot_be_made_is_told_at_once() -> None:
    with tempfile.TemporaryFile() as log:
        missing = ContainerPlan((PROFILE,), ("/bin/true",), "/", {}, "x")
        # Bubblewrap may have ended before or after it was asked which process the container is.
        with contextlib.suppress(SessionFailure):
            container = await launch("/usr/bin/bwrap", missing, account=OWN, log=log.fileno())
            assert not await asyncio.wait_for(until_listening(container.first, 1, OWN.uid), 10)
        with pytest.raises(SessionFailure):
            await launch("/nonexistent/bwrap", missing, account=OWN, log=log.fileno())
        with pytest.raises(SessionFailure):
            await launch("/bin/false", missing, account=OWN, log=log.fileno())


@needs_bubblewrap
@pytest.mark.parametrize("moment", [0, 0.001, 0.002, 0.004, 0.008])
async def test_a_launch_that_is_given_up_leaves_nothing(moment: float) -> None:
    mark = f"61.{os.getpid()}"
    with tempfile.TemporaryFile() as log:
        task = asyncio.create_task(launch("/usr/bin/bwrap", plan("/bin/sleep", mark), account=OWN, log=log.fileno()))
        await asyncio.sleep(moment)
        if task.done():
            await processes.end(task.result().first, grace=0)
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    # The monitor ends a moment after the container.
    await asyncio.sleep(0.1)
    assert [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(path)] == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_who_listens_is_read_from_the_kernels_table() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert not listens(Path("/proc/net/tcp").read_text(), port, OWN.uid)
        listener.listen()
        table = Path("/proc/net/tcp").read_text()
    assert listens(table, port, OWN.uid)
    assert not listens(table, port, OWN.uid + 1), "somebody else's server is not the session's"
    assert not listens(table, port + 1, OWN.uid)


@needs_bubblewrap
async def test_this_machine_makes_containers() -> None:
    await check_containers("bwrap", OWN)
    if os.geteuid() == 0:
        await check_containers("bwrap", Account(70000, 70000))


async def test_what_the_machine_lacks_is_told() -> None:
    with pytest.raises(SessionFailure, match="not installed") as missing:
        find_bubblewrap("no-such-program")
    assert "apt-get install bubblewrap" in missing.value.hint
    with pytest.raises(SessionFailure, match="does not let ordinary accounts make containers"):
        await check_containers("/bin/false", OWN)


def test_a_collected_item_is_told() -> None:
    with pytest.raises(SessionFailure, match="A part of Plots is no longer on this machine") as lost:
        check_environment_items("Plots", [PROFILE])
    assert "build it again" in lost.value.hint
    with pytest.raises(SessionFailure, match="A part of JupyterLab is no longer on this machine"):
        check_server_items([PROFILE])


def test_a_folder_that_others_cannot_enter_is_found(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/") and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    assert first_closed_folder(inner) is None
    inner.parent.chmod(0o700)
    assert first_closed_folder(inner) == inner.parent
    check_folders(OWN, inner)
    with pytest.raises(SessionFailure, match="closed to its sessions") as closed:
        check_folders(Account(OWN.uid + 1, OWN.gid), inner)
    assert str(inner.parent) in str(closed.value.details)
