"""A proxy for HTTP and HTTPS that lets through what is allowed, and only to addresses of the open internet.

A name is resolved once, and the connection goes to exactly the address that was judged.  What is inside an HTTPS connection
stays between its ends, so an allowed host that serves others too leads to them as well.
"""

import asyncio
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from guix_environment.addresses import Address, Network, is_public, within
from guix_environment.errors import GuixSpawnerError, InvalidInput, Refused
from guixspawner.network.gateway.allowed import Destination, is_allowed, split
from guixspawner.network.gateway.streams import BLOCK, Connection, joined

LARGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers together."""

HEAD_SECONDS = 20.0
CONNECT_SECONDS = 15.0

MOST_CONNECTIONS = 256
"""Of one session at a time; more are told so, and still more are closed."""

_MOST_TOLD = 64

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and port to its addresses; raises `OSError` where there are none."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"})
_BETWEEN_HOPS = frozenset(
    {"connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "upgrade"}
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request to a proxy."""

    host: str
    port: int
    forwarded: bytes
    """What the host is sent before everything else; nothing for a tunnel."""


def parse(head: bytes) -> Request:
    """Return what HEAD, up to its empty line, asks for.  Raises `InvalidInput`."""
    try:
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise InvalidInput("This is not a request to a proxy.") from None
    if (
        method not in _METHODS
        or version not in {"HTTP/1.1", "HTTP/1.0"}
        or any("\n" in line or "\r" in line for line in lines)
    ):
        raise InvalidInput("This is not a request to a proxy.")
    if method == "CONNECT":
        return Request(*_with_port(target), forwarded=b"")
    try:
        address = urlsplit(target)
    except ValueError:
        raise InvalidInput("This is not an address.") from None
    if address.scheme != "http" or "@" in address.netloc or not target.isprintable():
        raise InvalidInput("Only addresses with http:// are asked for this way.")
    host, port = split(address.netloc, default=80)
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    kept = [line for line in lines if _name(line) not in _BETWEEN_HOPS]
    # One request for each connection: the next one may be meant for another host.
    forwarded = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close", *kept, "", ""])
    return Request(host, port, forwarded.encode("latin-1"))


def _with_port(authority: str) -> tuple[str, int]:
    host, port = split(authority, default=0)
    if not port:
        raise InvalidInput("A tunnel needs a port.")
    return host, port


def _name(line: str) -> str:
    name, colon, _ = line.partition(":")
    if not colon or not name or name != name.strip():
        raise InvalidInput("This is not a header.")
    return name.lower()


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the machine's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


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
            async with asyncio.timeout(CONNECT_SECONDS):
                texts = await self._resolver(request.host, request.port)
            found = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
        except (OSError, ValueError, TimeoutError):
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
