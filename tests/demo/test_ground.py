"""Bad ground gets one sentence, and nothing is changed by it."""

import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from demo.ground import check_port, make_state
from demo.guix import has_guix, warn_of_holes
from demo.hub import forget_taken_ports
from demo.settings import CHECKOUT, Settings, UnsuitableGround
from guixlab.machine import socket_answers
from tests.ports import free_port


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "99999"),
        ("STATE", "/srv/with space"),
        ("STATE", "/srv/quo'te"),
        ("PRIVATE_HOSTS", "http://git.lab/"),
        ("PRIVATE_HOSTS", "git.lab:port"),
        ("GUIX_CONTENTS", "others"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_write(name: str, value: str) -> None:
    with pytest.raises(UnsuitableGround, match=name) as refusal:
        Settings.from_environment({name: value})
    assert "\n" not in str(refusal.value)


def test_what_is_left_out_has_the_documented_values() -> None:
    settings = Settings.from_environment({"PRIVATE_HOSTS": "127.0.0.1:3000, git.lab"})
    assert settings.port == 8000
    assert settings.state == CHECKOUT / ".state"
    assert settings.private_hosts == ("127.0.0.1:3000", "git.lab")
    assert settings.address == "http://127.0.0.1:8000/"


def test_a_taken_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UnsuitableGround, match=f"Port {port} is taken"):
            check_port(port)
    check_port(port)


def test_ports_of_an_earlier_run_are_kept_unless_one_was_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    forget_taken_ports(file)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        taken = f'{{"hub": {listener.getsockname()[1]}}}'
        file.write_text(taken)
        forget_taken_ports(file)
        assert not file.exists()
    file.write_text(taken)
    forget_taken_ports(file)
    assert file.read_text() == taken


def test_a_state_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsuitableGround, match="STATE"):
        make_state(tmp_path / "file" / "state")
    make_state(tmp_path / "new" / "state")
    assert list((tmp_path / "new" / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "is_daemon"), [(b"", False), (b"HTTP/1.1", False), (struct.pack("<Q", 0x6478696F), True)]
)
def test_only_what_greets_as_the_daemon_does_is_one(tmp_path: Path, answer: bytes, is_daemon: bool) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(8)
                connection.sendall(answer)

        thread = threading.Thread(target=greet)
        thread.start()
        assert socket_answers(path) is is_daemon
        thread.join()


def test_a_daemon_that_says_nothing_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert not socket_answers(tmp_path / "socket", timeout=0.2)
    assert not socket_answers(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PORT": "x"}, "PORT is 'x', which is no port; leave it out for 8000."),
        ({"STATE": "/dev/null/x"}, "The folder /dev/null/x"),
    ],
)
def test_make_run_ends_with_one_line_and_no_traceback(settings: dict[str, str], sentence: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("whoever is not root gets the sentence about that first")
    environment = os.environ | {"PORT": "18999"} | settings
    command = [sys.executable, "-m", "demo"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_named_with_what_is_needed(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("whoever is not root gets the sentence about that first")
    environment = os.environ | {"PORT": "18999", "STATE": str(tmp_path / "state"), "LEAST_FREE": "1000000"}
    command = [sys.executable, "-m", "demo"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "1e+06 GB" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def put_guix(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "guix").write_text(f"#!/bin/sh\necho 'guix (GNU Guix) {version}'\n")
    (folder / "guix").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_guix_whose_daemon_does_not_answer_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_guix(tmp_path, "1.5.0", monkeypatch)
    monkeypatch.setattr("demo.guix.DAEMON_SOCKET", tmp_path / "nobody-listens")
    with pytest.raises(UnsuitableGround, match="its daemon does not answer; start it"):
        has_guix()


@pytest.mark.parametrize(("version", "warned"), [("1.5.0", True), ("1.4.0", True), ("230aa373f31", False), ("1.6.0", False)])
def test_a_guix_with_known_holes_gets_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: str, warned: bool
) -> None:
    put_guix(tmp_path, version, monkeypatch)
    warn_of_holes()
    said = capsys.readouterr().err
    assert (f"Guix {version} has published vulnerabilities" in said) is warned
    assert len(said.splitlines()) == warned


def test_the_machine_is_not_touched_without_root_and_without_sudo(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    for name in ("dirname", "id", "sh"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-s", "run"],
        cwd="/",
        # From standard input: the checkout may lie where nobody else can read.
        input=(CHECKOUT / "tools/prepare-machine").read_text().replace('cd "$(dirname "$0")/.."', ""),
        env={"PATH": str(tmp_path)},
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "This needs root: run it as root, or install sudo and be allowed to use it.\n"


def test_make_run_without_root_says_so() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = "import os\nfrom demo.ground import check_ground\nfrom demo.settings import Settings\n"
    code += "from guixlab.errors import LabError\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    code += "try: check_ground(Settings.from_environment({}))\nexcept LabError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert "root" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
