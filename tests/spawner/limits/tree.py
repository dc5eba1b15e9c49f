"""A session without JupyterLab: a server that waits to be held, and does on request what kernels and terminals may do.

Run as a program it is the server; a line on its input is a request, and a line on its output the answer.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from guix_environment import process_identity
from guix_environment.process_identity import ProcessIdentity


class Server:
    """The server from outside."""

    def __init__(self, *before: str, account: int | None = None) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.spawner.limits.tree"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
            start_new_session=True,
        )
        assert self.ask("ping") == "pong"
        identity = process_identity.identify(self._process.pid)
        assert identity
        self.identity: ProcessIdentity = identity

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, *words: object) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        return str(json.loads(answer)) if answer else ""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except MemoryError:
            os._exit(3)
        finally:
            os._exit(2)
    return pid


def kernel(size: str) -> str:
    """Use SIZE bytes in a kernel, and say how it ended."""

    def fill() -> None:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("800")  # as kernel.sh does
        kept = [bytearray(os.urandom(1) * 2**20) for _ in range(int(size) // 2**20)]
        del kept
        os._exit(0)

    _, status = os.waitpid(_in_child(fill), 0)
    return str(os.waitstatus_to_exitcode(status))


def fill_server(size: str) -> str:
    """Use SIZE bytes in the server itself, and keep them."""
    _KEPT.append(bytearray(b"x" * int(size)))
    return "kept"


_KEPT: list[bytearray] = []


def hold(most: str) -> str:
    """Start MOST processes that end with the server, and say how many could be started."""
    started = 0
    try:
        for _ in range(int(most)):
            _PROCESSES.append(_in_child(_sleep))
            started += 1
    except OSError:
        pass
    return str(started)


def bomb(most: str) -> str:
    """Do as `hold`, and end them again."""
    started = hold(most)
    while _PROCESSES:
        pid = _PROCESSES.pop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return started


_PROCESSES: list[int] = []


def _sleep() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    time.sleep(600)


def spin(seconds: str) -> str:
    """Compute in two processes for SECONDS, and say how many cores that took."""

    def compute() -> None:
        deadline = time.monotonic() + float(seconds)
        while time.monotonic() < deadline:
            pass
        os._exit(0)

    def used() -> float:
        times = resource.getrusage(resource.RUSAGE_CHILDREN)
        return times.ru_utime + times.ru_stime

    begun, before = time.monotonic(), used()
    for pid in [_in_child(compute) for _ in range(2)]:
        os.waitpid(pid, 0)
    return str((used() - before) / (time.monotonic() - begun))


def daemons(number: str) -> str:
    """Start NUMBER processes that no signal but the last one ends and that are nobody's children any more."""

    def survive() -> None:
        os.setsid()
        for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        if os.fork() == 0:
            while True:
                time.sleep(600)
        os._exit(0)

    for _ in range(int(number)):
        os.waitpid(_in_child(survive), 0)
    return "started"


def keep_forking() -> str:
    """Start a process that starts itself again as fast as it can, so that nobody gets hold of it."""

    def flee() -> None:
        os.setsid()
        while True:
            if os.fork() != 0:
                os._exit(0)

    _in_child(flee)
    return "started"


_REQUESTS: dict[str, Callable[..., str]] = {
    "ping": lambda: "pong",
    "kernel": kernel,
    "fill-server": fill_server,
    "hold": hold,
    "bomb": bomb,
    "spin": spin,
    "daemons": daemons,
    "keep-forking": keep_forking,
}


def main() -> None:
    for line in sys.stdin:
        words: Sequence[object] = json.loads(line)
        name, *arguments = (str(word) for word in words)
        print(json.dumps(_REQUESTS[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
