"""What programs ask of a proxy for HTTP and HTTPS (RFC 9110, 9.3.6, and RFC 9112, 3.2)."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from guix_environment.errors import InvalidInput

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"})
_BETWEEN_HOPS = frozenset(
    {"connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request to a proxy."""

    host: str
    port: int
    forwarded: bytes
    """What the host is sent before everything else; nothing for a tunnel."""
    credentials: str = field(default="", repr=False)
    """What it says of who asks, its ``Proxy-Authorization``."""


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
        return Request(*_with_port(target), b"", _credentials(lines))
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
    return Request(host, port, forwarded.encode("latin-1"), _credentials(lines))


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


def _credentials(lines: Sequence[str]) -> str:
    return next((line.partition(":")[2].strip() for line in lines if _name(line) == "proxy-authorization"), "")


def split(authority: str, *, default: int) -> tuple[str, int]:
    """Return the host, in lower case, and the port of AUTHORITY, or DEFAULT where it names none.  Raises `InvalidInput`."""
    if authority.startswith("["):
        host, closed, rest = authority[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        valid = closed and (not rest or colon == ":") and _is_address(host)
    else:
        host, colon, port = authority.partition(":")
        valid = bool(host) and all(letter.isalnum() or letter in "-._*" for letter in host) and host.isascii()
    if not valid or (colon and not (port.isdecimal() and port.isascii() and 0 < int(port[:6]) < 65536)):
        raise InvalidInput(f"This is not a host and a port: {authority!r:.80}")
    return host.lower().rstrip("."), int(port) if colon else default


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return "%" not in host
