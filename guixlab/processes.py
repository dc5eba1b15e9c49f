"""Processes that are started in a namespace, supervised, recorded and ended, without ever hitting a stranger's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LabError

# From <sys/prctl.h>.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# The terminal sends these to the whole group, COMMAND included.
LEFT_TO_THE_GROUP = (signal.SIGINT, signal.SIGQUIT)
GRACE_SECONDS = 10.0


def boot_id() -> str:
    """Names this run of the kernel, so that a record of an earlier one is known to be stale."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def parse_stat(text: str) -> tuple[int, int, str]:
    """Parent, start time in clock ticks, and state from ``/proc/PID/stat``; the name in it may hold anything."""
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), int(fields[19]), fields[0]


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of the process that has PID now; raises FileNotFoundError when there is none."""
        return cls(pid, parse_stat(Path(f"/proc/{pid}/stat").read_text())[1], boot_id())

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ProcessIdentity | None:
        """What ``as_json`` made, or None when something else was read."""
        try:
            return cls(int(value["pid"]), int(value["start"]), str(value["boot"]))
        except (KeyError, TypeError, ValueError):
            return None

    def as_json(self) -> dict[str, int | str]:
        """Plain values for a record file."""
        return {"pid": self.pid, "start": self.start, "boot": self.boot}

    def is_alive(self) -> bool:
        """Whether that very process is still there; one that only waits to be reaped is not."""
        try:
            _, start, state = parse_stat(Path(f"/proc/{self.pid}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            return False
        return start == self.start and state != "Z" and self.boot == boot_id()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def all_processes() -> list[int]:
    """The numbers of all processes that can be seen."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def descendants(ancestor: int) -> list[int]:
    """The living processes below ANCESTOR."""
    children: dict[int, list[int]] = {}
    for pid in all_processes():
        try:
            parent, _, state = parse_stat(Path(f"/proc/{pid}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [ancestor]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def marked(marker: str) -> list[ProcessIdentity]:
    """Processes that carry MARKER (``NAME=VALUE``) in the environment they were started with."""
    found = []
    for pid in all_processes():
        with contextlib.suppress(OSError):
            if os.fsencode(marker) in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(ProcessIdentity.of(pid))
    return found


def end_all(find: Callable[[], Sequence[int]], grace: float = GRACE_SECONDS) -> None:
    """End every process that FIND returns: SIGTERM, after GRACE seconds SIGKILL, until FIND returns none."""
    deadline = time.monotonic() + grace
    told: set[int] = set()
    while remaining := find():
        late = time.monotonic() > deadline
        for pid in remaining:
            if late or pid not in told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                told.add(pid)
        _reap()
        time.sleep(0.02)
    _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def adopt_orphans() -> None:
    """From now on, descendants whose parents end become this process's children and cannot get lost."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def start(
    command: Sequence[str],
    prepare: Callable[[], None],
    *,
    environment: Mapping[str, str],
    output: Path | None = None,
    own_session: bool = False,
    death_signal: signal.Signals = signal.SIGKILL,
) -> int:
    """Start COMMAND after PREPARE ran in the new process, and return its number.

    The process gets DEATH_SIGNAL when this one ends without having ended it.  With OUTPUT, its output is appended to
    that file and its input is empty.  A COMMAND that cannot be started ends with status 127 or 126, as in a shell.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 126
    try:
        if own_session:
            os.setsid()
        for number in (*FORWARDED, *LEFT_TO_THE_GROUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if output is not None:
            _redirect(output)
        prepare()
        _prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            os.kill(os.getpid(), death_signal)
        os.execvpe(command[0], list(command), dict(environment))
    except LabError as error:
        sys.stderr.write(f"guixlab: {error.message}\n")
        status = error.exit_code
    except FileNotFoundError:
        sys.stderr.write(f"guixlab: {command[0]}: command not found\n")
        status = 127
    except OSError as error:
        sys.stderr.write(f"guixlab: {command[0]}: {error.strerror or error}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)


def _redirect(output: Path) -> None:
    empty = os.open("/dev/null", os.O_RDONLY)
    log = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 1024)


def run_supervised(command: Sequence[str], prepare: Callable[[], None], environment: Mapping[str, str]) -> int:
    """Run COMMAND in the foreground and return its wait status once it and all it started have ended.

    SIGTERM and SIGHUP are passed on to COMMAND; SIGINT and SIGQUIT reach it from the terminal or through its group.
    """
    adopt_orphans()
    watched = {*FORWARDED, *LEFT_TO_THE_GROUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = start(command, prepare, environment=environment)
    result: int | None = None
    while result is None:
        information = signal.sigwaitinfo(watched)
        if information.si_signo in FORWARDED:
            os.kill(child, information.si_signo)
        while result is None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            if pid == child:
                result = status
    end_all(lambda: descendants(os.getpid()))
    return result


def end_as(status: int) -> int:
    """The exit code for a wait STATUS; when a signal ended the process, this one ends by the same signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if not os.WCOREDUMP(status):
            os.kill(os.getpid(), number)
        return 128 + number
    return os.waitstatus_to_exitcode(status)
