"""A service that is killed while it lets a profile go: ``python -m tests.service.queue.killed_letting_go FOLDER STEP``."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Never

from guix_build_service.model.environments import NewEnvironment
from guix_build_service.model.retention import Rules
from guix_environment.identifiers import Commit
from guix_environment.roots import Roots
from tests.service.installation import ADA
from tests.service.scripted import scripted

URL = "https://forge.example/ada/plots"
OLD, NEW = Commit("0a" * 20), Commit("0b" * 20)
EVERYTHING_UNUSED = Rules(unused=timedelta(0))
STEPS = ("before the records", "before the root", "before the root, without what is known of it")


def killed(*_arguments: object) -> Never:
    """End as a machine does whose power fails."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


async def work(folder: Path, step: str) -> None:
    """Have two versions in FOLDER, let the older one go, and be killed at STEP."""
    async with scripted(folder, leases=Roots(folder / "leases")) as (service, pipeline):
        pipeline.commits[URL] = OLD
        detail = await service.manager.add_environment(NewEnvironment(URL), ADA)
        await service.finished(detail)
        pipeline.commits[URL] = NEW
        await service.finished(await service.manager.start_build(detail.environment.id, ADA))
        match step:
            case "before the records":
                pipeline.note_let_go = killed  # type: ignore[method-assign, assignment] # a fault
            case "before the root":
                pipeline.forget = killed  # type: ignore[method-assign, assignment] # a fault
            case _:
                type(pipeline.workshop.roots).release = killed  # type: ignore[method-assign, assignment] # a fault
        await service.retainer.let_go(EVERYTHING_UNUSED)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
