"""A bound for a file that a session goes on writing into.

The session holds the open file itself, so that it needs no process beside it that would pass its words on; what writes into
it appends (``O_APPEND``), and goes on at the file's new end when its beginning was dropped.
"""

import os
from pathlib import Path

_DROPPED = b"[What was older is no longer kept.]\n"


def bound(log: Path, limit: int) -> bool:
    """Drop the older half of the file LOG if it holds more than LIMIT bytes; return whether it did.

    What is written at that very moment may be lost.  Blocks for a few system calls.
    """
    try:
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= limit:
            return False
        kept = os.pread(file.fileno(), limit // 2, size - limit // 2)
        file.truncate(0)
        file.write(_DROPPED + kept[kept.find(b"\n") + 1 :])
    return True
