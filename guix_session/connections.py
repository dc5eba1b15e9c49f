"""The connections to the session's server, which end no sooner than who came by them has let go of them.

JupyterHub's proxy asks each thing by a connection of its own, which ends with the answer. Node writes into it once more when
it has sent a request's last byte: nothing, but where the server has answered and closed a Unix socket by then, that is an
error, and what was saved well is told as a failure (https://github.com/nodejs/node/issues/41062).
"""

import contextlib
import socket

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

SECONDS = 30.0
"""How long the other side has to end a connection over which all was said."""

_BLOCK = 65536


class PatientServer(HTTPServer):
    """Closes its side of a connection, and the connection when the other side is closed too."""

    def handle_stream(self, stream: IOStream, address: tuple[object, ...]) -> None:
        """Serve a new connection."""
        # Nothing was read from it yet.
        patient = _PatientStream(
            stream.socket, max_buffer_size=stream.max_buffer_size, read_chunk_size=stream.read_chunk_size
        )
        super().handle_stream(patient, address)


class _PatientStream(IOStream):
    def close_fd(self) -> None:
        """Close the stream's own descriptor; another one of the same connection waits for the other side."""
        with contextlib.suppress(OSError):
            _end_after_the_other_side(self.socket.dup(), self.io_loop)
        super().close_fd()


def _end_after_the_other_side(connection: socket.socket, loop: IOLoop) -> None:
    """Say that nothing more comes over CONNECTION, and close it once the other side has, or after `SECONDS`."""

    def close() -> None:
        loop.remove_timeout(timeout)
        loop.remove_handler(connection)
        connection.close()

    def read(_connection: socket.socket, _events: int) -> None:
        with contextlib.suppress(OSError):
            if connection.recv(_BLOCK):
                return
        close()

    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:  # it has broken off already
        connection.close()
        return
    timeout = loop.call_later(SECONDS, close)
    loop.add_handler(connection, read, IOLoop.READ)
