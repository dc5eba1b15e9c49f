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
from demo.guix import daemon_answers
from demo.hub import forget_taken_ports
from demo.settings import CHECKOUT, Settings, UnsuitableGround


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
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UnsuitableGround, match=f"Port {port} is taken"):
            check_port(port)
    check_port(port)


def test_ports_of_an_earlier_run_are_kept_unless_one_was_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    forget_taken_ports(file)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
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
        assert daemon_answers(path) is is_daemon
        thread.join()


def test_a_daemon_that_says_nothing_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert not daemon_answers(tmp_path / "socket", seconds=0.2)
    assert not daemon_answers(tmp_path / "nothing")


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


def test_make_run_without_root_says_so() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = "import os\nfrom demo.ground import check_ground\nfrom demo.settings import Settings\n"
    code += "from guixlab.errors import LabError\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    code += "try: check_ground(Settings.from_environment({}))\nexcept LabError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert "root" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
