"""How the hub asks a process that forks for each container: with two open files, for the child alone.

They come over a Unix socket (unix(7), SCM_RIGHTS): the channel over which hub and child talk from then on, and the
container's log.
"""

from __future__ import annotations

import array
import os
import select
import socket

REQUEST = b"s"
"""What comes with the two files of a start."""

END = b"e"
"""Asks a process that outlives the hub for its end: another one has taken over."""


class Request:
    """What a start brings: the open files that are the child's alone."""

    def __init__(self, channel: int, log: int) -> None:
        """Take the CHANNEL to the hub and the LOG."""
        self.channel, self.log = channel, log

    def close(self) -> None:
        """Close both, in the process that forked."""
        os.close(self.channel)
        os.close(self.log)

    def keep_only_this(self) -> None:
        """Make the log standard output and errors, nothing the input, and close all but these and the channel."""
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for descriptor, target in ((nothing, 0), (self.log, 1), (self.log, 2)):
            os.dup2(descriptor, target)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != self.channel:
                try:
                    os.close(int(name))
                except OSError:
                    # The one through which they were listed.
                    continue


def send(connection: socket.socket, channel: int, log: int) -> None:
    """Ask for a container over CONNECTION, with CHANNEL and LOG.  Raises `OSError`."""
    connection.sendmsg([REQUEST], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [channel, log]))])


def receive(connection: socket.socket) -> tuple[bytes, Request | None]:
    """Return the next word over CONNECTION and what came with it, if that is a request somebody still waits for.

    No word means that the other end is closed.  Raises `OSError`.
    """
    numbers = array.array("i")
    space = socket.CMSG_SPACE(2 * numbers.itemsize)
    word, ancillary, _, _ = connection.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    if word == REQUEST and len(numbers) == 2 and _is_wanted(numbers[0]):
        return word, Request(*numbers)
    for descriptor in numbers:
        os.close(descriptor)
    return word, None


def _is_wanted(channel: int) -> bool:
    """Tell whether the hub still holds the other end of CHANNEL: while this process was not ready, it may have gone on."""
    waiting = select.poll()
    waiting.register(channel, 0)
    return not waiting.poll(0)
