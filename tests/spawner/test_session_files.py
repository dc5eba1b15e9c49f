"""Logs, leases and the note on which process a session is."""

import os
from pathlib import Path

from guix_environment.processes import ProcessIdentity
from guixspawner.session_files import SessionFiles
from tests.spawner.conftest import PROFILE, SERVER


def files(tmp_path: Path, person: str = "ada", server: str = "") -> SessionFiles:
    return SessionFiles.of(person, server, tmp_path / "sessions", tmp_path / "leases")


def test_a_log_is_for_the_hub_alone_and_the_last_one_is_kept(tmp_path: Path) -> None:
    session = files(tmp_path)
    for number in range(3):
        descriptor = session.open_log()
        os.write(descriptor, f"start {number}\n".encode())
        os.close(descriptor)
    folder = tmp_path / "sessions" / "ada"
    assert sorted(path.name for path in folder.iterdir()) == ["default.log", "default.log.1"]
    assert (folder / "default.log").read_text() == "start 2\n"
    assert (folder / "default.log.1").read_text() == "start 1\n"
    assert (folder / "default.log").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_end_of_a_log_is_bounded(tmp_path: Path) -> None:
    session = files(tmp_path)
    assert session.last_lines() == []
    descriptor = session.open_log()
    os.write(descriptor, b"x" * 100000 + b"\n" + b"\xff\xfe\n" + b"last\n" * 100)
    os.close(descriptor)
    assert session.last_lines(lines=3) == ["last"] * 3
    assert sum(map(len, session.last_lines(lines=1000, limit=600))) <= 600


def test_servers_of_one_person_and_of_others_have_files_of_their_own(tmp_path: Path) -> None:
    names = [("ada", ""), ("ada", "default"), ("ada", "two"), ("ada-two", ""), ("Ada", ""), ("ada/..", "../x")]
    sessions = [files(tmp_path, *name) for name in names]
    assert len({session.log for session in sessions}) == len(names)
    for session in sessions:
        assert session.log.resolve().is_relative_to(tmp_path / "sessions")
        session.hold({"server": SERVER, "environment": PROFILE})
    assert len(sessions[0].leases.held()) == 2 * len(names)
    sessions[0].release()
    assert len(sessions[0].leases.held()) == 2 * (len(names) - 1)


def test_the_process_is_remembered_until_the_session_is_over(tmp_path: Path) -> None:
    session = files(tmp_path)
    assert session.remembered() is None
    session.remember(ProcessIdentity(12, 345))
    assert files(tmp_path).remembered() == ProcessIdentity(12, 345)
    session.release()
    session.release()
    assert session.remembered() is None
    (tmp_path / "sessions" / "ada" / "default.json").write_text('{"pid": "x"}')
    assert session.remembered() is None
