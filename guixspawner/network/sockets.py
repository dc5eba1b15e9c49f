"""The folders in which sessions listen, and safe ways to what listens there.

The folder that a session's server listens in is the person's, who could put anything there: a link to another program's
socket above all.  So nobody follows the path.  The socket itself is opened, and either connected to or given a second name
in the folder around it, which is the hub's.
"""

import asyncio
import os
import shutil
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from guix_environment import process_identity
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account

SERVER = "server.sock"
"""What a session's server calls its socket."""

INNER = "inner"
"""The person's folder below the session's own."""

GATEWAY = "gateway"
"""The folder beside it in which the gateway listens for this session alone."""


@dataclass(frozen=True, slots=True)
class SessionSockets:
    """The folder of one session's sockets.  Every call blocks for a few system calls."""

    folder: Path
    """The hub's alone: nobody else gets to what is in it, unless it was made for that."""

    @classmethod
    def of(cls, sockets: Path, key: str) -> "SessionSockets":
        """Return the sockets of the session KEY below the folder SOCKETS of all of them."""
        return cls(sockets / key)

    @property
    def inner(self) -> Path:
        """The person's folder, which the session sees."""
        return self.folder / INNER

    @property
    def gateway(self) -> Path:
        """The folder of the gateway's sockets for this session, which the session sees."""
        return self.folder / GATEWAY

    @property
    def public(self) -> Path:
        """The server's socket under a name that is the hub's, once it was published."""
        return self.folder / SERVER

    def make(self, account: Account, *, by_path: bool = False) -> None:
        """Make the folders anew, the inner one ACCOUNT's, and with BY_PATH one to which its group can come.

        Raises `SessionFailure`.
        """
        try:
            self.remove()
            self.folder.mkdir(mode=0o700, parents=True)
            self.inner.mkdir(mode=0o700)
            self.gateway.mkdir(mode=0o755)
            self.gateway.chmod(0o755)
            if os.geteuid() == 0:
                os.chown(self.inner, account.uid, account.gid)
                if by_path:
                    os.chown(self.folder, -1, account.gid)
                    self.folder.chmod(0o710)
            elif account.uid != os.geteuid():
                # A number that only the kernel may give away; nobody else comes as far as this folder.
                self.inner.chmod(0o777)
        except OSError as error:
            raise SessionFailure(
                "The folder for this session's connections could not be made.",
                hint="Whoever runs this installation can see why in the hub's log.",
                details={"reason": str(error)},
            ) from error

    def remove(self) -> None:
        """Remove the folders with what is left in them."""
        # Of file descriptors, so that no link leads it elsewhere.
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def open(self) -> int:
        """Return a descriptor (``O_PATH``) of the socket that the session's server made, wherever links would lead.

        Raises `OSError` when there is none.
        """
        folder = os.open(self.inner, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.open(SERVER, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        if not stat.S_ISSOCK(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(f"{SERVER} is not a socket")
        return found

    def connect(self) -> socket.socket:
        """Return a connection to the session's server, for an event loop.

        Raises `BlockingIOError` when it has too many that it did not take yet, any other `OSError` when nobody listens.
        """
        found = self.open()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connection.connect(f"/proc/self/fd/{found}")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(found)
        return connection

    def listens(self) -> bool:
        """Tell whether the session's server takes connections."""
        try:
            self.connect().close()
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def publish(self) -> Path:
        """Give the server's socket a name in the hub's folder, and return it.

        Raises `OSError` when there is none, or when the kernel does not let this account (``protected_hardlinks``, proc(5)).
        """
        found = self.open()
        try:
            self.public.unlink(missing_ok=True)
            # With a folder named, though the path needs none: else Python does not follow the link, whatever it is told.
            os.link(f"/proc/self/fd/{found}", self.public, src_dir_fd=found, follow_symlinks=True)
        finally:
            os.close(found)
        return self.public

    def seal(self) -> None:
        """Let a person who is not the hub's own account put nothing else into their folder, which no limit counts."""
        folder = os.open(self.inner, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.geteuid() == 0:
                os.fchown(folder, 0, 0)
            if os.fstat(folder).st_uid == os.geteuid():
                os.fchmod(folder, 0o755)  # nosec B103 # everybody goes through it
        finally:
            os.close(folder)


async def until_listening(sockets: SessionSockets, process: ProcessIdentity, *, pause: float = 0.02) -> bool:
    """Wait until the server behind SOCKETS takes connections and return True, or False when PROCESS has ended before."""
    while process_identity.is_running(process):
        if sockets.listens():
            return True
        await asyncio.sleep(pause)
    return False
