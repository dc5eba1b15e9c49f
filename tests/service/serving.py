"""A service on the real Guix as a process of its own: ``python -m tests.service.serving FOLDER GIT_HOST ROOTS DATABASE``.

It runs what is asked for by way of the database until somebody ends it, and looks often for what others leave behind.
"""

import asyncio
import sys
from pathlib import Path

from guix_build_service.queue import queue
from tests.service.installation import installation


async def serve(folder: Path, git_host: str, roots: Path, database: str) -> None:
    """Run builds until killed."""
    queue.LOOK_SECONDS = 0.1
    async with installation(folder, git_host, roots=roots, database=database):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
