"""The ends of connections to a session's server, on real sockets, with the other side in the test's hands."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from guix_session import connections
from guix_session.connections import PatientServer

ASKED = b"POST / HTTP/1.1\r\nHost: session\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


class _Answering(RequestHandler):
    def post(self) -> None:
        self.finish("done")


@pytest.fixture
async def path(tmp_path: Path) -> str:
    """Where a server listens."""
    server = PatientServer(Application([(r"/", _Answering)]))
    path = str(tmp_path / "server.sock")
    server.add_socket(bind_unix_socket(path))
    return path


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        yield connection


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def whole_answer(client: socket.socket, path: str) -> bytes:
    """Ask the server at PATH, and return all that it says before it closes its side."""
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, path)
    await loop.sock_sendall(client, ASKED)
    answer = b""
    while part := await loop.sock_recv(client, 65536):
        answer += part
    return answer


async def test_nobody_writes_into_a_connection_that_only_the_server_has_closed(path: str, client: socket.socket) -> None:
    files = open_files()
    answer = await whole_answer(client, path)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\ndone")
    client.send(b"")  # as Node does: to a closed socket, even nothing cannot be written (EPIPE)
    client.send(b"and more, which nobody reads")
    client.close()
    while open_files() >= files:  # which the client's own was among
        await asyncio.sleep(0.01)


async def test_who_never_lets_go_is_not_waited_for_for_ever(
    path: str, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SECONDS", 0.05)
    await whole_answer(client, path)
    with contextlib.suppress(BrokenPipeError):
        while True:
            client.send(b"")
            await asyncio.sleep(0.01)
