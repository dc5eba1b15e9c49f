"""Sessions' logs are shown to whom they belong to, and nothing beside them is."""

import os
from pathlib import Path

import pytest

from guix_build_service.logs.session_logs import LARGEST, SessionLogs
from guix_environment.errors import NotFound
from guix_environment.session_names import session_log


def written(folder: Path, text: bytes, user: str = "ada", server: str = "") -> Path:
    log = session_log(folder, user, server)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(text)
    return log


def test_each_session_has_a_log_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, b"without a name\n")
    written(tmp_path, b"two\n", server="two")
    written(tmp_path, b"called default\n", server="default")
    written(tmp_path, b"bob's\n", user="bob")
    logs = SessionLogs(tmp_path)
    assert [logs.read("ada", server) for server in ("", "two", "default")] == [
        "without a name\n",
        "two\n",
        "called default\n",
    ]


@pytest.mark.parametrize("server", ["../bob/default", "..", ".", "/etc/passwd", "default.json", "default.log", "x\0y", ""])
def test_no_name_leads_anywhere_else(tmp_path: Path, server: str) -> None:
    written(tmp_path, b"bob's\n", user="bob")
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "default.json").write_text("{}")
    with pytest.raises(NotFound):
        SessionLogs(tmp_path).read("ada", server)


@pytest.mark.parametrize("user", ["../x", "..", "bob/", "", "Bob", "bob\0"])
def test_nobody_reads_anothers(tmp_path: Path, user: str) -> None:
    written(tmp_path, b"bob's\n", user="bob")
    with pytest.raises(NotFound):
        SessionLogs(tmp_path).read(user, "")


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    log = session_log(tmp_path / "sessions", "ada", "")
    log.parent.mkdir(parents=True)
    log.symlink_to(secret)
    with pytest.raises(NotFound):
        SessionLogs(tmp_path / "sessions").read("ada", "")
    written(tmp_path / "other", b"bob's\n", user="bob")
    (tmp_path / "other" / "ada").symlink_to(tmp_path / "other" / "bob")
    with pytest.raises(NotFound):
        SessionLogs(tmp_path / "other").read("ada", "")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    log = session_log(tmp_path, "ada", "")
    log.parent.mkdir(parents=True)
    os.mkfifo(log)
    with pytest.raises(NotFound):
        SessionLogs(tmp_path).read("ada", "")
    log.unlink()
    log.mkdir()
    with pytest.raises(NotFound):
        SessionLogs(tmp_path).read("ada", "")


def test_without_a_folder_there_are_no_logs() -> None:
    with pytest.raises(NotFound):
        SessionLogs(None).read("ada", "")


def test_a_huge_log_is_shown_from_its_end(tmp_path: Path) -> None:
    log = written(tmp_path, b"")
    os.truncate(log, 2**40)
    with log.open("ab") as file:
        file.write(b"the end\n")
    assert SessionLogs(tmp_path).read("ada", "").endswith("the end\n")
    assert len(SessionLogs(tmp_path).read("ada", "")) <= LARGEST


def test_what_a_terminal_would_act_on_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, b"\x1b]0;title\x07red \x1b[31mtext\x1b[0m https://ada:word@example.org/\xff\n")
    assert SessionLogs(tmp_path).read("ada", "") == "red text https://[secret]@example.org/\ufffd\n"
