"""Have a planned container made by a process that waits for what it is to become.

That process is in namespaces of its own already, and is the account's.  Until it is told what to become, it lives exactly as
long as the socket that leads to it: whoever ends leaves none behind.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from guix_environment import process_identity
from guix_environment.container import INSIDE, ContainerPlan, Network, division, order
from guix_environment.errors import ContainerFailure
from guix_environment.launcher import messages
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account


class Channel:
    """A socket over which the launcher is talked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk through READER and WRITER, which are of one socket."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, connected: socket.socket) -> "Channel":
        """Return a channel over the socket CONNECTED, which it closes with itself."""
        return cls(*await asyncio.open_connection(sock=connected))

    async def send(self, message: bytes) -> None:
        """Send MESSAGE; nothing happens when nobody is there to read it, which the next `receive` tells."""
        self._writer.write(message)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> list[bytes] | None:
        """Return the words of the next message, or None once the other end is closed."""
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            return messages.split(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Close the socket, by which a process that waits ends."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first process of a container that is still to be made: in namespaces of its own, and nothing more."""

    first: ProcessIdentity
    """Whose end is the container's end."""
    account: Account
    _channel: Channel

    async def run(self, plan: ContainerPlan) -> ProcessIdentity:
        """Make PLAN of it, and return the container's first process once its command runs.

        Raises `ContainerFailure` when it could not be made, and then ends by itself; when cancelled, it may go on, and is
        the caller's to end.  Raises `InvalidInput` for a plan that cannot be handed over.
        """
        await self.become(order(plan))
        return self.first

    async def become(self, message: bytes) -> None:
        """Send MESSAGE, the order of what to become, and return once that is so; see `run`."""
        try:
            await self._channel.send(message)
            failure = await self._channel.receive()
        finally:
            self._channel.close()
        if failure is not None:
            raise _failure(failure)

    def give_up(self) -> None:
        """Let the process end, which was not told what to become; nothing happens to one that was."""
        self._channel.close()


async def map_identifiers(process: ProcessIdentity, account: Account) -> None:
    """Let PROCESS, in a user namespace of its own, become ACCOUNT and nobody else (user_namespaces(7)).

    Raises `ContainerFailure` where that is not this process's to allow.
    """
    refuse_root(account)
    folder = Path(f"/proc/{process.pid}")
    try:
        (folder / "setgroups").write_text("deny")
        (folder / "uid_map").write_text(f"{INSIDE} {account.uid} 1")
        (folder / "gid_map").write_text(f"{INSIDE} {account.gid} 1")
    except OSError as error:
        raise _failure([b"failed", b"account", (error.strerror or "").encode()]) from error


async def divided(
    channel: Channel,
    account: Account,
    network: Network,
    map_account: Callable[[ProcessIdentity, Account], Awaitable[None]] = map_identifiers,
) -> Waiting:
    """Ask the launcher behind CHANNEL for a process that waits in a NETWORK, and have MAP_ACCOUNT make it ACCOUNT's.

    Raises `SessionFailure`.
    """
    first = await first_process(channel, division(network, account.groups))
    await map_account(first, account)
    return Waiting(first, account, channel)


async def first_process(channel: Channel, request: bytes) -> ProcessIdentity:
    """Return the process that the launcher behind CHANNEL makes for REQUEST.  Raises `ContainerFailure`."""
    await channel.send(request)
    reply = await channel.receive()
    if reply is None or reply[0] != b"waiting":
        raise _failure(reply or [b"failed", b"namespaces", b"the launcher ended"])
    first = process_identity.identify(int(reply[1]))
    if first is None:
        raise _failure([b"failed", b"namespaces", b"the first process ended"])
    return first


def refuse_root(account: Account) -> None:
    """Return for an ACCOUNT that sessions can run as.  Raises `ContainerFailure`."""
    if account.uid == 0 or account.gid == 0:
        raise _failure([b"failed", b"account", b"no session runs as root"])


def _failure(reply: list[bytes]) -> ContainerFailure:
    _, step, reason = (word.decode(errors="replace") for word in reply)
    return ContainerFailure(
        "The session's container could not be made.",
        hint="Tell whoever runs this installation.",
        details={"step": step, "reason": reason},
    )
