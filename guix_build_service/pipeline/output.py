"""The way from a job's processes to its log, on which secrets are blanked (`redaction`)."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from guix_build_service.logs import redaction
from guix_build_service.pipeline.job import COPIES, Job
from guix_environment.process_identity import GRACE
from guix_environment.processes import start

_PROGRAM = Path(redaction.__file__)


@contextlib.asynccontextmanager
async def written_to_log(job: Job) -> AsyncIterator[int]:
    """Give a descriptor for the job's processes to write into; when the context ends, all they wrote is in the log.

    What a process that was left behind writes later is lost.
    """
    reading, writing = (
        os.fdopen(number, mode, buffering=0) for number, mode in zip(os.pipe2(os.O_CLOEXEC), ("rb", "wb"), strict=True)
    )
    with writing:
        with reading, _handed_over(job.log.redaction.secrets) as secrets:
            copying = await start(
                (sys.executable, "-I", "-S", str(_PROGRAM), str(reading.fileno()), str(secrets.fileno())),
                environment={"PATH": os.defpath, **job.marks, COPIES: "log"},
                output=job.log.descriptor,
                pass_descriptors=(reading.fileno(), secrets.fileno()),
            )
        try:
            yield writing.fileno()
        finally:
            writing.close()
            await _ended(copying)


async def _ended(copying: asyncio.subprocess.Process) -> None:
    """Return once COPYING has copied everything, or will not: a process that was left behind keeps its input open."""
    try:
        async with asyncio.timeout(GRACE):
            await copying.wait()
    except TimeoutError:
        pass
    finally:
        if copying.returncode is None:
            copying.kill()
            await copying.wait()


def _handed_over(secrets: tuple[str, ...]) -> BinaryIO:
    """Return an open file of memory that holds SECRETS, to be read from its beginning."""
    file = os.fdopen(os.memfd_create("secrets", os.MFD_CLOEXEC), "w+b")
    file.write("\0".join(secrets).encode())
    file.seek(0)
    return file
