"""Lend a private key to one Git command: SSH gets signatures, and never the key.

SSH asks an agent (ssh-agent(1)) which keys there are, and to sign with one of them. This is one, in this process, so that
the key is given to no other: it has a single key, and signs once, nothing but a login with that key as the user whom the
repository's address names (RFC 4252, 7). What else is asked of it fails, as with an agent that cannot.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from guix_build_service.credentials.loans import Loan
from guix_build_service.credentials.ssh_keys import CannotSign, SshKey
from guix_build_service.credentials.wire import NotThis, Reading, string
from guix_environment.own_sockets import answering
from guix_environment.repository_url import RepositoryUrl

LONGEST_MESSAGE = 256 * 1024
"""Bytes; as of OpenSSH's own agent."""

# draft-ietf-sshm-ssh-agent, "Message numbers"
_FAILURE, _LIST, _LISTED, _SIGN, _SIGNED = 5, 11, 12, 13, 14

_LOGIN = 50
"""SSH_MSG_USERAUTH_REQUEST."""

_METHODS = (b"publickey", b"publickey-hostbound-v00@openssh.com")


@asynccontextmanager
async def offered(key: SshKey, url: RepositoryUrl, folder: Path) -> AsyncIterator[Loan]:
    """Offer KEY for as long as the context lasts, to log in at URL; the socket is below FOLDER.

    Raises `OSError` when no socket can be made.
    """
    loan = Loan()
    agent = _Agent(key, url.user.encode(), loan)
    async with answering(agent.answer, folder) as path:
        loan.agent = str(path)
        yield loan


class _Agent:
    """What SSH asks."""

    def __init__(self, key: SshKey, user: bytes, loan: Loan) -> None:
        self._key = key
        self._user = user
        self._loan = loan
        self._signed = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one visitor for as long as it asks."""
        while (length := int.from_bytes(await reader.readexactly(4), "big")) <= LONGEST_MESSAGE:
            message = await reader.readexactly(length)
            try:
                reply = self._reply(Reading(message))
            except (NotThis, CannotSign):
                reply = bytes([_FAILURE])
            writer.write(string(reply))
            await writer.drain()

    def _reply(self, message: Reading) -> bytes:
        kind = message.byte()
        if kind == _LIST:
            self._loan.asked = self._loan.refused = True
            return bytes([_LISTED]) + (1).to_bytes(4, "big") + string(self._key.public) + string(b"")
        if kind == _SIGN:
            return bytes([_SIGNED]) + string(self._signature(message))
        raise NotThis

    def _signature(self, message: Reading) -> bytes:
        public, data, flags = message.string(), message.string(), message.number()
        if self._signed or public != self._key.public or not self._is_login(Reading(data)):
            raise CannotSign
        signature = self._key.sign(data, flags)
        # Servers are asked first whether they know the key: what they do not accept comes to no signature.
        self._signed, self._loan.refused = True, False
        return signature

    def _is_login(self, data: Reading) -> bool:
        """Tell whether DATA is what is signed to log in as our user with our key."""
        data.string()  # the identifier of the connection
        if data.byte() != _LOGIN or data.string() != self._user or data.string() != b"ssh-connection":
            return False
        method, has_signature = data.string(), data.byte()
        data.string()  # the algorithm
        return method in _METHODS and has_signature == 1 and data.string() == self._key.public
