"""Leave no process behind: whatever a run started ends with it, however deep it is and whoever it runs as."""

import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
"""From ``linux/prctl.h``."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, in place of the machine's first process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(ancestor: int) -> list[int]:
    """Return the numbers of all processes below ANCESTOR, parents first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = list(children.get(ancestor, []))
    for process in found:
        found.extend(children.get(process, []))
    return found


def end_descendants(*, grace: float = 5.0) -> None:
    """End every process below this one: ask them, give them GRACE seconds in all, then have the kernel end the rest."""
    deadline = time.monotonic() + grace
    number = signal.SIGTERM
    while processes := descendants(os.getpid()):
        for process in processes:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue
        _reap()
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(0.1)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
