"""Ports of the session's own loopback that lead to sockets."""

import asyncio
import fcntl
import gc
import socket
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guix_session.relays import Relay, _Connections, start
from tests.ports import free_port


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[str]:
    """A socket that gives back all it gets, in capitals, once the other side has said all."""
    path = str(tmp_path / "echo.sock")

    def answer(connection: socket.socket) -> None:
        with connection:
            content = b""
            while part := connection.recv(65536):
                content += part
            connection.sendall(content.upper())

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[connection], daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)


def ask(port: int, content: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_bytes_go_both_ways_and_so_does_the_end(echo: str) -> None:
    port = free_port()
    start([Relay(port, echo)])
    assert ask(port, b"ada") == b"ADA"
    # More than any buffer on the way holds.
    assert ask(port, b"x" * 5_000_000) == b"X" * 5_000_000


def test_many_at_once(echo: str) -> None:
    port = free_port()
    start([Relay(port, echo)])
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    # What waits for a connection's next words must not be taken for garbage.
    gc.collect()
    assert ask(port, b"ada") == b"ADA"
    waiting[0].sendall(b"first")
    waiting[0].shutdown(socket.SHUT_WR)
    assert waiting[0].recv(100) == b"FIRST"
    for connection in waiting:
        connection.close()
    assert ask(port, b"again") == b"AGAIN"


async def test_who_reads_late_gets_everything(tmp_path: Path) -> None:
    """Also what the relay itself still held when both sides had ended: the kernel took no more of it for the reader."""
    path, piece, sent = str(tmp_path / "much.sock"), bytes(range(256)) * 64, bytearray()
    connections, held = _Connections(path), list[asyncio.StreamWriter]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await connections(reader, writer)

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket() as reader:
        listener.bind(path)
        listener.listen()
        for each in (listener, reader):
            each.setblocking(False)
        await loop.sock_connect(reader, server.sockets[0].getsockname())
        reader.shutdown(socket.SHUT_WR)
        far, _ = await loop.sock_accept(listener)
        with far:
            while not (held and held[0].transport.get_write_buffer_size()):
                await loop.sock_sendall(far, piece)
                sent += piece
                while unread_by_the_other(far):
                    await asyncio.sleep(0)
        while connections._tasks:
            await asyncio.sleep(0)
        assert held[0].transport.get_write_buffer_size()
        received = bytearray()
        while part := await loop.sock_recv(reader, 65536):
            received += part
    assert received == sent
    server.close()


def unread_by_the_other(connection: socket.socket) -> int:
    """Return how much of what was sent to a Unix socket its other side has not read (``SIOCOUTQ``), as the kernel counts."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def test_a_socket_that_is_not_there_yet(tmp_path: Path) -> None:
    port = free_port()
    start([Relay(port, str(tmp_path / "nothing"))])
    # Whether the connection breaks off while it is written to or before, it is broken off.
    with pytest.raises(OSError, match=r"reset|not connected|Broken pipe"):
        ask(port, b"ada")


def test_only_the_loopback_listens(echo: str) -> None:
    port = free_port()
    start([Relay(port, echo)])
    others = {
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()
        if line.split()[1].endswith(f":{port:04X}")
    }
    assert others == {f"0100007F:{port:04X}"}


def test_a_port_that_is_taken_is_told(echo: str) -> None:
    port = free_port()
    start([Relay(port, echo)])
    with pytest.raises(OSError, match="address"):
        start([Relay(port, echo)])
