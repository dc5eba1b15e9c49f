"""Starts from the ready process: like others from inside, and never in the way of a start when it fails."""

import array
import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jupyterhub
import pytest
from traitlets.config import Config

from guix_build_service.server_definitions import definitions_folder
from guix_build_service.server_layer import ServerProfileSettings, ensure_server_profile
from guix_environment import processes
from guix_environment.container import ContainerPlan, Link, Network, PlacedFile, TemporaryFolder
from guix_environment.identifiers import StorePath
from guix_environment.launcher import parent, placed, requests
from guix_environment.records import ServerRecord
from guix_environment.session_layout import PYTHON
from guix_environment.system_call_filter import compiled
from guixspawner.launch import ColdLauncher, Launcher
from guixspawner.life.sweep import session_key
from guixspawner.limits import BackendKind, Limits, SessionLimits, cgroups
from guixspawner.warm_start import WarmLauncher, WarmStart
from tests.containers import ACCOUNT, processes_with
from tests.spawner.test_launch import plan

PROBE = """
import json, os, resource, signal, sys
def lines(path):
    return open(path).read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines("/proc/self/status") if ":\\t" in line)
mask = os.umask(0); os.umask(mask)
print(json.dumps({
    "variables": dict(os.environ), "folder": os.getcwd(), "arguments": sys.argv[1:], "mask": mask,
    "account": [os.getresuid(), os.getresgid(), os.getgroups()],
    "status": {name: status[name] for name in status if name.startswith(("Cap", "Sig", "Shd", "NoNew", "Sec", "Groups"))},
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")},
    "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "files": sorted(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)),
    "pipes": sorted(kind for n in range(3, 64) if os.path.exists(f"/proc/self/fd/{n}")
                    for kind in [os.readlink(f"/proc/self/fd/{n}").partition(":")[0]]),
    "parent": os.getppid(), "leads_a_group": os.getpgid(0) == os.getpid(), "session": os.getsid(0),
    "flags": list(sys.flags), "path": sys.path[-3:], "main": __name__, "file": __file__,
    "mounts": [line.split()[4] for line in lines("/proc/self/mountinfo")],
    "processes": len([n for n in os.listdir("/proc") if n.isdigit()]),
    "seed": hash("seed"), "layout": [line.split("-")[0] for line in lines("/proc/self/maps") if line.endswith("[stack]")],
    "title": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0")[-5:],
}), flush=True)
"""


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[WarmStart]:
    """Settings with a folder and a group of their own; whatever was started for them is ended."""
    group = Config({"SessionLimits": {"group": f"guix_test_{tmp_path.name}_{os.getpid()}"}})
    made = WarmStart(folder=str(tmp_path / "warm"), patience=10.0, config=group)
    yield made
    for folder in processes_with("launcher/parent.py"):
        # Others' may end at any moment.
        with contextlib.suppress(OSError):
            if str((folder / "fd/2").readlink()) == f"{tmp_path}/warm/log":
                os.kill(int(folder.name), signal.SIGKILL)
    for key in await groups_of(made):
        await (await SessionLimits(parent=made).chosen()).end(key)


async def groups_of(settings: WarmStart) -> set[str]:
    """Return the names of the groups of control that processes for warm starts have or had."""
    return set(await (await SessionLimits(parent=settings).chosen()).leftovers())


async def printed(launcher: Launcher, container: ContainerPlan) -> str:
    """Return what the command of CONTAINER printed until it ended."""
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(ACCOUNT, container.network, log.fileno())
        await waiting.run(container)
        while processes.is_running(waiting.first):
            await asyncio.sleep(0.01)
        log.seek(0)
        return log.read().decode()


# Without Guix: what happens when there is nothing to be had


def broken(folder: Path, program: str) -> StorePath:
    """Return a profile whose Python is the shell PROGRAM."""
    (folder / "bin").mkdir(parents=True)
    for name in ("python3", "jupyterhub-singleuser"):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{program}\n")
        (folder / "bin" / name).chmod(0o755)
    profile: Any = str(folder)
    return profile  # type: ignore[no-any-return]  # not in the store, as a profile would be


def test_that_it_can_be_turned_off(settings: WarmStart) -> None:
    assert isinstance(settings.launcher(StorePath("/gnu/store/" + "s" * 32 + "-profile")), WarmLauncher)
    settings.enabled = False
    assert isinstance(settings.launcher(StorePath("/gnu/store/" + "s" * 32 + "-profile")), ColdLauncher)


async def test_that_a_process_that_ends_at_once_is_in_nobodys_way_and_not_tried_again_and_again(
    settings: WarmStart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.log = logging.getLogger("warm")
    launcher = settings.launcher(
        broken(tmp_path / "profile", f"echo tried >> {tmp_path}/tries; echo no such module >&2; exit 3")
    )
    assert isinstance(launcher, WarmLauncher)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert await printed(launcher, plan("/bin/echo", "here")) == "here\n"
    assert (tmp_path / "tries").read_text().split() == ["tried"]
    assert "its last words: no such module" in caplog.text
    os.utime(Path(settings.folder, launcher._socket_name), (0, 0))
    with caplog.at_level(logging.INFO):
        assert await printed(launcher, plan("/bin/echo", "here")) == "here\n"
    assert (tmp_path / "tries").read_text().split() == ["tried", "tried"]
    assert "had ended" in caplog.text


async def test_that_another_process_takes_the_place_of_one_that_is_stuck(
    settings: WarmStart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.log, settings.patience = logging.getLogger("warm"), 0.05
    launcher = settings.launcher(broken(tmp_path / "profile", f"echo tried >> {tmp_path}/tries; sleep 1"))
    assert isinstance(launcher, WarmLauncher)
    Path(settings.folder).mkdir(mode=0o700)
    path = Path(settings.folder, launcher._socket_name)
    with socket.socket(socket.AF_UNIX) as listener, caplog.at_level(logging.INFO):
        listener.bind(str(path))
        listener.listen(8)
        stuck = path.stat().st_ino
        assert await printed(launcher, plan("/bin/echo", "here")) == "here\n"
        assert path.stat().st_ino == stuck
        assert "is stuck" not in caplog.text
        os.utime(path, (0, 0))
        assert await printed(launcher, plan("/bin/echo", "here")) == "here\n"
    assert "is stuck" in caplog.text
    assert path.stat().st_ino != stuck
    assert (tmp_path / "tries").read_text().split() == ["tried"]


def test_that_a_sign_of_life_is_given_only_where_the_process_can_be_reached(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.touch()
    os.utime(path, (0, 0))
    place = parent._Place(str(path))
    assert place.tell()
    assert path.stat().st_mtime > 0
    path.rename(tmp_path / "elsewhere")
    assert not place.tell()
    path.touch()
    os.utime(path, (0, 0))
    assert not place.tell()
    place.leave()
    assert path.stat().st_mtime == 0
    own = parent._Place(str(path))
    own.leave()
    assert not path.exists()


def test_that_no_child_stays_behind_that_ended_while_modules_were_loaded() -> None:
    # In a process of its own: this one has other children.
    script = (
        "import os\n"
        "from guix_environment.launcher import parent\n"
        "child = os.fork() or os._exit(0)\n"
        "os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)\n"
        "parent._collect_ended()\n"
        "print(os.path.exists(f'/proc/{child}'))\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"


async def test_that_a_start_goes_on_when_nothing_answers(
    settings: WarmStart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.log, settings.patience = logging.getLogger("warm"), 0.05
    launcher = settings.launcher(broken(tmp_path / "profile", "exit 0"))
    assert isinstance(launcher, WarmLauncher)
    Path(settings.folder).mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener, caplog.at_level(logging.INFO):
        listener.bind(f"{settings.folder}/{launcher._socket_name}")
        listener.listen(0)
        for _ in range(3):
            assert await printed(launcher, plan("/bin/echo", "here")) == "here\n"
    assert "is not ready" in caplog.text


async def test_that_a_start_goes_on_when_the_process_is_killed_in_the_middle(
    settings: WarmStart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.log = logging.getLogger("warm")
    launcher = settings.launcher(broken(tmp_path / "profile", "exit 0"))
    assert isinstance(launcher, WarmLauncher)
    Path(settings.folder).mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener, caplog.at_level(logging.INFO):
        listener.bind(f"{settings.folder}/{launcher._socket_name}")
        listener.listen(1)
        starting = asyncio.create_task(printed(launcher, plan("/bin/echo", "here")))
        connection = (await asyncio.to_thread(listener.accept))[0]
        word, request = await asyncio.to_thread(requests.receive, connection)
        assert word == requests.REQUEST
        assert request is not None
        request.close()
        connection.close()
        assert await starting == "here\n"
    assert "A warm start failed" in caplog.text


async def test_that_a_folder_that_others_may_enter_is_not_used(
    settings: WarmStart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.log = logging.getLogger("warm")
    Path(settings.folder).mkdir(mode=0o700)
    Path(settings.folder).chmod(0o755)
    launcher = settings.launcher(broken(tmp_path / "profile", "exit 0"))
    assert await printed(launcher, plan("/bin/echo", "here")) == "here\n"
    assert "open to other accounts" in caplog.text
    assert not list(Path(settings.folder).iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_that_another_account_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        Path(folder).chmod(0o755)
        listener.bind(f"{folder}/socket")
        Path(folder, "socket").chmod(0o777)
        listener.listen(2)
        assert _request_of(ACCOUNT.uid, f"{folder}/socket", listener) is None
        found = _request_of(0, f"{folder}/socket", listener)
        assert found is not None
        found.close()


def _request_of(uid: int, path: str, listener: socket.socket) -> requests.Request | None:
    """Return what the parent makes of a request by the account UID."""
    child = os.fork()
    if not child:
        try:
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendmsg([requests.REQUEST], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))])
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return parent._accept(listener.fileno(), parent._Place(path))


def test_that_what_is_loaded_knows_where_it_will_be(tmp_path: Path) -> None:
    (tmp_path / "guix_session").mkdir()
    (tmp_path / "guix_session" / "__init__.py").write_text("")
    (tmp_path / "guix_session" / "part.py").write_text("HERE = __file__\n")
    finder = placed._Finder(str(tmp_path))
    found = finder.find_spec("guix_session.part", None)
    assert found is not None
    assert found.origin == f"{PYTHON}/guix_session/part.py"
    package = finder.find_spec("guix_session", None)
    assert package is not None
    assert package.submodule_search_locations == [f"{PYTHON}/guix_session"]
    assert finder.find_spec("guix_session.nothing", None) is None
    assert finder.find_spec("json", None) is None


# With Guix: the same from inside


@pytest.fixture(scope="module")
def server() -> Iterator[ServerRecord]:
    """The record of the real server profile."""
    folder = Path(tempfile.mkdtemp(prefix="guixspawner-warm-"))
    roots = Path("/var/guix/profiles/per-user/root") / folder.name
    series = jupyterhub.__version__.partition(".")[0]
    try:
        wanted = ServerProfileSettings(definitions_folder(), series, folder / "records", roots, folder / "logs")
        yield asyncio.run(ensure_server_profile(wanted))
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(roots, ignore_errors=True)


def probing(server: ServerRecord, script: str = PROBE, **variables: str) -> ContainerPlan:
    """Return a container that runs SCRIPT as a session runs its server."""
    python = Path(server.profile, "bin/jupyterhub-singleuser").resolve().parent / "python3"
    return ContainerPlan(
        store_items=server.closure,
        command=(f"{server.profile}/bin/tini", "--", str(python), "-I", "/run/probe.py", "one", "two"),
        directory="/tmp",
        variables={"PATH": f"{server.profile}/bin", "LANG": "C.UTF-8", "TZ": "Asia/Tokyo", **variables},
        host_name="warm",
        network=Network.OWN,
        temporary_folders=(TemporaryFolder("/tmp", 0o1777, 2**20),),
        files=(PlacedFile("/run/probe.py", script.encode()),),
        links=(Link("/bin/sh", f"{server.profile}/bin/bash"),),
        filter=compiled(),
    )


async def warmed(settings: WarmStart, server: ServerRecord) -> Launcher:
    """Return a launcher whose ready process is ready."""
    launcher = settings.launcher(server.profile)
    for _ in range(2):
        await printed(launcher, probing(server, "pass"))
    return launcher


def ready_processes(settings: WarmStart) -> list[Path]:
    return [
        path for path in processes_with("launcher/parent.py") if os.path.realpath(path / "fd/2") == f"{settings.folder}/log"
    ]


@pytest.mark.guix
async def test_that_a_warm_start_is_a_cold_one_from_inside(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    warm = json.loads(await printed(launcher, probing(server, SECRET="for this session")))
    cold = json.loads(await printed(ColdLauncher(), probing(server, SECRET="for this session")))
    again = json.loads(await printed(launcher, probing(server)))
    assert "SECRET" in warm["variables"]
    assert "SECRET" not in again["variables"]
    # Different in every start, however it was made.
    for name in ("seed", "layout"):
        assert len({str(found.pop(name)) for found in (warm, cold, again)}) == 3
    # The pipe by which the first process learns of the end.
    assert (warm.pop("pipes"), cold.pop("pipes")) == (["pipe"], [])
    warm["files"] = ["/dev/null" if file == "/dev/null" else "log" for file in warm["files"]]
    cold["files"] = ["/dev/null" if file == "/dev/null" else "log" for file in cold["files"]]
    assert warm == cold


@pytest.mark.guix
async def test_that_the_first_process_ends_with_the_server_and_collects_what_others_leave(
    settings: WarmStart, server: ServerRecord
) -> None:
    launcher = await warmed(settings, server)
    script = (
        "import os, time\n"
        "os.system('(sleep 0.1 &) &')\n"
        "time.sleep(0.5)\n"
        "states = [open(f'/proc/{n}/stat').read().split()[1:3] for n in os.listdir('/proc') if n.isdigit()]\n"
        "print(sorted(map(tuple, states)), flush=True)\n"
    )
    shown = await printed(launcher, probing(server, script))
    assert "'Z'" not in shown
    assert "(bash)" in shown


@pytest.mark.guix
async def test_that_being_asked_to_end_reaches_the_server(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    script = (
        "import signal, sys, time\n"
        "def asked(*_):\n    print('asked to end', flush=True); time.sleep(0.3); print('done', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, asked); print('ready', flush=True); time.sleep(60)\n"
    )
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(ACCOUNT, Network.OWN, log.fileno())
        await waiting.run(probing(server, script))
        while b"ready" not in os.pread(log.fileno(), 100, 0):
            await asyncio.sleep(0.01)
        await processes.end(waiting.first, grace=10)
        assert os.pread(log.fileno(), 100, 0) == b"ready\nasked to end\ndone\n"


@pytest.mark.guix
async def test_that_the_ready_process_knows_nothing(
    settings: WarmStart, server: ServerRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "of the hub")
    launcher = await warmed(settings, server)
    await printed(launcher, probing(server, SECRET="canary of a session"))
    [found] = ready_processes(settings)
    names = {line.partition("=")[0] for line in (found / "environ").read_text().split("\0")}
    assert names == {"", "LANG", "PATH"} | _set_by_itself(server)
    await asyncio.sleep(3)
    memory = _memory(int(found.name))
    assert b"jupyterhub" in memory
    for canary in (b"canary of a session", b"CANARY=of the hub"):
        assert canary not in memory


def _set_by_itself(server: ServerRecord) -> set[str]:
    """Return the names of the variables that the server layer's Python sets, however it is started."""
    python = Path(server.profile, "bin/jupyterhub-singleuser").resolve().parent / "python3"
    command = [str(python), "-I", "-c", "import os; print(*os.environ)"]
    return set(subprocess.run(command, check=True, env={"LANG": "C.UTF-8"}, capture_output=True, text=True).stdout.split())


def _memory(pid: int) -> bytes:
    """Return what a process may write to of its memory."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            ends, rights, *_ = line.split()
            if rights.startswith("rw"):
                begin, end = (int(word, 16) for word in ends.split("-"))
                memory.seek(begin)
                found.append(memory.read(end - begin))
    return b"".join(found)


@pytest.mark.guix
async def test_that_nothing_in_a_session_leads_to_the_ready_process(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    script = f"""
import os, socket
for path in ("{settings.folder}", "/proc/1/root{settings.folder}", "/proc/self/fd/3", "/proc/self/fd/4"):
    try:
        print(os.listdir(path))
    except OSError as error:
        print(type(error).__name__)
print([line for line in open("/proc/net/unix").read().splitlines()[1:] if "LISTEN" in line or "sock" in line])
"""
    shown = (await printed(launcher, probing(server, script))).splitlines()
    assert shown[:2] == ["FileNotFoundError"] * 2
    assert set(shown[2:4]) <= {"FileNotFoundError", "NotADirectoryError"}
    assert shown[4] == "[]"


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
    assert old not in ready_processes(settings)
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
async def test_that_a_command_of_another_form_runs_as_ever(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    other = replace(probing(server), command=(f"{server.profile}/bin/bash", "-c", "echo $$ $0", "shell"))
    assert await printed(launcher, other) == "1 shell\n"
    # Read once, when modules are loaded.
    told = await printed(launcher, probing(server, "import os; print(os.environ['GATEWAY_X'])", GATEWAY_X="told"))
    assert told == "told\n"


def test_that_a_request_that_was_given_up_is_not_served(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/socket")
        listener.listen(2)
        for wanted in (False, True):
            ours, theirs = socket.socketpair()
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"{tmp_path}/socket")
                descriptors = array.array("i", [theirs.fileno(), theirs.fileno()])
                connection.sendmsg([requests.REQUEST], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            theirs.close()
            ours.send(b"divide")
            if not wanted:
                ours.close()
            found = parent._accept(listener.fileno(), parent._Place(f"{tmp_path}/socket"))
            assert (found is not None) is wanted
            ours.close()


@pytest.mark.guix
async def test_that_it_belongs_neither_to_the_hub_nor_to_a_session(settings: WarmStart, server: ServerRecord) -> None:
    backend = await SessionLimits(parent=settings).chosen()
    if backend.kind in {BackendKind.RLIMITS, BackendKind.NOTHING}:
        pytest.skip("this machine has no groups of control that could be used")
    launcher = await warmed(settings, server)
    [found] = ready_processes(settings)
    [own] = await groups_of(settings)
    assert own.startswith("warm-")
    assert session_key(own) is None
    assert own in (found / "cgroup").read_text()
    assert own not in Path("/proc/self/cgroup").read_text()
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(ACCOUNT, Network.OWN, log.fileno())
        await backend.hold("somebody.default", waiting.first, Limits())
        assert own not in Path(f"/proc/{waiting.first.pid}/cgroup").read_text()
        waiting.give_up()
        await backend.end("somebody.default")
    ready = processes.identify(int(found.name))
    assert ready is not None
    await processes.end(ready, grace=0)
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
