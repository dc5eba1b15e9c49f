"""Bytes from one connection to another, both ways, until both have ended."""

import asyncio
import contextlib
from collections.abc import Callable

BLOCK = 256 * 1024
"""Bytes that are carried at once.  A connection that nothing comes over holds none."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _uncounted(_number: int) -> None:
    pass


async def joined(one: Connection, other: Connection, passing: Callable[[int], None] = _uncounted) -> None:
    """Carry everything from each of two connections to the other, and return when both are at their ends.

    PASSING is told how many bytes are about to go on; what it raises ends both, in an exception group.  Closes both, also
    when cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(one[0], other[1], passing))
            group.create_task(_carry(other[0], one[1], passing))
    finally:
        for _, writer in (one, other):
            writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: Callable[[int], None]) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(BLOCK):
            passing(len(block))
            writer.write(block)
            await writer.drain()
    # The other direction goes on: who has asked everything still waits for answers.
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
