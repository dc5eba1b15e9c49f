"""Attempts at builds: what the services of one machine began, told apart by the build and by the service.

Of one build there can be two at a time, where a service was taken for gone that is there after all. Each service ends what
it began itself, and whoever takes a build over ends what those began who are gone.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.pipeline.job import COPIES, MARK, RUN_BY
from guix_build_service.pipeline.kernels import remove_folder
from guix_environment.errors import InvalidInput
from guix_environment.identifiers import BuildId
from guix_environment.process_identity import ProcessIdentity, end, marked


class Attempts:
    """The processes and folders of all attempts on this machine."""

    def __init__(self, service: str, folder: Path) -> None:
        """Begin as SERVICE, the name of this process in the database, with folders in FOLDER, which services share."""
        self._service = service
        self._folder = folder

    def folder(self, build: BuildId) -> Path:
        """Return where our attempt at BUILD has its files."""
        return self._folder / f"{build}.{self._service}"

    async def end(self, build: BuildId) -> None:
        """End every process of our own attempt at BUILD, whichever of them started it, and return once they are gone."""
        await _end_processes(build, lambda run_by: run_by == self._service)

    async def clear(self, build: BuildId, there: Collection[str]) -> None:
        """End the processes and remove the folders of every attempt at BUILD but those of the services THERE."""
        await _end_processes(build, lambda run_by: run_by not in there)
        await asyncio.to_thread(self._remove_folders, build, there)

    def _remove_folders(self, build: BuildId, there: Collection[str]) -> None:
        for path in self._folder.glob(f"{build}.*"):
            if path.suffix.removeprefix(".") not in there:
                remove_folder(path)

    def remove_all_folders(self) -> None:
        """Remove the folders of all attempts, which nobody may be at.  Blocks."""
        for path in self._folder.glob("*"):
            remove_folder(path)


async def builds_begun_by(service: str) -> frozenset[BuildId]:
    """Return the builds of which processes run that SERVICE began."""
    builds: set[BuildId] = set()
    for variables in (await asyncio.to_thread(marked, RUN_BY)).values():
        if variables[RUN_BY] == service:
            with contextlib.suppress(InvalidInput):  # whatever runs in a build can set its own variables
                builds.add(BuildId(variables.get(MARK, "")))
    return frozenset(builds)


@dataclass(frozen=True, slots=True)
class _Part:
    """A process that has a part in an attempt."""

    process: ProcessIdentity
    run_by: str | None
    """The service that began it; an earlier release's processes do not say."""
    copies: bool
    """Whether it copies the others' output, and ends with them."""


async def _end_processes(build: BuildId, concerns: Callable[[str | None], bool]) -> None:
    """End those processes of attempts at BUILD that CONCERNS accepts by the service that began them.

    A process may start another one after those that run were listed and before it ends, so they are listed until no new one
    is among them. What copies their output ends by itself, when all is in the log: asked to end while it is still being
    started, it would not have copied anything.
    """
    ended: set[_Part] = set()
    while found := {part for part in await _parts_of(build) if concerns(part.run_by)} - ended:
        await asyncio.gather(*(end(part.process) for part in found if not part.copies))
        await asyncio.gather(*(end(part.process, ask=False) for part in found if part.copies))
        ended |= found


async def _parts_of(build: BuildId) -> list[_Part]:
    found = await asyncio.to_thread(marked, MARK)
    return [
        _Part(process, variables.get(RUN_BY), COPIES in variables)
        for process, variables in found.items()
        if variables[MARK] == build
    ]
