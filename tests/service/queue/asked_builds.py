"""Builds that tests of the queue ask for, and what is looked at of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from guix_build_service.model.environments import BuildState, NewEnvironment
from guix_environment.identifiers import BuildId
from tests.service.installation import ADA, Installation

URL = "https://forge.example/ada/plots"


async def until(condition: Callable[[], object], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def ask(service: Installation, name: str = "plots") -> BuildId:
    detail = await service.manager.add_environment(NewEnvironment(f"https://forge.example/ada/{name}"), ADA)
    assert detail.build is not None
    return detail.build.id


async def state_of(service: Installation, build: BuildId) -> BuildState:
    return (await service.store.build(build)).state


def left_of(service: Installation) -> list[Path]:
    """Return what builds have left behind: records, roots, and folders of jobs."""
    found = [path for name in ("records/environments", "roots", "builds") for path in (service.folder / name).glob("*")]
    return [path for path in found if path.exists() or path.is_symlink()]
