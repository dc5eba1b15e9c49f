"""Bad ground: one clear sentence, the right exit code, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guixlab.contents import Choice, answers, official_addresses, read_choice
from guixlab.daemons import KeeperRecord, render_access_list
from guixlab.errors import ExitCode, LabError
from guixlab.folder import Folder, read_json, write_atomically
from guixlab.holes import known_holes
from guixlab.host import free_gigabytes, require_space
from guixlab.machine import daemon_answers
from guixlab.packages import DEBIAN_PACKAGES, GUIX_PACKAGES
from guixlab.provision import bootstrap_command, find_mirror

CHECKOUT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guixlab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, **options)  # type: ignore[call-overload,no-any-return]  # options are the caller's


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("action", [["up"], ["provision"], ["install-host"], ["reset"], ["enter", "--", "true"]])
def test_who_is_not_root_is_told(tmp_path: Path, action: list[str]) -> None:
    code = (
        "import os, sys, runpy; sys.path.insert(0, os.getcwd()); import guixlab.__main__, guixlab.stand_ins.farm\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(guixlab.__main__.main())"
    )
    command = [sys.executable, "-c", code, "--folder", str(tmp_path / "lab"), *action]
    result = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert result.returncode == ExitCode.NOT_ROOT, result.stderr
    assert "sudo" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="root is asked for first")
def test_a_folder_without_guix_says_how_to_get_one(tmp_path: Path) -> None:
    result = run("--folder", str(tmp_path), "enter", "--", "true")
    assert result.returncode == ExitCode.NOT_PROVISIONED
    assert "provision" in result.stderr
    assert "Traceback" not in result.stderr


def test_enter_wants_a_command(tmp_path: Path) -> None:
    result = run("--folder", str(tmp_path), "enter", "--")
    assert result.returncode == ExitCode.USAGE
    assert "COMMAND" in result.stderr


def test_a_full_disk_is_noticed_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="GB left") as caught:
        require_space(tmp_path / "not/there/yet", gigabytes=1e9)
    assert caught.value.exit_code is ExitCode.DISK_FULL
    require_space(tmp_path, gigabytes=0)


def test_the_threshold_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIXLAB_FREE_GB", "2.5")
    assert free_gigabytes() == 2.5
    monkeypatch.setenv("GUIXLAB_FREE_GB", "much")
    with pytest.raises(LabError, match="GUIXLAB_FREE_GB"):
        free_gigabytes()


def test_a_socket_without_a_daemon_does_not_answer(tmp_path: Path) -> None:
    machine = Folder(tmp_path).farm
    assert not daemon_answers(machine)
    machine.socket.parent.mkdir(parents=True)
    assert not daemon_answers(machine)
    machine.socket.write_text("not a socket")
    assert not daemon_answers(machine)


def test_a_record_of_a_keeper_that_ended_counts_for_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.keeper_record.write_text('{"pid": 1, "start": -5, "boot": "", "contents": "stand-ins", "port": 1}')
    assert KeeperRecord.read(folder) is None
    folder.keeper_record.write_text('{"pid": 1, "sta')
    assert KeeperRecord.read(folder) is None


def test_contents_can_be_chosen_by_option_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUIX_CONTENTS", raising=False)
    assert read_choice(None) is Choice.AUTO
    monkeypatch.setenv("GUIX_CONTENTS", "official")
    assert read_choice(None) is Choice.OFFICIAL
    assert read_choice("stand-ins") is Choice.STAND_INS
    monkeypatch.setenv("GUIX_CONTENTS", "everything")
    with pytest.raises(LabError, match="stand-ins"):
        read_choice(None)


def test_guixs_own_definitions_say_where_its_substitutes_are() -> None:
    text = """
(define other '("https://not.this.one"))
(define %default-substitute-urls
  ;; A comment.
  '("https://one.example"
    "https://two.example"))
(define later "https://nor.this.one")
"""
    assert official_addresses(text) == ("https://one.example", "https://two.example")
    assert official_addresses("") == ()


def test_an_address_nobody_listens_on_does_not_answer() -> None:
    assert not answers("http://127.0.0.1:9")


@pytest.mark.parametrize(("version", "warned"), [("1.4.0-3", True), ("1.5.0-1", True), ("1.6.0-1", False), ("", False)])
def test_a_guix_with_known_holes_is_warned_of(version: str, warned: bool) -> None:
    assert bool(known_holes(version)) is warned


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        ("Types: deb\nURIs: http://archive.example/debian\nSuites: bookworm\n", "http://archive.example/debian"),
        ("URIs: http://archive.example/debian/\n", "http://archive.example/debian"),
        ("deb [signed-by=/k] https://archive.example/debian bookworm main\n", "https://archive.example/debian"),
        ("# deb http://archive.example/debian bookworm main\n", None),
        ("deb http://archive.example/debian-security bookworm main\n", None),
        ("deb http://archive.example/ubuntu noble main\n", None),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(source: str, mirror: str | None) -> None:
    assert find_mirror(["", source]) == mirror


def test_signatures_of_the_archive_are_always_checked() -> None:
    for only_files in (True, False):
        command = bootstrap_command(
            "suite", ["one", "two"], Path("/t"), None, {"Acquire::http::Proxy": "p"}, only_files=only_files
        )
        assert "--include=one,two" in command
        assert not [word for word in command if "allow" in word.lower() or "trusted" in word.lower()]
        assert '--aptopt=Acquire::http::Proxy "p"' in command
        assert command[-2:] == ["suite", "/t"]


def test_no_package_is_asked_for_twice() -> None:
    assert len(set(DEBIAN_PACKAGES)) == len(DEBIAN_PACKAGES)
    assert len(set(GUIX_PACKAGES)) == len(GUIX_PACKAGES)


def test_exactly_one_key_is_authorised() -> None:
    text = render_access_list("(public-key (ecc (q #AB#)))\n")
    assert text.count("(entry") == 1
    assert text.count("(") == text.count(")")
    assert "(tag\n   (guix import)" in text


def test_a_record_is_replaced_in_one_step(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    write_atomically(record, '{"a": 1}', 0o600)
    assert read_json(record) == {"a": 1}
    assert record.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    record.write_text("[1]")
    assert read_json(record) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root directory")
def test_a_machine_that_refuses_containers_is_told_how_to_allow_them(tmp_path: Path) -> None:
    # The kernel makes no user namespace for whoever lives in a changed root: a real refusal.
    root = tmp_path / "root"
    root.mkdir()
    code = (
        "import guixlab.host as host\ntry:\n    host.require_user_namespaces()\n"
        "except host.LabError as error:\n    print(int(error.exit_code), error.message)"
    )
    script = 'mount --rbind / "$1" && exec chroot "$1" sh -c \'cd "$1" && exec "$2" -c "$3"\' sh "$2" "$3" "$4"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", str(root), str(CHECKOUT), sys.executable, code]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(int(ExitCode.NO_USER_NAMESPACES)))
    assert "user.max_user_namespaces" in result.stdout
