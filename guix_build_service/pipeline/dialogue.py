"""Talk with a script of ours while Guix runs it: its standard input is a socket that takes its answers too, a line each."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from guix_build_service.manifest.canonical import quoted
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.output import written_to_log
from guix_environment.guix_command import GuixCommand
from guix_environment.processes import Completed, run

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of an answer."""


class Dialogue:
    """A script that runs, and that can be told something.  `dialogue` makes it."""

    def __init__(
        self,
        running: asyncio.Future[Completed],
        theirs: BinaryIO,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        parts: contextlib.AsyncExitStack,
    ) -> None:
        self.running = running
        """How it ended, once it has."""
        self._theirs = theirs
        self._reader, self._writer = streams
        self._parts = parts

    async def line(self, seconds: float) -> bytes:
        """Return the next line that it says; an empty one where it ends, or says nothing for SECONDS.

        Raises `ValueError` for more than `LONGEST_LINE`.
        """
        reading = asyncio.ensure_future(self._reader.readline())
        try:
            either: tuple[asyncio.Future[bytes] | asyncio.Future[Completed], ...] = (reading, self.running)
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if self.running.done():
                self._theirs.close()  # the last of that end, so that reading comes to an end
            elif not reading.done():
                return b""
            return await reading
        finally:
            reading.cancel()

    async def tell(self, word: str, *arguments: int | Path) -> None:
        """Say WORD with ARGUMENTS.  To a script that has ended, that comes to nothing."""
        said = " ".join([word, *(str(each) if isinstance(each, int) else quoted(str(each)) for each in arguments)])
        with contextlib.suppress(ConnectionError):
            self._writer.write(f"({said})\n".encode())
            await self._writer.drain()

    async def end(self) -> None:
        """End it where it runs still, with all its processes, and return once all that they wrote is in the log."""
        await self._parts.aclose()


@contextlib.asynccontextmanager
async def dialogue(
    job: Job, command: GuixCommand, script: Path, *arguments: str | Path, seconds: float
) -> AsyncIterator[Dialogue]:
    """Have COMMAND run SCRIPT with ARGUMENTS for JOB, for SECONDS at most; it has ended when the context ends.

    What it says besides goes to the job's log.  Should the service end in whatever way, the script finds its input ended.
    """
    async with contextlib.AsyncExitStack() as parts:
        ours, other = socket.socketpair()
        theirs = parts.enter_context(os.fdopen(other.detach(), "rb", buffering=0))
        streams = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
        parts.callback(streams[1].close)
        output = await parts.enter_async_context(written_to_log(job))
        running = asyncio.ensure_future(
            run(
                command.script(script, *arguments),
                environment=command.environment(job.marks),
                timeout=seconds,
                directory=job.folder,
                given=theirs,
                output=output,
                memory=command.memory,
            )
        )
        await parts.enter_async_context(ended(running))
        yield Dialogue(running, theirs, streams, parts)


@contextlib.asynccontextmanager
async def ended(running: asyncio.Future[Completed]) -> AsyncIterator[None]:
    """Make sure that RUNNING has ended, with all its processes, when the context ends."""
    try:
        yield
    finally:
        if not running.done():
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
