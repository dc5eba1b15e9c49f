"""Ports of the session's own loopback that lead to Unix sockets, for programs that know no Unix sockets.

A session with a network of its own reaches nothing of the machine's.  What it may reach, such as the hub's API, stands ready
as a socket in its file system, and is offered here where programs expect it.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Relay:
    """A port on 127.0.0.1, and the path of the Unix socket that it leads to."""

    port: int
    path: str


def start(relays: Iterable[Relay]) -> None:
    """Listen for all RELAYS, each in this process until it ends; returns once they listen.

    They run on a thread with an event loop of its own: a server that is busy for a while holds up nobody's connections.
    Raises `OSError` when a port is taken.
    """
    wanted = tuple(relays)
    if not wanted:
        return
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="relays", daemon=True).start()
    asyncio.run_coroutine_threadsafe(_listen(wanted), loop).result()


async def _listen(relays: Iterable[Relay]) -> None:
    for relay in relays:
        await asyncio.start_server(_Connections(relay.path), "127.0.0.1", relay.port)


class _Connections:
    """What becomes of each connection to one port."""

    def __init__(self, path: str) -> None:
        self._path = path
        # The event loop itself does not keep a task that waits for a stream from being collected (asyncio-task).
        self._tasks: set[asyncio.Task[None] | None] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until both sides have ended."""
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._join(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, far_writer))
                both.create_task(_pass_on(far_reader, writer))
        except* OSError:
            # One side broke off: the other learns of it by the same.
            for end in (writer, far_writer):
                end.transport.abort()
        else:
            # Not at once: what the one who reads slowly has not taken yet is still to be sent.
            for end in (writer, far_writer):
                end.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy READER to WRITER and pass on its end; the other direction stays open."""
    while content := await reader.read(_CHUNK):
        writer.write(content)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
        await writer.drain()
