"""Logs, leases and the note on which process a session is."""

import os
from pathlib import Path

import pytest

from guix_environment.process_identity import ProcessIdentity
from guixspawner.session_files import SessionFiles
from tests.spawner.conftest import PROFILE, SERVER


def files(tmp_path: Path, person: str = "ada", server: str = "") -> SessionFiles:
    return SessionFiles.of(person, server, tmp_path / "sessions", tmp_path / "leases")


def test_a_log_is_for_the_hub_and_the_folders_group_and_the_last_one_is_kept(tmp_path: Path) -> None:
    session = files(tmp_path)
    for number in range(3):
        descriptor = session.open_log()
        os.write(descriptor, f"start {number}\n".encode())
        os.close(descriptor)
    folder = tmp_path / "sessions" / "ada"
    assert sorted(path.name for path in folder.iterdir()) == ["default.log", "default.log.1"]
    assert (folder / "default.log").read_text() == "start 2\n"
    assert (folder / "default.log.1").read_text() == "start 1\n"
    assert (folder / "default.log").stat().st_mode & 0o777 == 0o640
    assert folder.stat().st_mode & 0o777 == 0o750


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other groups")
def test_logs_belong_to_the_group_of_their_folder_and_notes_on_processes_are_closed_to_it(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    os.chown(tmp_path / "sessions", 0, 61234)
    (tmp_path / "sessions").chmod(0o2750)
    session = files(tmp_path)
    os.close(session.open_log())
    session.remember(ProcessIdentity(1, 2))
    modes = {path.name: (path.stat().st_gid, path.stat().st_mode & 0o777) for path in (tmp_path / "sessions").rglob("*")}
    assert modes["ada"] == (61234, 0o750)
    assert modes["default.log"] == (61234, 0o640)
    assert modes["default.json"][1] == 0o600


def test_a_server_that_is_deleted_leaves_nothing(tmp_path: Path) -> None:
    session, other = files(tmp_path), files(tmp_path, server="two")
    for one in (session, session, other):
        os.close(one.open_log())
    session.hold({"server": SERVER})
    session.remember(ProcessIdentity(1, 2))
    session.forget()
    session.forget()
    assert [path.name for path in (tmp_path / "sessions" / "ada").iterdir()] == ["two.log"]
    assert not session.leases.held()
    other.forget()
    assert not list((tmp_path / "sessions").iterdir())


def test_a_server_that_is_renamed_keeps_its_logs(tmp_path: Path) -> None:
    session, other = files(tmp_path, server="one"), files(tmp_path, server="two")
    for text in (b"first", b"second"):
        descriptor = session.open_log()
        os.write(descriptor, text)
        os.close(descriptor)
    session.move_logs(other)
    assert (other.log.read_bytes(), other.last_log.read_bytes()) == (b"second", b"first")
    assert not session.log.exists()
    files(tmp_path, server="never started").move_logs(other)
    assert other.log.read_bytes() == b"second"
