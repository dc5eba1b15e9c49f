"""The proxy that is a Git command's way out, asked by programs of the same machine that found its port."""

import asyncio
import base64
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guix_build_service.egress import Passage, opened
from guix_build_service.egress.passage import MOST_CONNECTIONS
from guix_build_service.git.hosts import Reached
from guix_environment.errors import HostRefused, RepositoryUnavailable
from guix_environment.repository_url import RepositoryUrl
from tests.service.egress.answering import HEAD, NOWHERE, connect, server

FOLDER = Path("/nonexistent")


class Asker:
    """A program on the same machine that found the port of a Git command's proxy."""

    def __init__(self, way: Passage) -> None:
        found = re.fullmatch(r"http://(?P<credentials>.+)@127\.0\.0\.1:(?P<port>\d+)", way.reached.proxy)
        assert found
        self.port = int(found["port"])
        self.credentials = base64.b64encode(found["credentials"].encode()).decode()

    async def ask(self, first: str, *lines: str, known: bool = True) -> bytes:
        """Return all that the proxy answers to a request."""
        reader, writer = await connect("127.0.0.1", self.port)
        authorization = [f"Proxy-Authorization: Basic {self.credentials}"] if known else []
        writer.write("\r\n".join([first, *authorization, *lines, "", ""]).encode())
        answer = await reader.read()
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def way_to(url: str, *addresses: str, most: int = 10**6) -> AsyncIterator[tuple[Passage, Asker]]:
    async with opened(Reached(RepositoryUrl.parse(url), addresses), most, FOLDER) as way:
        yield way, Asker(way)


@pytest.mark.parametrize(
    "header", ["", "Proxy-Authorization: Basic Z2l0Og==", "Proxy-Authorization: Bearer x", "Proxy-Authorization:"]
)
async def test_whoever_lacks_the_password_gets_nothing(connected: list[tuple[str, int]], header: str) -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (way, asker):
        answer = await asker.ask("CONNECT forge.example:443 HTTP/1.1", *([header] if header else []), known=False)
        assert answer.startswith(b"HTTP/1.1 407 ")
        # Nor does it get a word in with what the person is told.
        assert way.refusal is None
    assert connected == []


async def test_no_more_connections_are_taken_than_git_needs() -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (_, asker):
        held = [await connect("127.0.0.1", asker.port) for _ in range(MOST_CONNECTIONS)]
        try:
            answer = await asker.ask("CONNECT forge.example:443 HTTP/1.1", known=False)
        except ConnectionError:
            answer = b""
        assert answer == b"", "closed, and not asked for the password"
        for _, writer in held:
            writer.close()


async def answered(first: str) -> tuple[bytes, Passage]:
    """Return with which status a request that begins with FIRST is answered on the way to forge.example, and that way."""
    async with way_to("https://forge.example/a", "127.0.0.1") as (way, asker):
        return (await asker.ask(first)).split(b" ")[1], way


@pytest.mark.parametrize(
    "first",
    [
        "CONNECT other.example:443 HTTP/1.1",
        "CONNECT 127.0.0.1:443 HTTP/1.1",
        "CONNECT forge.example:22 HTTP/1.1",
        "CONNECT forge.example:444 HTTP/1.1",
        "CONNECT a.forge.example:443 HTTP/1.1",
        "CONNECT [::1]:443 HTTP/1.1",
        "GET http://forge.example/a HTTP/1.1",
        "GET http://forge.example:443/a HTTP/1.1",
        "POST http://169.254.169.254/latest HTTP/1.1",
    ],
)
async def test_it_leads_to_one_host_and_port_and_by_a_tunnel(connected: list[tuple[str, int]], first: str) -> None:
    status, way = await answered(first)
    assert status == b"403"
    assert isinstance(way.refusal, HostRefused)
    assert way.refusal.hint
    assert connected == []


@pytest.mark.parametrize(
    "first",
    [
        "nonsense",
        "CONNECT forge.example HTTP/1.1",
        "CONNECT forge.example:443",
        "CONNECT u@forge.example:443 HTTP/1.1",
        "GET / HTTP/1.1",
        "GET https://forge.example/a HTTP/1.1",
        "GET ftp://forge.example/a HTTP/1.1",
        "TRACE http://forge.example/ HTTP/1.1",
    ],
)
async def test_what_is_no_request_to_a_proxy_is_refused(connected: list[tuple[str, int]], first: str) -> None:
    status, _ = await answered(first)
    assert status == b"400"
    assert connected == []


async def test_endless_requests_are_cut(connected: list[tuple[str, int]]) -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (_, asker):
        reader, writer = await connect("127.0.0.1", asker.port)
        writer.write(b"CONNECT forge.example:443 HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    assert connected == []


def head_and_no_more(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    connection.recv(1)


async def test_nothing_is_left_when_the_command_has_ended() -> None:
    with server(head_and_no_more) as (port, _):
        async with way_to(f"http://127.0.0.1:{port}/a", "127.0.0.1") as (way, asker):
            reader, writer = await asyncio.open_connection("127.0.0.1", asker.port)
            request = f"GET http://127.0.0.1:{port}/a HTTP/1.1\r\nProxy-Authorization: Basic {asker.credentials}\r\n\r\n"
            writer.write(request.encode())
            assert await reader.readuntil(b"\r\n\r\n") == HEAD
            idle = await asyncio.open_connection("127.0.0.1", asker.port)
        # One that had not been taken yet is refused, the others are closed.
        for left in (reader, idle[0]):
            with contextlib.suppress(ConnectionResetError):
                assert await left.read() == b""
        assert way.refusal is None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", asker.port)
        writer.close()
        idle[1].close()


async def test_a_host_that_does_not_answer_is_told_as_such(connected: list[tuple[str, int]]) -> None:
    async with way_to("https://forge.example/a", NOWHERE, "2606:2800:220:1::1") as (way, asker):
        assert (await asker.ask("CONNECT forge.example:443 HTTP/1.1")).startswith(b"HTTP/1.1 403 ")
    assert isinstance(way.refusal, RepositoryUnavailable)
    assert connected == [(NOWHERE, 443), ("2606:2800:220:1::1", 443)]


async def test_the_password_goes_no_further() -> None:
    heads = []

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD)

    with server(answer) as (port, asked):
        async with way_to(f"http://127.0.0.1:{port}/a", "127.0.0.1") as (_, asker):
            heads.append(await asker.ask(f"GET http://127.0.0.1:{port}/a?b HTTP/1.1", "X: y"))
    assert heads == [HEAD]
    assert asked == [b"GET /a?b HTTP/1.1"]


async def test_a_folder_needs_no_way(tmp_path: Path) -> None:
    reached = Reached(RepositoryUrl.parse(f"file://{tmp_path}"))
    async with opened(reached, 1, tmp_path) as way:
        assert way.reached == reached
