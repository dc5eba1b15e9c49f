"""Make a planned container come to life, and find out whether its server answers."""

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from guix_environment import processes
from guix_environment.container import ContainerPlan, bubblewrap_options, encode
from guix_environment.errors import SessionFailure
from guix_environment.processes import Account, ProcessIdentity

_LISTENING = "0A"
"""The state of a listening socket in ``/proc/net/tcp`` (``TCP_LISTEN`` in the kernel's ``tcp_states.h``)."""


@dataclass(frozen=True, slots=True)
class RunningContainer:
    """A container that was started."""

    first: ProcessIdentity
    """Its first process, whose end is the container's end."""
    monitor: asyncio.subprocess.Process
    """Bubblewrap outside of it, our child; the container goes on without it."""


async def launch(bubblewrap: str, plan: ContainerPlan, *, account: Account, log: int) -> RunningContainer:
    """Start PLAN's container as ACCOUNT, its output going to the open file LOG.

    Returns as soon as the container exists, which is before it is complete.  When cancelled, it leaves nothing running.
    Raises `SessionFailure` when there is no container.
    """
    beginning = asyncio.ensure_future(_begin(bubblewrap, plan, account, log))
    try:
        return await asyncio.shield(beginning)
    except asyncio.CancelledError:
        # Bubblewrap, ended in its first moments, would leave a process that waits for it for ever.
        await asyncio.wait([beginning])
        if not beginning.exception():
            await processes.end(beginning.result().first, grace=0)
        raise


async def _begin(bubblewrap: str, plan: ContainerPlan, account: Account, log: int) -> RunningContainer:
    with contextlib.ExitStack() as files:
        contents = [_file_of(file.content, files) for file in plan.files]
        options = _file_of(encode(bubblewrap_options(plan, contents)), files)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        files.callback(os.close, reading)
        try:
            monitor = await processes.start(
                [bubblewrap, "--args", str(options), "--info-fd", str(writing), "--", *plan.command],
                environment={},
                output=log,
                directory=Path("/"),
                account=account,
                pass_descriptors=[*contents, options, writing],
            )
        except OSError as error:
            raise SessionFailure(
                "Containers cannot be started on this machine.", hint="Whoever runs it can look at the hub's log."
            ) from error
        finally:
            os.close(writing)
        first = await asyncio.to_thread(_first_process, reading)
    if first is None:
        await monitor.wait()
        raise SessionFailure("The session's container could not be made.")
    return RunningContainer(first, monitor)


def _file_of(content: bytes, files: contextlib.ExitStack) -> int:
    """Return a descriptor of a file in memory that holds CONTENT and that only who inherits it can read."""
    descriptor = os.memfd_create("guix-session", os.MFD_CLOEXEC)
    files.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _first_process(reading: int) -> ProcessIdentity | None:
    """Return what Bubblewrap says of the container (bwrap(1), ``--info-fd``), or None when it ended before it said so."""
    content = b""
    while block := os.read(reading, 4096):
        content += block
    try:
        return processes.identify(int(json.loads(content)["child-pid"]))
    except (ValueError, KeyError, TypeError):
        return None


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
