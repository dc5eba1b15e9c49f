"""Unix sockets for one command of Git each: in a folder that no other account enters, answering this account alone."""

import asyncio
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

LONGEST_PATH = 100
"""Characters that a socket's path may have (unix(7) has room for 107)."""

Visit = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What is done with one visitor, whose connection is closed after it. What has to do with their going away it may raise."""

_GONE = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@asynccontextmanager
async def answering(visit: Visit, folder: Path, *, limit: int = 64 * 1024) -> AsyncIterator[Path]:
    """Yield the path of a socket, below FOLDER, at which VISIT is done for as long as the context lasts.

    LIMIT is of the bytes that are read ahead.

    When it ends the socket is gone, and so are its visitors. Raises `OSError` when no socket can be made.
    """
    place = await asyncio.to_thread(_make_place, folder)
    visits: set[asyncio.Task[None]] = set()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        visits.add(task)
        try:
            with suppress(*_GONE):
                if _account(writer) == os.geteuid():
                    await visit(reader, writer)
        finally:
            writer.close()
            visits.discard(task)

    try:
        server = await asyncio.start_unix_server(receive, place / "socket", limit=limit)
        try:
            yield place / "socket"
        finally:
            server.close()
            for task in tuple(visits):
                task.cancel()
            await asyncio.gather(*visits, return_exceptions=True)
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _make_place(folder: Path) -> Path:
    """Make a folder that is ours alone, below FOLDER, or below the one for such things where that one's name is too long."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    below = folder if len(str(folder)) < LONGEST_PATH - 20 else None
    return Path(tempfile.mkdtemp(prefix="loan-", dir=below))  # mode 0700


def _account(writer: asyncio.StreamWriter) -> int:
    """Return the account of the process at the other end, as the kernel knows it (unix(7), ``SO_PEERCRED``)."""
    connection: socket.socket = writer.get_extra_info("socket")
    _, account, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(account)
