"""Run Guix in a build for as long as it may take, its output in the build's log, and tell how far it is."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.logs.build_logs import LARGEST_LOG, harmless
from guix_build_service.logs.redaction import without_secrets
from guix_build_service.pipeline.dialogue import Dialogue, ended
from guix_build_service.pipeline.failures import too_much_memory
from guix_build_service.pipeline.job import Job, Reporter
from guix_build_service.pipeline.output import written_to_log
from guix_build_service.pipeline.progress import HappeningsReader, OutputReader, Reader
from guix_environment.errors import BuildTimeout, LimitReached
from guix_environment.processes import Completed, run

LOOK_SECONDS = 0.5
"""How often the growing log is looked at."""


async def run_followed(
    job: Job,
    command: Sequence[str],
    environment: Mapping[str, str],
    seconds: float,
    reporter: Reporter,
    happenings: Path | None = None,
    memory: int | None = None,
) -> tuple[Completed, str]:
    """Run COMMAND to its end and return how it ended, and what it said where it failed.

    How far it is, it tells in the file HAPPENINGS, or else in its output, as `progress` has both.  None of its processes is
    left when this returns, raises or is cancelled.  Raises `BuildTimeout` after SECONDS, `BuildMemory` for more than
    MEMORY bytes, and `LimitReached` for a log that is too long.
    """
    start = job.log.size()
    async with written_to_log(job) as output:
        running = asyncio.ensure_future(
            run(command, environment=environment, timeout=seconds, directory=job.folder, output=output, memory=memory)
        )
        async with ended(running):
            followed = _Followed(OutputReader(), job.log.path, start)
            if happenings is not None:
                followed = _Followed(HappeningsReader(), happenings, 0)
            await _follow(job, followed, running, reporter, seconds)
    return await _outcome(job, running, start, seconds, memory)


async def follow(
    job: Job, dialogue: Dialogue, start: int, seconds: float, reporter: Reporter, happenings: Path, memory: int | None
) -> tuple[Completed, str]:
    """Follow a DIALOGUE that was told to build when JOB's log was at START, as `run_followed` does, until it has ended.

    SECONDS are from now on.
    """
    await _follow(job, _Followed(HappeningsReader(), happenings, 0), dialogue.running, reporter, seconds)
    await dialogue.end()
    return await _outcome(job, dialogue.running, start, seconds, memory)


async def _outcome(
    job: Job, running: asyncio.Future[Completed], start: int, seconds: float, memory: int | None
) -> tuple[Completed, str]:
    """Return how what is not RUNNING any more ended, and what it said where it failed, in the log from START."""
    if running.cancelled() and job.log.size() > LARGEST_LOG:
        await job.log.say("[The log ends here: it has reached its largest size, and the build was ended.]")
        raise LimitReached("The build wrote more than a log may hold, and was ended.", hint="The log says more.")
    done = None if running.cancelled() else running.result()
    if done is None or done.timed_out:
        raise BuildTimeout(
            f"The build took longer than {int(seconds) // 60} minutes, which is all that this hub allows.",
            hint="Ask for fewer packages, or ask the administrator for more time (build_timeout).",
        )
    if done.beyond_memory:
        raise too_much_memory(memory)
    return done, "" if done.succeeded else await asyncio.to_thread(_since, job.log.path, start)


@dataclass
class _Followed:
    """A file that grows, what is made of it, and up to where it was read."""

    reader: Reader
    file: Path
    position: int

    def look(self) -> None:
        """Read what has come.  Blocks."""
        text, self.position = _whole_lines(self.file, self.position)
        self.reader.feed(harmless(text))


async def _follow(
    job: Job, followed: _Followed, running: asyncio.Future[Completed], reporter: Reporter, seconds: float
) -> None:
    """Report how far Guix is until it is not RUNNING any more, its log is too long, or SECONDS are over."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while not running.done() and job.log.size() <= LARGEST_LOG and (left := until - clock()) > 0:
        await asyncio.wait([running], timeout=min(LOOK_SECONDS, left))
        await asyncio.to_thread(followed.look)
        await reporter.progressed(followed.reader.progress)


def _whole_lines(log: Path, position: int) -> tuple[str, int]:
    with log.open("rb") as file:
        file.seek(position)
        content = file.read(1024 * 1024)
    whole = content[: content.rfind(b"\n") + 1] if len(content) < 1024 * 1024 else content
    return whole.decode(errors="replace"), position + len(whole)


def _since(log: Path, start: int, most: int = 1024 * 1024) -> str:
    with log.open("rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - most))
        content = file.read(most)
    return without_secrets(harmless(content.decode(errors="replace")))
