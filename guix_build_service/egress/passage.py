"""A proxy for one Git command, which leads to the one host that was checked for it and to nothing else.

It listens on loopback for as long as the command runs, takes connections only with a password that the command alone was
told, looks up no name, and connects to exactly the addresses that the policy (`guix_build_service.git.hosts`) found fine.
So neither a name that leads elsewhere the second time, nor a redirect, nor a library that reads an address otherwise than we
do can bring Git to another machine.  HTTPS passes as a tunnel (``CONNECT``); plain HTTP, for hosts that the administrator
lists, is handed on; SSH is led straight on from a Unix socket, which only the service's account can use.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from guix_build_service.git.hosts import Reached
from guix_environment.errors import (
    GuixSpawnerError,
    HostRefused,
    InvalidInput,
    RepositoryTooLarge,
    RepositoryUnanswered,
)
from guix_environment.own_sockets import answering
from guix_environment.proxy_requests import Request, parse
from guix_environment.streams import BLOCK, Connection, joined

LARGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers together."""

HEAD_SECONDS = 30.0
CONNECT_SECONDS = 10.0

MOST_ADDRESSES = 4
"""Of one host that are tried."""

MOST_CONNECTIONS = 16
"""At a time; Git needs one or two."""

_LOOPBACK = "127.0.0.1"
_NAME = "git"
_LOG = logging.getLogger("guix_build_service")


class Passage:
    """What one Git command may reach, and what became of it."""

    def __init__(self, reached: Reached, most: int) -> None:
        """Lead to the host of REACHED, and carry MOST bytes in all."""
        self._target = reached
        self._left = most
        self._password = secrets.token_urlsafe(24)
        self._connections: set[asyncio.Task[None]] = set()
        self.reached = reached
        """What Git is given: the way to the repository through this passage."""
        self.refusal: GuixSpawnerError | None = None
        """Why the passage ended a connection, the first time it did; what a person is told."""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take connections while the context lasts; when it ends, so do they all."""
        server = await asyncio.start_server(self._accept, _LOOPBACK, 0, limit=LARGEST_HEAD)
        port = server.sockets[0].getsockname()[1]
        self.reached = replace(self._target, proxy=f"http://{_NAME}:{self._password}@{_LOOPBACK}:{port}")
        try:
            yield
        finally:
            server.close()
            for task in tuple(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await server.wait_closed()

    @contextlib.asynccontextmanager
    async def listening_for_ssh(self, folder: Path) -> AsyncIterator[None]:
        """Lead whoever comes to a socket below FOLDER to the host's own port while the context lasts."""
        async with answering(self._lead_ssh, folder, limit=BLOCK) as path:
            self.reached = replace(self._target, proxy=str(path))
            yield

    async def _lead_ssh(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            outside = await self._dialled(self._target.url.reached_port)
        except GuixSpawnerError as error:
            self.refusal = self.refusal or error
            return
        await self._join((reader, writer), outside)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        task = asyncio.ensure_future(self._serve((reader, writer)))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, git: Connection) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = parse(await git[0].readuntil(b"\r\n\r\n"))
            if not self._is_git(request):
                await _answer(git[1], "407 Proxy Authentication Required")
                return
            await self._lead(git, request)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            _LOG.debug("A connection to a Git command's proxy ended before it said what it was for.")
        except InvalidInput:
            await _answer(git[1], "400 Bad Request")
        finally:
            git[1].close()

    async def _lead(self, git: Connection, request: Request) -> None:
        try:
            outside = await self._connected(request)
        except GuixSpawnerError as error:
            self.refusal = self.refusal or error
            await _answer(git[1], "403 Forbidden")
            return
        if request.forwarded:
            outside[1].write(request.forwarded)
        else:
            git[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._join(git, outside)

    async def _join(self, git: Connection, outside: Connection) -> None:
        try:
            await joined(git, outside, self._count)
        except* RepositoryTooLarge as group:
            self.refusal = self.refusal or _first(group)

    def _is_git(self, request: Request) -> bool:
        expected = base64.b64encode(f"{_NAME}:{self._password}".encode()).decode()
        return hmac.compare_digest(request.credentials.encode(), f"Basic {expected}".encode())

    async def _connected(self, request: Request) -> Connection:
        """Return a connection to the checked host.  Raises what the person is told."""
        url = self._target.url
        if (request.host, request.port) != (url.host.strip("[]"), url.reached_port) or bool(request.forwarded) != (
            url.scheme == "http"
        ):
            raise HostRefused(
                f"The repository led to another host than {url.host}, which is not followed.",
                hint="Give the address that it leads to.",
            )
        return await self._dialled(request.port)

    async def _dialled(self, port: int) -> Connection:
        """Return a connection to PORT of the first of the checked addresses that answers.  Raises `RepositoryUnanswered`."""
        url = self._target.url
        for address in self._target.addresses[:MOST_ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port, limit=BLOCK)
            except (OSError, TimeoutError):
                continue
        raise RepositoryUnanswered(
            f"{url.authority} does not answer, or too slowly.", hint="Try again later, or check the address."
        )

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise RepositoryTooLarge(
                "The repository is larger than this hub fetches.",
                hint="Keep large data elsewhere, and let the notebook download it.",
            )


@contextlib.asynccontextmanager
async def opened(reached: Reached, most: int, folder: Path) -> AsyncIterator[Passage]:
    """Open the way to what is REACHED for as long as the context lasts; MOST bytes go over it, both ways together.

    A socket, where one is needed, is below FOLDER. A repository in a folder needs no way.
    """
    passage = Passage(reached, most)
    if reached.url.scheme == "file":
        yield passage
        return
    async with passage.listening_for_ssh(folder) if reached.url.scheme == "ssh" else passage.listening():
        yield passage


def _first(group: BaseExceptionGroup[GuixSpawnerError]) -> GuixSpawnerError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _answer(writer: asyncio.StreamWriter, status: str) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
