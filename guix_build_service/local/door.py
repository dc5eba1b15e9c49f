"""The socket in a service's folder, at which its own account and root need no token.

They could read and write everything of the service anyway. Nobody else reaches it: the folder is closed to others, so is
the socket, and the kernel says which account a connection comes from (unix(7), ``SO_PEERCRED``).
"""

import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = "local.sock"
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Visitor:
    """The account that a connection comes from."""

    uid: int
    name: str
    """Its name on this machine, or its number where it has none."""

    @classmethod
    def of(cls, connection: socket.socket) -> "Visitor":
        """Return whose CONNECTION, of a Unix socket, it was when it was made.  Raises `OSError` for one that is closed."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        try:
            return cls(uid, pwd.getpwuid(uid).pw_name)
        except KeyError:
            return cls(uid, str(uid))

    @property
    def may_enter(self) -> bool:
        """Tell whether it is root or the account that we run as."""
        return self.uid in {0, os.geteuid()}


@contextlib.contextmanager
def socket_in(folder: Path) -> Iterator[str]:
    """Give the path of the socket in FOLDER, however long that is itself, of which a socket's address holds 107 bytes.

    Raises `OSError` where there is no such folder, or none for us.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)


def connected(folder: Path, seconds: float) -> socket.socket:
    """Return a connection to the service of FOLDER, which waits SECONDS for each thing.  Raises `OSError`."""
    with contextlib.ExitStack() as closed_on_failure, socket_in(folder) as path:
        connection = closed_on_failure.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(seconds)
        connection.connect(path)
        closed_on_failure.pop_all()
    return connection
