"""Processes are run to their end, bounded, and known by more than their number."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from guix_environment import process_memory
from guix_environment.process_identity import ProcessIdentity, end, identify, is_running, send_signal
from guix_environment.processes import run, start

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


async def test_a_command_gets_its_input_and_only_its_environment() -> None:
    script = "import os, sys; print(sorted(os.environ), sys.stdin.read()); print('no', file=sys.stderr); sys.exit(3)"
    done = await run([sys.executable, "-I", "-c", script], environment={"A": "1"}, timeout=60, given=b"hello")
    assert done.status == 3
    assert not done.succeeded
    assert b"'A'" in done.output
    assert b"HOME" not in done.output
    assert b"hello" in done.output
    assert done.errors == b"no\n"


async def test_output_beyond_the_limit_is_dropped_and_does_not_stop_the_command() -> None:
    done = await run([sys.executable, "-c", "print('x' * 10_000_000)"], environment={}, timeout=60, limit=1000)
    assert done.succeeded
    assert len(done.output) == 1000


async def test_after_the_time_limit_the_whole_group_is_gone() -> None:
    script = f"import subprocess, sys; p = subprocess.Popen({SLEEP!r}); print(p.pid, flush=True); p.wait()"
    done = await run([sys.executable, "-c", script], environment={}, timeout=2)
    assert done.timed_out
    assert not done.succeeded
    while identify(int(done.output)):  # it was told, and ends when it has its turn
        await asyncio.sleep(0.01)


async def test_what_left_its_group_with_the_pipes_is_not_waited_for() -> None:
    script = (
        "import subprocess, sys; "
        "left = subprocess.Popen(['sleep', '600'], start_new_session=True); "
        "sys.stdout.write('x' * 50_000 + str(left.pid)); sys.stderr.write(sys.stdin.read(3))"
    )
    completed = await run([sys.executable, "-c", script], environment={}, timeout=300, given=b"abc" * 100_000)
    left = int(completed.output.removeprefix(b"x" * 50_000))
    try:
        assert completed.succeeded
        assert not completed.timed_out
        assert completed.errors == b"abc"
        assert identify(left) is not None
    finally:
        os.kill(left, signal.SIGKILL)


async def test_a_cancelled_caller_leaves_nothing_behind(tmp_path: Path) -> None:
    witness = tmp_path / "pid"
    script = f"import os, time, pathlib; pathlib.Path({str(witness)!r}).write_text(str(os.getpid())); time.sleep(600)"
    task = asyncio.create_task(run([sys.executable, "-c", script], environment={}, timeout=600))
    while not witness.exists() or not witness.read_text():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert identify(int(witness.read_text())) is None


async def test_a_number_given_to_another_process_is_not_signalled() -> None:
    with open(os.devnull, "wb") as nothing:
        process = await start(SLEEP, environment={}, output=nothing.fileno())
    identity = identify(process.pid)
    assert identity is not None
    assert is_running(identity)
    another = ProcessIdentity(identity.pid, identity.started + 1)
    assert not is_running(another)
    assert not send_signal(another, signal.SIGKILL)
    assert is_running(identity)
    await end(identity)
    await process.wait()
    assert not is_running(identity)


async def test_a_process_that_does_not_listen_is_ended_all_the_same() -> None:
    script = (
        "import signal, time, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    reader, writer = os.pipe()
    process = await start([sys.executable, "-c", script], environment={}, output=writer)
    os.close(writer)
    assert await asyncio.to_thread(os.read, reader, 10) == b"up\n"
    os.close(reader)
    identity = identify(process.pid)
    assert identity is not None
    await end(identity, grace=0.2)
    assert await process.wait() == -signal.SIGKILL


GREEDY = """
import subprocess, sys, time
held = b"x" * int(sys.argv[1])
subprocess.Popen([sys.executable, "-c", f"import time; held = b'x' * {sys.argv[2]}; time.sleep({sys.argv[3]})"]).wait()
"""


AT_ONCE = """
import resource, time
while resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:
    time.sleep(0.01)
held = b"x" * 2**31
"""


@pytest.mark.parametrize(("first", "second"), [(200, 0), (0, 200), (70, 70)])
async def test_a_command_that_holds_too_much_memory_with_what_it_started_is_ended(first: int, second: int) -> None:
    sizes = [str(first * 2**20), str(second * 2**20), "600"]
    done = await run([sys.executable, "-c", GREEDY, *sizes], environment={}, timeout=600, memory=128 * 2**20)
    assert done.beyond_memory
    assert not done.succeeded
    assert not done.timed_out


async def test_a_command_that_holds_less_runs_to_its_end() -> None:
    sizes = [str(10 * 2**20), str(10 * 2**20), "0"]
    done = await run([sys.executable, "-c", GREEDY, *sizes], environment={}, timeout=600, memory=128 * 2**20)
    assert done.succeeded


async def test_what_grows_at_once_is_refused_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "MEMORY_SECONDS", 600)
    done = await run([sys.executable, "-c", AT_ONCE], environment={}, timeout=600, memory=128 * 2**20)
    assert done.status == 1
    assert b"MemoryError" in done.errors
