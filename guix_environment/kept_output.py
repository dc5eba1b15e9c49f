"""What a command says, of which the beginning is kept, however much it is and whoever else has its output open."""

import asyncio
import contextlib
import os
from collections.abc import Iterator

_BLOCK = 64 * 1024
_PIPE = 1024 * 1024
"""Bytes: the most that a pipe can be made to hold without root's rights (pipe(7))."""


class KeptOutput:
    """A pipe of which the first LIMIT bytes are kept and the rest is read and dropped.  Use it as a context.

    Not one of asyncio's own: with those, a process counts as ended only when all others that have its pipes are too, which
    the command may have left behind in a session of their own.
    """

    def __init__(self, limit: int) -> None:
        """Keep LIMIT bytes."""
        self._limit = limit
        self._content = bytearray()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> "KeptOutput":
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reading, False)
        self._loop.add_reader(self._reading, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._reading)
        os.close(self._reading)

    @contextlib.contextmanager
    def writing(self) -> Iterator[int]:
        """Give the end to write into, until the command has it."""
        try:
            yield self._writing
        finally:
            os.close(self._writing)

    def everything(self) -> bytes:
        """Return what was kept, with what lies in the pipe still: all that a command wrote which has ended."""
        for _ in range(_PIPE // _BLOCK):
            if not self._read():
                break
        return bytes(self._content)

    def _read(self) -> bool:
        """Take in what there is, and return whether there may be more."""
        try:
            block = os.read(self._reading, _BLOCK)
        except BlockingIOError:
            return False
        self._content += block[: max(0, self._limit - len(self._content))]
        if not block:
            self._loop.remove_reader(self._reading)
        return bool(block)
