"""What the tests of the way out connect to: servers of loopback, and an address that is never really reached."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.git_server import end_tls, with_tls

NOWHERE = "93.184.216.34"
"""A public address, to which nothing is ever sent."""

connect = asyncio.open_connection
"""The real one, wherever the service's is watched."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nConnection: close\r\n\r\n"

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(answer: Answer, certificate: Path | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Run ANSWER on each connection to a port of loopback; gives the port, and the first line of each request."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    asked: list[bytes] = []
    ended = threading.Event()
    if certificate:
        listening = with_tls(listening, certificate)

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), listening.accept()[0] as connection:
                head = b""
                while b"\r\n\r\n" not in head and (block := connection.recv(65536)):
                    head += block
                if head:
                    asked.append(head.split(b"\r\n")[0])
                    answer(connection)
                    end_tls(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port, asked
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listening.close()
