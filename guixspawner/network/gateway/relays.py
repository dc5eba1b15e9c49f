"""Ports of the machine's loopback that lead to sessions, for a hub or a proxy that knows no sockets."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from guix_environment.streams import BLOCK, Connection, joined
from guixspawner.network.sockets import SessionSockets

LOOPBACK = "127.0.0.1"

PATIENCE = (0.05, 0.2, 1.0, 3.0)
"""Seconds between attempts to connect to a server that has its hands full."""

_LOG = logging.getLogger(__name__)


def listener(port: int) -> socket.socket:
    """Return a socket that listens on PORT of the machine's loopback, or on a free one where PORT is taken or 0."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Of a gateway before this one, connections may still be on their way out.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
    except OSError:
        if not port:
            found.close()
            raise
        found.bind((LOOPBACK, 0))
    found.listen(128)
    found.setblocking(False)
    return found


class Relays:
    """Which port leads to which session."""

    def __init__(self, sockets: Path, connections: Callable[[asyncio.Task[None]], None]) -> None:
        """Lead to sessions whose sockets are below the folder SOCKETS; CONNECTIONS is told of each connection's task."""
        self._sockets = sockets
        self._connections = connections
        self._servers: dict[str, asyncio.Server] = {}

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each session that has one."""
        return {key: int(server.sockets[0].getsockname()[1]) for key, server in self._servers.items()}

    @property
    def listeners(self) -> Mapping[str, socket.socket]:
        """A copy of each session's listening socket, to be handed over."""
        return {key: socket.fromfd(server.sockets[0].fileno(), *_TCP) for key, server in self._servers.items()}

    async def lead(self, key: str, port: int = 0) -> int:
        """Return the port that leads to the session KEY: the one that it has, else PORT if that is free, else another."""
        if key not in self._servers:
            await self.take(key, listener(port))
        return self.ports[key]

    async def take(self, key: str, listening: socket.socket) -> None:
        """Lead to the session KEY what comes in at the socket LISTENING."""
        self.forget(key)
        self._servers[key] = await asyncio.start_server(
            lambda reader, writer: self._accept(key, (reader, writer)), sock=listening, limit=BLOCK
        )

    def forget(self, key: str) -> None:
        """Give the port of the session KEY back; its connections end with its server."""
        server = self._servers.pop(key, None)
        if server:
            server.close()

    def close(self) -> None:
        """Give all ports back."""
        for key in tuple(self._servers):
            self.forget(key)

    def _accept(self, key: str, caller: Connection) -> None:
        self._connections(asyncio.ensure_future(self._relay(key, caller)))

    async def _relay(self, key: str, caller: Connection) -> None:
        try:
            session = await asyncio.open_connection(sock=await self._connected(key), limit=BLOCK)
        except OSError as error:
            _LOG.info("The session %s takes no connection: %s", key, error)
            caller[1].close()
            return
        await joined(caller, session)

    async def _connected(self, key: str) -> socket.socket:
        sockets = SessionSockets.of(self._sockets, key)
        for pause in PATIENCE:
            try:
                return sockets.connect()
            except BlockingIOError:
                await asyncio.sleep(pause)
        return sockets.connect()


_TCP = socket.AF_INET, socket.SOCK_STREAM
