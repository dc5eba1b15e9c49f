"""A limit for the memory that a command may hold with all that it starts, watched from outside."""

import asyncio
import contextlib
import resource
from pathlib import Path

from guix_environment.process_identity import ProcessIdentity, children, identify

MEMORY_SECONDS = 0.25
"""How often it is looked at how much memory a command holds whose memory has a limit."""

SUDDEN = 1024**3
"""Bytes beyond that limit that one of its processes may claim between two looks, with what it claims and does not use."""


async def ended_within(process: asyncio.subprocess.Process, memory: int) -> bool:
    """Wait for PROCESS to end and return True; or False as soon as it, and all that it started, hold more than MEMORY bytes.

    A program that the kernel refuses memory may go on for minutes without getting anywhere, as Guix does with a little too
    little.  So the kernel refuses each process only `SUDDEN` more, which holds back what grows faster than is looked at.
    """
    first = identify(process.pid)
    waiting = asyncio.ensure_future(process.wait())
    try:
        if first is not None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (memory + SUDDEN, memory + SUDDEN))
        while first is not None and not waiting.done():
            if await asyncio.to_thread(own_memory, first) > memory:
                return False
            await asyncio.wait([waiting], timeout=MEMORY_SECONDS)
        await waiting
        return True
    finally:
        waiting.cancel()


def own_memory(process: ProcessIdentity) -> int:
    """Return the bytes that PROCESS and all that it started hold beside files."""
    status = b""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_bytes()
    held = [line.split()[1] for line in status.splitlines() if line.startswith(b"RssAnon:")]
    return sum(int(number) * 1024 for number in held) + sum(map(own_memory, children(process)))
