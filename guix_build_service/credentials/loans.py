"""Lend a secret to one Git command: over a Unix socket, once, for one repository.

Git gets nothing but the name of a program and of a socket; the program asks there when a server wants a password, and the
secret goes from this process through the helper's to Git's, in no argument, variable or file. The socket is in a folder that
no other account can enter, answers this account alone, gives the secret out once, and is gone when the command has ended.
"""

import asyncio
import os
import shlex
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.credentials.envelope import Secret
from guix_environment.repository_url import RepositoryUrl

ANSWER_SECONDS = 10.0
"""How long a helper may take to say what it wants."""

LONGEST_PATH = 100
"""Characters that a socket's path may have (unix(7) has room for 107)."""

_REFUSED = b"quit=1\n"
"""What has Git stop, and ask nobody else (gitcredentials(7))."""

_PROGRAM = Path(__file__).with_name("git_credential.py")


@dataclass(slots=True)
class Loan:
    """A secret on loan, and what became of it."""

    helper: str
    """The value of Git's setting ``credential.helper``."""
    asked: bool = False
    """Whether the server wanted a password, and Git was given it."""
    refused: bool = False
    """Whether the server then did not accept it."""


@asynccontextmanager
async def lent(secret: Secret, url: RepositoryUrl, folder: Path) -> AsyncIterator[Loan]:
    """Lend SECRET for as long as the context lasts, to whoever asks for exactly URL; the socket is below FOLDER.

    Raises `OSError` when no socket can be made.
    """
    place = await asyncio.to_thread(_make_place, folder)
    try:
        path = place / "socket"
        words = (sys.executable, "-I", "-S", str(_PROGRAM), str(path))
        loan = Loan(" ".join(shlex.quote(word) for word in words))
        desk = _Desk(secret, url, loan)
        server = await asyncio.start_unix_server(desk.answer, path)
        try:
            yield loan
        finally:
            server.close()
            await desk.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _make_place(folder: Path) -> Path:
    """Make a folder that is ours alone, below FOLDER, or below the one for such things where that one's name is too long."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    below = folder if len(str(folder)) < LONGEST_PATH - 20 else None
    return Path(tempfile.mkdtemp(prefix="loan-", dir=below))  # mode 0700


class _Desk:
    """Where one secret is given out."""

    def __init__(self, secret: Secret, url: RepositoryUrl, loan: Loan) -> None:
        self._secret = secret
        self._wanted = {"protocol": url.scheme, "host": url.authority, "path": url.path.lstrip("/")}
        self._loan = loan
        self._visits: set[asyncio.Task[None]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one helper; nothing that it does raises anything here."""
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if _account(writer) == os.geteuid():
                    async with asyncio.timeout(ANSWER_SECONDS):
                        said = await reader.readuntil(b"\n\n")
                        writer.write(self._reply(said.decode(errors="replace")))
                        await writer.drain()
        finally:
            writer.close()
            self._visits.discard(task)

    async def close(self) -> None:
        """End what is still being answered."""
        for visit in list(self._visits):
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    def _reply(self, said: str) -> bytes:
        operation, *lines = said.rstrip("\n").split("\n")
        described: Mapping[str, str] = dict(line.split("=", 1) for line in lines if "=" in line)
        if described != self._wanted:
            return _REFUSED
        if operation == "erase":
            self._loan.refused = True
            return b""
        if operation != "get":
            return b""
        if self._loan.asked:
            return _REFUSED
        self._loan.asked = True
        return f"username={self._secret.user}\npassword={self._secret.password}\n".encode()


def _account(writer: asyncio.StreamWriter) -> int:
    """Return the account of the process at the other end, as the kernel knows it (unix(7), ``SO_PEERCRED``)."""
    connection: socket.socket = writer.get_extra_info("socket")
    _, account, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(account)
