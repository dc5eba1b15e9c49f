"""What one session does to the gateway, on purpose, and the others do not notice.

The gateway is a real one, in a process of its own; each session has the sockets that a real one would have.
"""

import asyncio
import contextlib
import dataclasses
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway import hub_api
from guixspawner.network.gateway.settings import GatewaySettings
from tests.spawner.network.conftest import FakeHub, door, gateway_of, kill
from tests.spawner.network.test_hub_api import get

API = "/base/hub/api/"
UNFINISHED = b"GET /base/hub/api/ HTTP/1.1\r\nHost: hub\r\nX-More: "


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Let this process have as many connections as a hostile session's processes together."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
async def eve(client: GatewayClient, settings: GatewaySettings) -> Path:
    """The hostile session."""
    return await door(client, settings, "eve.default")


@pytest.fixture
async def ada(client: GatewayClient, settings: GatewaySettings) -> Path:
    """Another one."""
    return await door(client, settings, "ada.default")


async def asked(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def is_answered(path: Path, request: bytes, times: int = 20) -> None:
    for _ in range(times):
        assert await asked(path, request)


@contextlib.asynccontextmanager
async def flood(path: Path, most: int) -> AsyncIterator[list[socket.socket]]:
    """Open connections at PATH without an end, never finish a request on them, and replace those that are closed."""
    opened: list[socket.socket] = []

    async def go_on() -> None:
        while True:
            for _ in range(200):
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                try:
                    connection.connect(str(path))
                    connection.send(UNFINISHED)
                except OSError:
                    connection.close()
                    break
                opened.append(connection)
                if len(opened) > most:
                    opened.pop(0).close()
            await asyncio.sleep(0)

    task = asyncio.create_task(go_on())
    try:
        yield opened
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for connection in opened:
            connection.close()


@pytest.mark.parametrize("name", ["hub.sock", "filter.sock"])
async def test_connections_without_an_end_are_its_own_trouble(
    client: GatewayClient, eve: Path, ada: Path, name: str
) -> None:
    gateway = await gateway_of(client)
    request = get(API) if name == "hub.sock" else b"CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n"
    async with flood(eve / name, 5000) as opened:
        while len(opened) < 5000:
            await asyncio.sleep(0.01)
        await is_answered(ada / name, request)
        await client.ask({"do": "status"})
        files = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
        assert files < 2000, "what is beyond a bound is closed, as soon as it is seen"
    # It has itself to blame, and for no longer than it goes on.
    while True:
        with contextlib.suppress(OSError):
            if await asked(eve / name, request):
                break
        await asyncio.sleep(0.05)


async def test_requests_that_take_the_hub_long_wait_for_each_other(hub: FakeHub, eve: Path, ada: Path) -> None:
    slow = [asyncio.create_task(asked(eve / "hub.sock", get(f"{API}slow"))) for _ in range(40)]
    while hub.under_way < hub_api.AT_THE_HUB:
        await asyncio.sleep(0.01)
    await is_answered(ada / "hub.sock", get(API), 5)
    assert not any(task.done() for task in slow), "they are still at it"
    hub.released.set()
    answers = await asyncio.gather(*slow)
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers), "late, and all of them"
    assert hub.most_under_way <= hub_api.AT_THE_HUB + 1, "with the other session's"


async def test_requests_that_nobody_waits_for_are_bounded_too(hub: FakeHub, eve: Path, ada: Path) -> None:
    for _ in range(5 * hub_api.MOST_REQUESTS):
        _, writer = await asyncio.open_unix_connection(str(eve / "hub.sock"))
        writer.write(get(f"{API}slow"))
        await asyncio.sleep(0.002)
        writer.close()
    await is_answered(ada / "hub.sock", get(API), 5)
    assert hub.under_way, "they are still at it"
    hub.released.set()
    assert hub.most_under_way <= hub_api.AT_THE_HUB + 1
    while hub.under_way:
        await asyncio.sleep(0.05)
    assert len([path for _, path, _, _ in hub.asked if "slow" in path]) <= 2 * hub_api.MOST_REQUESTS
    assert b" 200 " in await asked(eve / "hub.sock", get(API))


@pytest.mark.parametrize(
    "lines",
    [
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:\x0bchunked",),
        (" Transfer-Encoding: chunked",),
        ("Content-Length: 0, 45",),
        ("Content-Length: -1",),
        ("Content-Length: 0x0",),
        ("Content-Length: 1_0",),
        ("Content-Length : 0",),
        ("A: b\x00c",),
        ("A: b\rc",),
        ("A: b\r\n folded\r\n\tX-Scheme: https",),
        ("Authorization: token a\r\n X-Forwarded-For: 1.2.3.4",),
        ("A: b\n\nGET /base/hub/home HTTP/1.1",),
    ],
)
async def test_headers_that_can_be_read_in_two_ways_bring_nothing_in(
    hub: FakeHub, eve: Path, lines: tuple[str, ...]
) -> None:
    head = "\r\n".join(["POST /base/hub/api/users HTTP/1.1", "Host: hub", *lines, "", ""])
    smuggled = "GET /base/hub/home HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"
    answer = await asked(eve / "hub.sock", (head + "0\r\n\r\n" + smuggled).encode())
    assert b" 200 " not in answer.partition(b"\r\n")[0] or len(hub.asked) == 1
    for method, path, headers, body in hub.asked:
        assert (method, path) == ("POST", "/base/hub/api/users")
        assert b"home" not in body
        assert not {"X-Scheme", "X-Forwarded-For", "Transfer-Encoding", "A"} & headers.keys()
        assert "\n" not in headers.get("Authorization", "")


async def test_doors_outlive_the_gateway_in_their_folder(
    client: GatewayClient, folder: Path, settings: GatewaySettings, eve: Path, ada: Path
) -> None:
    """A session sees its folder, and not what it is called: another one in its place would be none to it."""
    number = ada.stat().st_ino
    await kill(await gateway_of(client))
    await client.ensure()
    assert b" 200 " in await asked(ada / "hub.sock", get(API))
    assert b" 403 " in await asked(eve / "filter.sock", b"CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n")

    # And with another configuration, no connection is refused at any moment.
    refused: list[OSError] = []

    async def go_on() -> None:
        while True:
            try:
                await asked(ada / "hub.sock", get(API))
            except OSError as error:
                refused.append(error)

    asking = asyncio.create_task(go_on())
    newer = GatewayClient(folder / "gateway", dataclasses.replace(settings, allowed=("example.org",)))
    before = await gateway_of(client)
    await newer.ensure()
    assert await gateway_of(newer) != before
    asking.cancel()
    assert not refused
    assert b" 200 " in await asked(ada / "hub.sock", get(API))
    assert ada.stat().st_ino == number
    await kill(await gateway_of(newer))
