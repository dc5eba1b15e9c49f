"""Lend a secret to one Git command: over a Unix socket, once, for one repository.

Git gets nothing but the name of a program and of a socket; the program asks there when a server wants a password, and the
secret goes from this process through the helper's to Git's, in no argument, variable or file. The socket is in a folder that
no other account can enter, answers this account alone, gives the secret out once, and is gone when the command has ended.
"""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from guix_build_service.credentials.envelope import Secret
from guix_environment.errors import GuixSpawnerError
from guix_environment.own_sockets import answering
from guix_environment.repository_url import RepositoryUrl

ANSWER_SECONDS = 10.0
"""How long a helper may take to say what it wants."""

_REFUSED = b"quit=1\n"
"""What has Git stop, and ask nobody else (gitcredentials(7))."""

_PROGRAM = Path(__file__).with_name("git_credential.py")


@dataclass(slots=True)
class Loan:
    """A secret on loan, and what became of it."""

    helper: str = ""
    """The value of Git's setting ``credential.helper``; empty for a key."""
    agent: str = ""
    """The path at which SSH has an agent that signs with the key; empty for a password."""
    asked: bool = False
    """Whether the server wanted a secret, and this one was used."""
    refused: bool = False
    """Whether the server then did not accept it."""
    failure: GuixSpawnerError | None = None
    """Why there was none when it was wanted, where that is known."""


Find = Callable[[], Awaitable[Secret | None]]
"""Finds the secret once it is wanted; raises `GuixSpawnerError`."""


@asynccontextmanager
async def lent(secret: Secret | Find, url: RepositoryUrl, folder: Path) -> AsyncIterator[Loan]:
    """Lend SECRET, or what it finds, while the context lasts, to whoever asks for exactly URL; the socket is below FOLDER.

    Raises `OSError` when no socket can be made.
    """
    loan = Loan()
    async with answering(_Desk(secret, url, loan).answer, folder) as path:
        words = (sys.executable, "-I", "-S", str(_PROGRAM), str(path))
        loan.helper = " ".join(shlex.quote(word) for word in words)
        yield loan


class _Desk:
    """Where one secret is given out."""

    def __init__(self, secret: Secret | Find, url: RepositoryUrl, loan: Loan) -> None:
        self._secret = secret
        # Git tells the path as it is meant (gitcredentials(7)), and not as it stands in the address.
        self._wanted = {"protocol": url.scheme, "host": url.authority, "path": unquote(url.path).lstrip("/")}
        self._loan = loan

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one helper."""
        async with asyncio.timeout(ANSWER_SECONDS):
            said = await reader.readuntil(b"\n\n")
        reply = await self._reply(said.decode(errors="replace"))
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(reply)
            await writer.drain()

    async def _reply(self, said: str) -> bytes:
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
        secret = await self._found()
        if secret is None:
            return _REFUSED
        return f"username={secret.user}\npassword={secret.password}\n".encode()

    async def _found(self) -> Secret | None:
        if isinstance(self._secret, Secret):
            return self._secret
        try:
            return await self._secret()
        except GuixSpawnerError as failure:
            self._loan.failure = failure
            return None
