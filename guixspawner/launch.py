"""Have a planned container made, and find out whether its server answers.

The launcher is a program of its own (`guix_environment.launcher`), which first makes a process that waits.  Until it is told
what to become, it lives exactly as long as the socket that leads to it: a hub that ends leaves none behind.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import guix_environment.launcher
from guix_environment import processes
from guix_environment.container import INSIDE, ContainerPlan, Network, division, order
from guix_environment.errors import ContainerFailure, SessionFailure
from guix_environment.launcher import messages
from guix_environment.processes import Account, ProcessIdentity
from guixspawner.accounts import subordinate

_LISTENING = "0A"
"""The state of a listening socket in ``/proc/net/tcp`` (``TCP_LISTEN`` in the kernel's ``tcp_states.h``)."""

_PROGRAM = str(Path(guix_environment.launcher.__file__).resolve().parent)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The first process of a container that is still to be made: in namespaces of its own, and nothing more."""

    first: ProcessIdentity
    """Whose end is the container's end."""
    account: Account
    _channel: "Channel"

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


class Launcher(Protocol):
    """A way to come by a waiting process."""

    async def prepare(self, account: Account, network: Network, log: int) -> Waiting:
        """Return a process of ACCOUNT that waits in a NETWORK, and whose output goes to the open file LOG.

        When cancelled, it leaves nothing.  Raises `SessionFailure`.
        """


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
class ColdLauncher:
    """Starts the launcher's program anew for each container."""

    async def prepare(self, account: Account, network: Network, log: int) -> Waiting:
        """Return a process of ACCOUNT that waits in a NETWORK; see `Launcher`."""
        async with started_program(log) as channel:
            return await divided(channel, account, network)


@contextlib.asynccontextmanager
async def started_program(log: int) -> AsyncIterator[Channel]:
    """Start the launcher's program, whose output goes to the open file LOG, and give the channel to it.

    The channel is closed when the block raises.  Raises `SessionFailure` when there is no program.
    """
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    try:
        with theirs:
            program = await processes.start(
                # Without `site`: the launcher needs none of what is installed, and it takes longer than the container.
                [sys.executable, "-I", "-S", _PROGRAM, str(theirs.fileno())],
                environment={},
                output=log,
                directory=Path("/"),
                pass_descriptors=[theirs.fileno()],
            )
        yield channel
        # It has ended by itself once the container's first process is there.
        await program.wait()
    except OSError as error:
        channel.close()
        raise SessionFailure(
            "Containers cannot be started on this machine.", hint="Whoever runs it can look at the hub's log."
        ) from error
    except BaseException:
        channel.close()
        raise


async def divided(channel: Channel, account: Account, network: Network) -> Waiting:
    """Ask the launcher behind CHANNEL for a process that waits, and make it ACCOUNT's; see `Launcher.prepare`."""
    first = await first_process(channel, division(network, account.groups))
    if account.subordinate:
        await subordinate.map_identifiers(first, account)
    else:
        map_identifiers(first.pid, account)
    return Waiting(first, account, channel)


async def first_process(channel: Channel, request: bytes) -> ProcessIdentity:
    """Return the process that the launcher behind CHANNEL makes for REQUEST.  Raises `ContainerFailure`."""
    await channel.send(request)
    reply = await channel.receive()
    if reply is None or reply[0] != b"waiting":
        raise _failure(reply or [b"failed", b"namespaces", b"the launcher ended"])
    first = processes.identify(int(reply[1]))
    if first is None:
        raise _failure([b"failed", b"namespaces", b"the first process ended"])
    return first


def refuse_root(account: Account) -> None:
    """Return for an ACCOUNT that sessions can run as.  Raises `ContainerFailure`."""
    if account.uid == 0 or account.gid == 0:
        raise _failure([b"failed", b"account", b"no session runs as root"])


def map_identifiers(pid: int, account: Account) -> None:
    """Let the process PID, in a user namespace of its own, become ACCOUNT and nobody else (user_namespaces(7))."""
    refuse_root(account)
    folder = Path(f"/proc/{pid}")
    try:
        (folder / "setgroups").write_text("deny")
        (folder / "uid_map").write_text(f"{INSIDE} {account.uid} 1")
        (folder / "gid_map").write_text(f"{INSIDE} {account.gid} 1")
    except OSError as error:
        raise _failure([b"failed", b"account", (error.strerror or "").encode()]) from error


def _failure(reply: list[bytes]) -> ContainerFailure:
    _, step, reason = (word.decode(errors="replace") for word in reply)
    return ContainerFailure(
        "The session's container could not be made.",
        hint="Tell whoever runs this installation.",
        details={"step": step, "reason": reason},
    )


def listens(table: str, port: int, uid: int) -> bool:
    """Tell from TABLE, the text of ``/proc/net/tcp``, whether an account with number UID listens on PORT.

    That it is this account matters: on a network that all sessions share, somebody else may have been faster.
    """
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port and int(fields[7]) == uid:
            return True
    return False


def _connections() -> str:
    return Path("/proc/net/tcp").read_text()


async def until_listening(container: ProcessIdentity, port: int, uid: int, *, pause: float = 0.05) -> bool:
    """Wait until UID listens on PORT and return True, or False as soon as CONTAINER has ended before."""
    while processes.is_running(container):
        if listens(_connections(), port, uid):
            return True
        await asyncio.sleep(pause)
    return False
