"""The launcher's program on the side of whoever has containers made: started once, asked for each of them.

The program (`guix_environment.launcher`) ends when this process does, as it reads from a socket whose other end is here.
"""

import asyncio
import contextlib
import functools
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import guix_environment.launcher
from guix_environment import processes
from guix_environment.errors import SessionFailure
from guix_environment.launcher import requests
from guix_environment.launching import Channel

PROGRAM = Path(guix_environment.launcher.__file__).resolve().parent

PATIENCE = 30.0
"""Seconds without any word from the program after which it is taken for stuck, and another one is started."""

_OURS = 2
"""The descriptor of this process's own errors."""


class LauncherProgram:
    """The program that forks for each container."""

    def __init__(self, errors: int = _OURS) -> None:
        """Begin without one; the first request starts it, and its own ERRORS go to that open file."""
        self._errors = errors
        self._control: socket.socket | None = None

    @contextlib.asynccontextmanager
    async def request(self, log: int) -> AsyncIterator[Channel]:
        """Yield a channel to a process for one container, whose output goes to the open file LOG.

        Whoever asks has `PATIENCE` to come to terms with it.  The channel is closed when the block raises, by which the
        process ends.  Raises `SessionFailure` when there is no program.
        """
        ours, theirs = socket.socketpair()
        channel = await Channel.over(ours)
        try:
            with theirs:
                await self._send(theirs.fileno(), log)
            async with asyncio.timeout(PATIENCE):
                yield channel
        except TimeoutError as error:
            channel.close()
            self._forget()
            raise _no_program() from error
        except BaseException:
            channel.close()
            raise

    async def _send(self, channel: int, log: int) -> None:
        if self._control is not None:
            try:
                requests.send(self._control, channel, log)
            except OSError:
                # It was ended, or it is stuck and its queue is full.
                self._forget()
            else:
                return
        try:
            control = await _started(self._errors)
            # Another request may have started one meanwhile; that one still serves what it was asked, and ends.
            self._forget()
            self._control = control
            requests.send(control, channel, log)
        except OSError as error:
            raise _no_program() from error

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None


@functools.cache
def launcher_program() -> LauncherProgram:
    """Return the one of this process; it knows nothing of any container, so all share it."""
    return LauncherProgram()


async def _started(errors: int) -> socket.socket:
    """Start the program, whose output and errors go to the open file ERRORS, and return the socket that leads to it.

    Raises `OSError`.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        with theirs:
            starting = await processes.start(
                # Without `site`: the launcher needs none of what is installed.
                [sys.executable, "-I", "-S", PROGRAM, str(theirs.fileno())],
                environment={},
                output=errors,
                directory=Path("/"),
                pass_descriptors=[theirs.fileno()],
            )
        # It goes on in a process of its own, which is nobody's child.
        status = await starting.wait()
    except BaseException:
        ours.close()
        raise
    if status:
        ours.close()
        raise OSError("the launcher's program ended")
    return ours


def _no_program() -> SessionFailure:
    return SessionFailure("Containers cannot be started on this machine.", hint="Whoever runs it can look at the hub's log.")
