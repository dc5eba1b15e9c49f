"""Have Guix say what packages amount to, in a process that waits then to be told to build it.

It is one process for both as Guix has by then all derivations of the profile in its memory, and its connection to the daemon
what substitute servers offer; another one takes two seconds to have either again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.manifest.canonical import PackageList
from guix_build_service.manifest.syntax import Datum, Form, Symbol, Text
from guix_build_service.pipeline.dialogue import Dialogue, dialogue
from guix_build_service.pipeline.failures import too_much_memory
from guix_build_service.pipeline.guix import (
    QUESTION_SECONDS,
    SCRIPTS,
    failure,
    only_datum,
    package_names,
    problem_of,
    strange,
    texts,
)
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.packages import Occurrence, conflicting, unknown
from guix_environment.errors import GuixSpawnerError, InvalidInput, ManifestFailure, PackagesConflict
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import StorePath


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a manifest amounts to in Guix's own terms, before anything is built."""

    derivation: StorePath
    profile: StorePath
    """Where the profile will be."""
    dialogue: Dialogue | None = None
    """With the Guix that found it out and waits to be told to build it; None where that has ended."""


@contextlib.asynccontextmanager
async def lowering(
    command: GuixCommand,
    job: Job,
    packages: PackageList,
    names_folder: Path,
    additions: Path | None = None,
    *,
    build_seconds: float,
) -> AsyncIterator[Lowered]:
    """Give the derivation of the profile that holds PACKAGES; ADDITIONS is the index of what is added to the store before.

    While the context lasts, the Guix that found it out waits to be told to build it, which may take BUILD_SECONDS.  Raises
    `PackagesUnknown` with all of them and the nearest names, `PackagesConflict`, `GuixUnavailable`, `BuildFailure`.
    """

    def lowered(packages: PackageList) -> contextlib.AbstractAsyncContextManager[Lowered]:
        return _lowering(command, job, packages, names_folder, additions, build_seconds)

    async with contextlib.AsyncExitStack() as until_built:
        try:
            found = await until_built.enter_async_context(lowered(packages))
        except PackagesConflict:
            if packages.added:
                # A conflict among the packages that the person named is the one to tell of.
                async with lowered(packages.named()):
                    pass
            raise
        yield found


@contextlib.asynccontextmanager
async def _lowering(
    command: GuixCommand,
    job: Job,
    packages: PackageList,
    names_folder: Path,
    additions: Path | None,
    build_seconds: float,
) -> AsyncIterator[Lowered]:
    manifest, start = job.folder / "manifest.scm", job.log.size()
    await asyncio.to_thread(manifest.write_text, packages.manifest())
    words: list[str | Path] = [manifest, "-", "profile", *([additions] if additions else [])]
    async with dialogue(job, command, SCRIPTS / "lower.scm", *words, seconds=QUESTION_SECONDS + build_seconds) as waiting:
        line = await waiting.line(QUESTION_SECONDS)
        if not line:
            raise await _unanswered(waiting, command, job, start)
        match await asyncio.to_thread(only_datum, line):
            case Form(items=(Symbol(name="ready"), Text(value=derivation), Text(value=profile))):
                yield Lowered(_store_path(derivation), _store_path(profile), waiting)
            case answer:
                await waiting.end()
                raise await _refusal(answer, command, job, packages, names_folder)


async def _refusal(
    answer: Datum, command: GuixCommand, job: Job, packages: PackageList, names_folder: Path
) -> GuixSpawnerError:
    """Return what ANSWER says that is wrong with PACKAGES."""
    try:
        match answer:
            case Form(items=(Symbol(name="unknown"), *problems)):
                names = await package_names(command, job, names_folder)
                found = [problem_of(problem) for problem in problems]
                return await asyncio.to_thread(unknown, found, names, packages.added, whose=command.known_as)
            case Form(items=(Symbol(name="conflict"), first, second)):
                return conflicting(_occurrence(first), _occurrence(second), packages)
            case Form(items=(Symbol(name="unsupported"), Text(value=message))):
                return ManifestFailure(f"Guix cannot use these packages together: {message:.500}")
    except InvalidInput as error:
        raise strange() from error
    return strange()


async def _unanswered(waiting: Dialogue, command: GuixCommand, job: Job, start: int) -> GuixSpawnerError:
    """Return why Guix, whose output is in JOB's log from START, gave no answer while it was WAITING for."""
    done = waiting.running.result() if waiting.running.done() else None
    await waiting.end()
    if done is not None and done.beyond_memory:
        return too_much_memory(command.memory)
    if done is not None and done.succeeded:
        return strange()
    return await asyncio.to_thread(failure, job, start, timed_out=done is None)


def _store_path(text: str) -> StorePath:
    try:
        return StorePath(text)
    except InvalidInput as error:
        raise strange() from error


def _occurrence(datum: Datum) -> Occurrence:
    match datum:
        case Form(items=(Text(value=name), Text(value=version), Text(value=output), *through)):
            return Occurrence(name, version, output, tuple(texts(through)))
    raise strange()
