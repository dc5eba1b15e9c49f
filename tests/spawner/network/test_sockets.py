"""The folders that sessions listen in: whose they are, and when nothing more can be put there."""

import os
import socket
import stat
from pathlib import Path

import pytest

from guix_environment.processes import Account
from guixspawner.network.sockets import SERVER, SessionSockets

PERSON = Account(os.geteuid() or 70000, os.getegid() or 70000)


@pytest.fixture
def sockets(tmp_path: Path) -> SessionSockets:
    made = SessionSockets.of(tmp_path, "ada.default")
    made.make(PERSON)
    return made


def mode_and_owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid


def test_the_persons_folder_is_theirs_until_the_server_listens_and_the_hubs_then(sockets: SessionSockets) -> None:
    assert mode_and_owner(sockets.folder) == (0o700, os.geteuid())
    assert mode_and_owner(sockets.inner) == (0o700, PERSON.uid)
    sockets.seal()
    assert mode_and_owner(sockets.inner) == (0o755, os.geteuid())


def test_what_is_no_socket_is_not_opened(sockets: SessionSockets) -> None:
    (sockets.inner / SERVER).write_text("not one")
    with pytest.raises(OSError, match="is not a socket"):
        sockets.open()
    assert not sockets.listens()


def test_a_link_to_another_programs_socket_is_not_followed(sockets: SessionSockets, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        other.listen()
        (sockets.inner / SERVER).symlink_to(tmp_path / "other.sock")
        assert not sockets.listens()
        with pytest.raises(OSError, match="not a socket"):
            sockets.publish()


def test_what_an_earlier_session_left_is_gone_and_nothing_that_it_links_to(sockets: SessionSockets, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (sockets.inner / "link").symlink_to(tmp_path / "kept")
    sockets.make(PERSON)
    assert not list(sockets.inner.iterdir())
    assert (tmp_path / "kept" / "file").exists()
