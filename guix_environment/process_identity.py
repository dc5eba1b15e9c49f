"""Processes told apart, found, and ended.

A process is known by its number *and* the time it started at, so that a number which the kernel gave to somebody else is
never waited for or signalled.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GRACE = 5.0
"""Seconds between asking a process to end and ending it."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that can be told from any other that later bears its number."""

    pid: int
    started: int
    """Clock ticks between the machine's start and the process's (field 22 of proc(5)'s ``stat``)."""


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process PID, or None when there is none or only its remains (a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in {b"Z", b"X"} else ProcessIdentity(pid, int(fields[19]))


def is_running(process: ProcessIdentity) -> bool:
    """Tell whether PROCESS runs, and not another one under its number."""
    return identify(process.pid) == process


def to_record(process: ProcessIdentity) -> dict[str, object]:
    """Return what to write down of PROCESS, to find it again as long as the machine runs."""
    return {"pid": process.pid, "started": process.started, "boot": _boot()}


def is_of_this_boot(record: Mapping[str, object]) -> bool:
    """Tell whether RECORD, as of `to_record`, is of this machine since its last start."""
    return record.get("boot") == _boot()


def from_record(record: object) -> ProcessIdentity | None:
    """Return the process that RECORD, as of `to_record`, tells of, or None for one of before the machine's last start.

    Numbers and start times begin anew with the machine, so that another process may well have both.  A damaged
    record tells of none either.
    """
    if not isinstance(record, Mapping) or record.get("boot") != _boot():
        return None
    pid, started = record.get("pid"), record.get("started")
    return ProcessIdentity(pid, started) if isinstance(pid, int) and isinstance(started, int) else None


def _boot() -> str:
    """Return what the kernel calls its present run (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def children(process: ProcessIdentity) -> list[ProcessIdentity]:
    """Return the processes that PROCESS itself started and that run."""
    found: list[ProcessIdentity | None] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            found += [identify(int(number)) for number in (thread / "children").read_text().split()]
    return [child for child in found if child is not None]


def program(process: ProcessIdentity) -> str | None:
    """Return the file that PROCESS runs, or None when that is not for us to know or it has ended."""
    try:
        return os.readlink(f"/proc/{process.pid}/exe")  # noqa: PTH115 - what it leads to need not be there for us
    except OSError:
        return None


def marked(name: str) -> dict[ProcessIdentity, Mapping[str, str]]:
    """Return the processes of ours that started with the variable NAME, each with all variables it started with.

    However they were started, and by whomever: an environment is handed down.  Processes of other accounts cannot be read
    and are left out.  Blocks while it goes through ``/proc``.
    """
    found: dict[ProcessIdentity, Mapping[str, str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                variables = _variables((folder / "environ").read_bytes())
                if name in variables and (process := identify(int(folder.name))):
                    found[process] = variables
    return found


def _variables(environ: bytes) -> Mapping[str, str]:
    """Return the variables in ENVIRON, the content of proc(5)'s file of that name."""
    pairs = (os.fsdecode(entry).partition("=") for entry in environ.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def send_signal(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Send signal NUMBER to PROCESS and to nothing else; return whether it was there to get it."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_running(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def end(process: ProcessIdentity, *, grace: float = GRACE, ask: bool = True) -> None:
    """End PROCESS: ask it, give it GRACE seconds, then have the kernel end it, and return once it is gone.

    ASK is false for one that ends by itself when its work is done: it is only given the time.
    """
    if ask and not send_signal(process, signal.SIGTERM):
        return
    if not await _gone(process, grace):
        send_signal(process, signal.SIGKILL)
        await _gone(process, GRACE)


async def _gone(process: ProcessIdentity, seconds: float) -> bool:
    pause, waited = 0.01, 0.0
    while is_running(process):
        if waited >= seconds:
            return False
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 1.5, 0.25)
    return True
