"""A proxy for HTTP and HTTPS that lets through what is allowed, and only to addresses of the open internet.

A name is resolved once, and the connection goes to exactly the address that was judged.  What is inside an HTTPS connection
stays between its ends, so an allowed host that serves others too leads to them as well.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from guix_environment.addresses import Address, Network, is_public, within
from guix_environment.errors import GuixSpawnerError, InvalidInput, Refused
from guix_environment.proxy_requests import Request, parse
from guix_environment.resolution import Resolver, resolved, system_resolver
from guix_environment.streams import BLOCK, Connection, joined
from guixspawner.network.gateway.allowed import Destination, is_allowed

LARGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers together."""

HEAD_SECONDS = 20.0
CONNECT_SECONDS = 15.0

MOST_CONNECTIONS = 256
"""Of one session at a time; more are told so, and still more are closed."""

_MOST_TOLD = 64

_LOG = logging.getLogger(__name__)


class Filter:
    """Lets sessions through to what is allowed."""

    def __init__(
        self,
        destinations: Sequence[Destination],
        refused: tuple[Network, ...] = (),
        resolver: Resolver = system_resolver,
    ) -> None:
        """Let through to DESTINATIONS, except where RESOLVER finds them at private addresses or in REFUSED networks."""
        self._destinations = destinations
        self._refused = refused
        self._resolver = resolver
        self._connections: Counter[str] = Counter()

    async def serve(self, key: str, session: Connection) -> None:
        """Answer one connection of the SESSION with KEY to its end, and close it."""
        self._connections[key] += 1
        beyond = self._connections[key] - MOST_CONNECTIONS
        try:
            if beyond <= _MOST_TOLD:
                await self._serve(session, crowded=beyond > 0)
        finally:
            self._connections[key] -= 1
            if not self._connections[key]:
                del self._connections[key]
            session[1].close()

    async def _serve(self, session: Connection, *, crowded: bool) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await session[0].readuntil(b"\r\n\r\n")
            if crowded:
                await _answer(session[1], "503 Service Unavailable", "Too many connections at a time.")
                return
            request = parse(head)
            outside = await self._connect(request)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            return
        except InvalidInput as error:
            await _answer(session[1], "400 Bad Request", error.message)
            return
        except Refused as error:
            await _answer(session[1], "403 Forbidden", error.message)
            return
        except GuixSpawnerError as error:
            await _answer(session[1], "502 Bad Gateway", error.message)
            return
        if request.forwarded:
            outside[1].write(request.forwarded)
        else:
            session[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await joined(session, outside)

    async def _connect(self, request: Request) -> Connection:
        if not is_allowed(request.host, request.port, self._destinations):
            raise Refused(f"{request.host}:{request.port} is not on this installation's list of what sessions may reach.")
        for address in await self._addresses(request):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(str(address), request.port, limit=BLOCK)
            except (OSError, TimeoutError):
                continue
        raise GuixSpawnerError(f"{request.host}:{request.port} does not answer.")

    async def _addresses(self, request: Request) -> list[Address]:
        try:
            found = await resolved(self._resolver, request.host, request.port, CONNECT_SECONDS)
        except OSError:
            raise GuixSpawnerError(f"There is no host named {request.host}.") from None
        if not all(is_public(address) and not within(address, self._refused) for address in found):
            raise Refused(f"{request.host} is at an address that sessions do not reach.")
        return found


async def _answer(writer: asyncio.StreamWriter, status: str, message: str) -> None:
    body = f"{message}\n".encode()
    headers = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    try:
        writer.write("\r\n".join([*headers, "", ""]).encode() + body)
        await writer.drain()
    except OSError:
        _LOG.debug("A session went away before it was answered.")
