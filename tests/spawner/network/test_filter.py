"""What the filter lets through.  The open internet is a server of the tests' on an address that nobody routes."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from guix_environment.errors import InvalidInput
from guix_environment.proxy_requests import parse
from guixspawner.network.gateway import filter as filtering
from guixspawner.network.gateway.allowed import Destination, is_allowed
from guixspawner.network.gateway.filter import Filter

NAMES = {
    "open.example": ["93.184.216.34"],
    "inside.example": ["10.0.0.7"],
    "metadata.example": ["169.254.169.254"],
    "azure.example": ["168.63.129.16"],
    "alibaba.example": ["100.100.100.200"],
    "aws.example": ["fd00:ec2::254"],
    "self.example": ["127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "translated.example": ["64:ff9b::7f00:1"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "refused.example": ["198.41.0.4"],
    "nothing.example": ["0.0.0.0"],
}


async def resolver(host: str, _port: int) -> Sequence[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    if host not in NAMES:
        raise OSError
    return NAMES[host]


class Outside:
    """Remembers where it was connected to, and what it was told."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []
        self.told = b""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.told += await reader.read(10000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()


@pytest.fixture
async def outside(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outside]:
    found = Outside()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    real = asyncio.open_connection
    port = server.sockets[0].getsockname()[1]

    async def connect(host: str, asked: int, **_: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found.connected.append((host, asked))
        return await real("127.0.0.1", port)

    monkeypatch.setattr(asyncio, "open_connection", connect)
    yield found
    server.close()


@pytest.fixture
async def proxy(folder: Path) -> AsyncIterator[Path]:
    allowed = [
        Destination.parse(text)
        for text in ("*.example", "example", "93.184.216.34", "10.0.0.7", "[::1]:443", "x.example:8080")
    ]
    found = Filter(allowed, (ipaddress.ip_network("198.41.0.0/24"),), resolver)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await found.serve("ada.default", (reader, writer))

    path = folder / "filter.sock"
    server = await asyncio.start_unix_server(serve, path, limit=filtering.LARGEST_HEAD)
    yield path
    server.close()


async def ask(proxy: Path, request: str, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(proxy))
    writer.write(request.encode() + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_tunnel_leads_to_the_address_that_was_judged(proxy: Path, outside: Outside) -> None:
    answer = await ask(proxy, "CONNECT open.example:443 HTTP/1.1\r\nHost: open.example:443", b"hello")
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    assert outside.connected == [("93.184.216.34", 443)]
    assert outside.told == b"hello"


async def test_a_request_goes_on_for_its_host_alone(proxy: Path, outside: Outside) -> None:
    answer = await ask(
        proxy,
        "GET http://open.example/a?b=1 HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: x\r\n"
        "Connection: keep-alive\r\nA: 1",
    )
    assert answer.endswith(b"hi")
    assert outside.connected == [("93.184.216.34", 80)]
    assert outside.told == b"GET /a?b=1 HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\nA: 1\r\n\r\n"


@pytest.mark.parametrize("host", [name for name in NAMES if name != "open.example"])
async def test_no_name_leads_to_an_address_that_is_not_public(proxy: Path, outside: Outside, host: str) -> None:
    assert b" 403 " in await ask(proxy, f"CONNECT {host}:443 HTTP/1.1")
    assert b" 403 " in await ask(proxy, f"GET http://{host}/ HTTP/1.1")
    assert outside.connected == []


@pytest.mark.parametrize(
    "target",
    [
        "10.0.0.7:443",
        "[::1]:443",
        "127.0.0.1:443",
        "elsewhere.org:443",
        "open.example:22",
        "open.example:8080",
        "xexample:443",
    ],
)
async def test_what_is_not_listed_or_not_public_is_refused(proxy: Path, outside: Outside, target: str) -> None:
    assert b" 403 " in await ask(proxy, f"CONNECT {target} HTTP/1.1")
    assert outside.connected == []


@pytest.mark.parametrize(
    "request_",
    [
        "CONNECT open.example HTTP/1.1",
        "CONNECT open.example:0 HTTP/1.1",
        "CONNECT open.example:99999 HTTP/1.1",
        "CONNECT user@open.example:443 HTTP/1.1",
        "GET / HTTP/1.1",
        "GET https://open.example/ HTTP/1.1",
        "GET ftp://open.example/ HTTP/1.1",
        "GET http://a:b@open.example/ HTTP/1.1",
        "GET http://open.example\\@127.0.0.1/ HTTP/1.1",
        "TRACE http://open.example/ HTTP/1.1",
        "GET http://open.example/ HTTP/2",
        "GET  http://open.example/ HTTP/1.1",
        "GET http://open.example/ HTTP/1.1\r\nHost : x",
        "GET http://open.example/ HTTP/1.1\r\n folded: x",
        "GET http://open.example/ HTTP/1.1\r\nA: 1\nB: 2",
        "hello",
    ],
)
async def test_other_requests_are_refused(proxy: Path, outside: Outside, request_: str) -> None:
    assert b" 400 " in await ask(proxy, request_)
    assert outside.connected == []


async def test_an_endless_head_is_cut(proxy: Path, outside: Outside) -> None:
    with contextlib.suppress(ConnectionError):
        assert await ask(proxy, "GET http://open.example/ HTTP/1.1\r\nA: " + "x" * 100000) == b""
    assert outside.connected == []


@pytest.mark.usefixtures("outside")
async def test_one_session_cannot_take_all_connections(proxy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "MOST_CONNECTIONS", 2)
    opened = [await asyncio.open_unix_connection(str(proxy)) for _ in range(2)]
    # It takes a moment to see who has come, and who has gone.
    while b" 503 " not in await ask(proxy, "CONNECT open.example:443 HTTP/1.1", b"x"):
        pass
    for _, writer in opened:
        writer.close()
    while b" 200 " not in await ask(proxy, "CONNECT open.example:443 HTTP/1.1", b"x"):
        pass


def test_the_list() -> None:
    listed = [Destination.parse(text) for text in ("A.Example", "*.b.example", "c.example:8443")]
    assert is_allowed("a.example", 443, listed)
    assert is_allowed("a.example", 80, listed)
    assert is_allowed("x.y.b.example", 443, listed)
    assert is_allowed("c.example", 8443, listed)
    assert not is_allowed("b.example", 443, listed)
    assert not is_allowed("c.example", 443, listed)
    assert not is_allowed("xa.example", 443, listed)


@pytest.mark.parametrize("text", ["", "*", "a.*.b", "https://a.example", "a b", "a:x", "a:70000"])
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(InvalidInput):
        Destination.parse(text)


def test_a_name_with_a_dot_at_its_end_is_the_same() -> None:
    assert parse(b"CONNECT OPEN.example.:443 HTTP/1.1\r\n\r\n").host == "open.example"
