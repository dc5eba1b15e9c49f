"""A warm start is in nobody's way when there is nothing to be had, or when who asks is not the hub."""

import array
import asyncio
import logging
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from guix_environment.identifiers import StorePath
from guix_environment.launcher import parent, placed, requests
from guix_environment.session_layout import PYTHON
from guixspawner.launch import ColdLauncher
from guixspawner.warm_start import WarmLauncher, WarmStart
from tests.containers import ACCOUNT
from tests.spawner.test_launch import plan
from tests.spawner.warm_start.starting import printed


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
