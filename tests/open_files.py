"""Which files are open, and open files with numbers such as a hub has whose sessions are many."""

import contextlib
import fcntl
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

_LEAST = 2000
"""More than select(2) takes."""


@contextlib.contextmanager
def high_numbers(*descriptors: int) -> Iterator[list[int]]:
    """Yield what DESCRIPTORS are open as under high numbers, and close both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * _LEAST:
        pytest.skip(f"this account may not have {2 * _LEAST} files open")
    with contextlib.ExitStack() as files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * _LEAST), hard))
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        found = []
        for low in descriptors:
            found.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _LEAST))
            files.callback(os.close, found[-1])
            os.close(low)
        yield found


def is_open(file: Path) -> bool:
    """Tell whether this process has FILE open: a number alone may be another file's by now."""
    wanted = file.stat()
    return any(_is(entry, wanted) for entry in Path("/proc/self/fd").iterdir())


def _is(entry: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(entry.stat(), wanted)
    except OSError:  # what listed them is closed
        return False
