"""What a session reaches of the hub, through the real gateway, in words of which a session could use any."""

import asyncio
from pathlib import Path

import pytest

from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway.hub_api import path_below
from guixspawner.network.gateway.settings import GatewaySettings
from tests.spawner.network.conftest import FakeHub, door

PREFIX = "/base/hub/api/"

pytestmark = pytest.mark.usefixtures("own_door")


@pytest.fixture
async def own_door(client: GatewayClient, settings: GatewaySettings) -> Path:
    return await door(client, settings, "ada.default")


async def said(folder: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(folder / "s/ada.default/gateway/hub.sock"))
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def status(folder: Path, request: bytes) -> int:
    answer = await said(folder, request)
    return int(answer.split(b" ")[1]) if answer else 0


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: hub", "Connection: close", *headers, "", ""]).encode()


@pytest.mark.parametrize(
    "target",
    [
        "/base/hub/api",
        "/base/hub/api/",
        "/base/hub/api/users/ada/activity",
        "/base/hub/api/users/ada%40example.org/activity?x=1&y=/../",
        "/base/hub/api/oauth2/token",
    ],
)
def test_what_servers_need_is_below(target: str) -> None:
    assert path_below(PREFIX, target) == target


REFUSED = [
    "/",
    "/base/hub/",
    "/base/hub/home",
    "/base/hub/apis",
    "/base/hub/api/../home",
    "/base/hub/api/..",
    "/base/hub/api/%2e%2e/home",
    "/base/hub/api/%2E./home",
    "/base/hub/api/%252e%252e/home",
    "/base/hub/api/x%2f..%2f..%2fhome",
    "/base/hub/api/./users",
    "/base/hub/api//users",
    "/base/hub/api/\\..\\home",
    "/base/hub/api/%5c..%5chome",
    "/base/hub/api/users%00",
    "/base/hub/api/users#x",
    "//base/hub/api/",
    "http://127.0.0.1:8001/api/routes",
    "http://127.0.0.1:8001/base/hub/api/",
    "*",
    "127.0.0.1:8001",
    "",
]


@pytest.mark.parametrize("target", REFUSED)
def test_everything_else_is_not(target: str) -> None:
    assert path_below(PREFIX, target) is None


@pytest.mark.parametrize("target", [target for target in REFUSED if target])
async def test_everything_else_never_reaches_the_hub(folder: Path, hub: FakeHub, target: str) -> None:
    assert await status(folder, get(target)) in {400, 404}
    assert hub.asked == []


async def test_the_api_answers_without_cookies_or_words_of_a_proxy(folder: Path, hub: FakeHub) -> None:
    answer = await said(
        folder,
        get(
            "/base/hub/api/users/ada?x=1",
            "Authorization: token abc",
            "Cookie: stolen=1",
            "X-Forwarded-For: 10.0.0.1",
            "X-Scheme: https",
        ),
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"X-JupyterHub-Version: 6.1.1" in head.replace(b"X-Jupyterhub", b"X-JupyterHub")
    assert b"secret" not in head
    assert body == b"pong"
    ((method, path, headers, _),) = hub.asked
    assert (method, path) == ("GET", "/base/hub/api/users/ada?x=1")
    assert headers["Authorization"] == "token abc"
    assert headers["Host"] == f"127.0.0.1:{hub.port}"
    assert not {"Cookie", "X-Forwarded-For", "X-Scheme"} & headers.keys()


async def test_a_body_arrives(folder: Path, hub: FakeHub) -> None:
    request = (
        b"POST /base/hub/api/users/ada/activity HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n{...}"
    )
    assert await status(folder, request) == 200
    assert hub.asked[0][0] == "POST"
    assert hub.asked[0][3] == b"{...}"


SMUGGLED = b"GET /base/hub/home HTTP/1.1\r\nHost: x\r\n\r\n"
TWO_LENGTHS = (
    b"POST /base/hub/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n"
    % len(SMUGGLED)
)
LENGTH_AND_CHUNKS = (
    b"POST /base/hub/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED))
)
ODD_ENCODING = (
    b"POST /base/hub/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
)
SIGNED_LENGTH = b"POST /base/hub/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: +0\r\n\r\n"


@pytest.mark.parametrize("request_", [TWO_LENGTHS, LENGTH_AND_CHUNKS, ODD_ENCODING, SIGNED_LENGTH])
async def test_a_request_that_can_be_read_in_two_ways_is_refused(folder: Path, hub: FakeHub, request_: bytes) -> None:
    assert await status(folder, request_ + SMUGGLED) in {0, 400}
    assert hub.asked == []


async def test_upgrades_tunnels_and_other_methods_are_refused(folder: Path, hub: FakeHub) -> None:
    assert await status(folder, get("/base/hub/api/", "Upgrade: websocket")) == 400
    assert await status(folder, b"CONNECT 127.0.0.1:8001 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") in {
        400,
        404,
        405,
    }
    assert await status(folder, b"TRACE /base/hub/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == 405
    assert hub.asked == []


async def test_too_much_is_refused(folder: Path, hub: FakeHub) -> None:
    assert await status(folder, get("/base/hub/api/", f"X-Long: {'x' * 70000}")) in {0, 400, 431}
    large = b"POST /base/hub/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000000\r\n\r\n"
    assert await status(folder, large) in {0, 400, 413}
    assert hub.asked == []


async def test_a_hub_that_is_away_is_said_so(folder: Path, hub: FakeHub) -> None:
    hub.stop()
    assert await status(folder, get("/base/hub/api/")) == 502
