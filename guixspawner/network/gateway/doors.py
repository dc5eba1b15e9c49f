"""The sockets by which sessions come to the gateway: each session has its own.

So whatever one session does with its sockets, filling them with connections above all, concerns nobody else, and who asks
is known without being asked.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tornado.httpserver import HTTPServer

from guix_environment.streams import Connection
from guixspawner.network.gateway.filter import LARGEST_HEAD, Filter
from guixspawner.network.gateway.hub_api import HubApi, drained
from guixspawner.network.gateway.settings import FILTER, HUB
from guixspawner.network.sockets import SessionSockets


@dataclass(frozen=True, slots=True)
class _Door:
    """What one session has."""

    sockets: Mapping[str, socket.socket]
    http: HTTPServer
    filtering: asyncio.Server


class Doors:
    """What each session has of the gateway's."""

    def __init__(
        self, sockets: Path, api: HubApi, filtering: Filter, connections: Callable[[asyncio.Task[None]], None]
    ) -> None:
        """Listen for sessions whose sockets are below the folder SOCKETS, and lead them to API and through FILTERING.

        CONNECTIONS is told of each connection's task.
        """
        self._sockets = sockets
        self._api = api
        self._filter = filtering
        self._connections = connections
        self._doors: dict[str, _Door] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """The sessions that have doors."""
        return tuple(self._doors)

    @property
    def listeners(self) -> Iterator[tuple[str, str, socket.socket]]:
        """Each session with the name of each of its sockets and that socket, to be handed over."""
        for key, door in self._doors.items():
            for name, listening in door.sockets.items():
                yield key, name, listening

    async def open(self, key: str) -> None:
        """Listen for the session KEY, on new sockets.  Raises `OSError` where its folder is not there."""
        self.close(key)
        folder = SessionSockets.of(self._sockets, key).gateway
        # Whether somebody comes that far is up to the folder.
        await self.take(key, {name: bound(folder / name, _stream(), 0o666) for name in (HUB, FILTER)})

    async def open_missing(self) -> None:
        """Listen for every session that has a folder, as after a gateway that was ended without being asked."""
        for folder in await asyncio.to_thread(_folders, self._sockets):
            if folder.name not in self._doors and SessionSockets(folder).gateway.is_dir():
                await self.open(folder.name)

    async def take(self, key: str, sockets: Mapping[str, socket.socket]) -> None:
        """Serve the session KEY on SOCKETS, by their names."""
        http = self._api.server()
        http.add_socket(sockets[HUB])
        filtering = await asyncio.start_unix_server(
            lambda reader, writer: self._accept(key, (reader, writer)), sock=sockets[FILTER], limit=LARGEST_HEAD
        )
        self._doors[key] = _Door(sockets, http, filtering)

    def close(self, key: str) -> None:
        """Take no more connections of the session KEY."""
        door = self._doors.pop(key, None)
        if door:
            door.http.stop()
            door.filtering.close()

    def remove(self) -> None:
        """Take no more connections, and leave nothing at which somebody could try."""
        for key in self.keys:
            for name in (HUB, FILTER):
                (SessionSockets.of(self._sockets, key).gateway / name).unlink(missing_ok=True)

    async def drained(self) -> None:
        """Take no more connections, and return once requests to the hub have been answered, or after a while."""
        doors = list(self._doors.values())
        for key in self.keys:
            self.close(key)
        await asyncio.gather(*(drained(door.http) for door in doors))

    def _accept(self, key: str, session: Connection) -> None:
        self._connections(asyncio.ensure_future(self._filter.serve(key, session)))


def bound(path: Path, listening: socket.socket, mode: int) -> socket.socket:
    """Return LISTENING, which now listens at PATH in the place of whatever was there.  Raises `OSError`."""
    # By the folder's descriptor, as the path may be longer than an address of a socket.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unfinished = Path(f"/proc/self/fd/{folder}/.{path.name}.{os.getpid()}")
        unfinished.unlink(missing_ok=True)
        listening.bind(str(unfinished))
        unfinished.chmod(mode)
        listening.listen(128)
        unfinished.replace(unfinished.with_name(path.name))
    except OSError:
        listening.close()
        raise
    finally:
        os.close(folder)
    return listening


def _stream() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def _folders(sockets: Path) -> list[Path]:
    try:
        return list(sockets.iterdir())
    except OSError:
        return []
