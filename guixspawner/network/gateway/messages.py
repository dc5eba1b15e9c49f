"""What hub and gateway, and an old gateway and its successor, say to each other, and how.

Over a Unix socket of whole messages (``SOCK_SEQPACKET``, unix(7)), each a JSON object, with open files beside it.
"""

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence

LONGEST = 64 * 1024
MOST_FILES = 100
"""In one message; the kernel takes 253 (``SCM_MAX_FD``)."""

Message = dict[str, object]


class Closed(Exception):
    """The other end was closed, or sent what is no message."""


def new_socket() -> socket.socket:
    """Return a socket of whole messages, for an event loop."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)


async def accepted(listening: socket.socket) -> socket.socket:
    """Return the next connection to the socket LISTENING.  When cancelled, none is lost.  Raises `OSError`."""
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            await _ready(listening, for_writing=False)
            continue
        connection.setblocking(False)
        return connection


async def send(connection: socket.socket, message: Mapping[str, object], files: Sequence[int] = ()) -> None:
    """Send MESSAGE with copies of the open FILES.  Raises `OSError`, or `Closed`."""
    content = json.dumps(message).encode()
    while True:
        try:
            socket.send_fds(connection, [content], files)
        except BlockingIOError:
            await _ready(connection, for_writing=True)
        else:
            return


async def receive(connection: socket.socket) -> tuple[Message, list[int]]:
    """Return the next message and the open files that came with it, which are the caller's to close.  Raises `Closed`."""
    while True:
        try:
            content, files, _, _ = socket.recv_fds(connection, LONGEST, MOST_FILES)
        except BlockingIOError:
            await _ready(connection, for_writing=False)
            continue
        except OSError as error:
            raise Closed from error
        break
    for file in files:
        os.set_inheritable(file, False)
    try:
        value = json.loads(content)
        if isinstance(value, dict):
            return value, list(files)
    except ValueError:
        pass
    for file in files:
        os.close(file)
    raise Closed


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def _ready(connection: socket.socket, *, for_writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    watch, unwatch = (loop.add_writer, loop.remove_writer) if for_writing else (loop.add_reader, loop.remove_reader)
    watch(connection, _set, ready)
    try:
        await ready
    finally:
        unwatch(connection)
