"""Processes: known for sure, supervised, ended with all they started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guixlab.processes import ProcessIdentity, descendants, end_all, marked, parse_stat

# What `enter` does, without a namespace: exits with the wait status that `run_supervised` returned.
SUPERVISE = """
import os, sys
from guixlab.processes import end_as, run_supervised
sys.exit(end_as(run_supervised(sys.argv[1:], lambda: None, os.environ)))
"""


def supervised(*command: str) -> list[str]:
    return [sys.executable, "-c", SUPERVISE, *command]


def wait_for(file: Path) -> str:
    for _ in range(500):
        if file.exists() and file.read_text().strip():
            return file.read_text().strip()
        time.sleep(0.01)
    raise AssertionError(f"{file} was not written")


def is_gone(pid: int) -> bool:
    for _ in range(300):
        try:
            if parse_stat(Path(f"/proc/{pid}/stat").read_text())[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_a_process_name_may_hold_anything() -> None:
    text = "12 (a) R (b)) S 7 " + " ".join(str(number) for number in range(5, 30))
    assert parse_stat(text) == (7, 22, "S")


def test_a_recorded_process_is_told_from_a_later_one_with_its_number() -> None:
    own = ProcessIdentity.of(os.getpid())
    assert own.is_alive()
    assert ProcessIdentity.from_json(own.as_json()) == own
    assert not ProcessIdentity(own.pid, own.start + 1, own.boot).is_alive()
    assert not ProcessIdentity(own.pid, own.start, "an earlier start of the machine").is_alive()


@pytest.mark.parametrize(
    "value", [{}, {"pid": 1}, {"pid": "x", "start": 1, "boot": ""}, {"pid": None, "start": 1, "boot": ""}]
)
def test_a_spoilt_record_names_no_process(value: dict[str, object]) -> None:
    assert ProcessIdentity.from_json(value) is None


def test_a_stranger_is_never_hit() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        identity = ProcessIdentity.of(process.pid)
        ProcessIdentity(identity.pid, identity.start - 1, identity.boot).send(signal.SIGKILL)
        time.sleep(0.05)
        assert process.poll() is None
        identity.send(signal.SIGKILL)
        assert process.wait(5) == -signal.SIGKILL
    finally:
        process.kill()


def test_processes_are_found_by_the_environment_they_were_started_with() -> None:
    marker = f"GUIXLAB_TEST_MARK=of-{os.getpid()}"
    name, value = marker.split("=")
    process = subprocess.Popen(["sleep", "60"], env={name: value})
    try:
        wait_until_executed(process.pid)
        assert [identity.pid for identity in marked(marker)] == [process.pid]
        assert marked(marker[:-1]) == []
    finally:
        process.kill()
        process.wait()


def wait_until_executed(pid: int) -> None:
    for _ in range(200):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
            return
        time.sleep(0.01)


def test_what_ignores_sigterm_is_killed_in_the_end() -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('.', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(1) == b"."
    end_all(lambda: [process.pid] if process.pid in descendants(os.getpid()) else [], grace=0.2)
    process.stdout.close()
    assert process.pid not in descendants(os.getpid())


@pytest.mark.parametrize(
    ("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", -9), ("kill -TERM $$", -15)]
)
def test_the_commands_end_is_passed_on(command: str, status: int) -> None:
    assert subprocess.run(supervised("sh", "-c", command)).returncode == status


def test_a_command_that_does_not_exist_ends_as_in_a_shell() -> None:
    result = subprocess.run(supervised("no-such-command"), capture_output=True, text=True)
    assert result.returncode == 127
    assert "no-such-command: command not found" in result.stderr


def test_nothing_that_a_command_left_behind_survives_it(tmp_path: Path) -> None:
    # A grandchild in a session of its own, its parent gone: the way daemons are made.
    script = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
    script += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    command = f'{sys.executable} -c "$1"; while [ ! -s {tmp_path}/pid ]; do sleep 0.01; done'
    subprocess.run(supervised("sh", "-c", command, "sh", script), check=True)
    assert is_gone(int(wait_for(tmp_path / "pid")))


def test_sigterm_reaches_the_command(tmp_path: Path) -> None:
    command = f"trap 'echo told > {tmp_path}/told; exit 3' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    process = subprocess.Popen(supervised("sh", "-c", command), start_new_session=True)
    wait_for(tmp_path / "pid")
    process.terminate()
    assert process.wait(20) == 3
    assert wait_for(tmp_path / "told") == "told"


def test_an_interrupt_of_the_group_ends_command_and_supervisor(tmp_path: Path) -> None:
    command = f"echo $$ > {tmp_path}/pid; sleep 60 & echo $! > {tmp_path}/background; wait"
    process = subprocess.Popen(supervised("sh", "-c", command), start_new_session=True)
    wait_for(tmp_path / "pid")
    background = int(wait_for(tmp_path / "background"))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == -signal.SIGINT
    assert is_gone(background)


def test_the_command_does_not_outlive_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    command = supervised("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    process = subprocess.Popen(command, start_new_session=True)
    child = int(wait_for(tmp_path / "pid"))
    process.kill()
    process.wait()
    assert is_gone(child)
