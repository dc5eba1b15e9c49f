"""A way to Guix's daemon that can be shut and opened again, for tests: to its clients the daemon is gone, and comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

DAEMON = "/var/guix/daemon-socket/socket"


@dataclass
class Door:
    """A socket that leads to the daemon while it is open."""

    socket: Path
    heard: int = 0
    """How many pieces of what clients say came through so far."""
    _server: asyncio.Server | None = None
    _passing: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        """Let clients through from now on."""
        self._server = await asyncio.start_unix_server(self._lead, self.socket)

    async def shut(self) -> None:
        """Break off all connections, as a daemon does that is killed, and answer nobody any more."""
        assert self._server is not None
        self._server.close()
        self.socket.unlink(missing_ok=True)
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            from_daemon, to_daemon = await asyncio.open_unix_connection(DAEMON)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_copy(reader, to_daemon, self._hear))
                    both.create_task(_copy(from_daemon, writer))
            finally:
                # As long as it is open, the daemon keeps from its collector what was asked for by it.
                to_daemon.transport.abort()
        finally:
            self._passing.discard(task)
            writer.transport.abort()

    def _hear(self) -> None:
        self.heard += 1


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, each: Callable[[], None] = lambda: None) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(65536):
            each()
            writer.write(content)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


@contextlib.asynccontextmanager
async def door(folder: Path) -> AsyncIterator[Door]:
    """Give an open door whose socket is in FOLDER."""
    made = Door(folder / "daemon")
    await made.open()
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            await made.shut()
