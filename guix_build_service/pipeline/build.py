"""Have Guix make the profile, its root first, or find it made."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from guix_build_service.logs import LARGEST_LOG, harmless
from guix_build_service.manifest.canonical import PackageList, environment_key
from guix_build_service.model import RECIPE_VERSION
from guix_build_service.pipeline import guix
from guix_build_service.pipeline.failures import ATTEMPTS, client_broke_down, reason
from guix_build_service.pipeline.job import Job, Profile, Reporter, Workshop
from guix_build_service.pipeline.output import written_to_log
from guix_build_service.pipeline.variables import read_variables
from guix_build_service.progress import ProgressReader
from guix_build_service.redaction import without_secrets
from guix_environment.errors import BuildTimeout, InvalidInput, LimitReached
from guix_environment.files import read_json, write_json
from guix_environment.identifiers import StorePath, VariableName
from guix_environment.processes import Completed, run
from guix_environment.store_items import all_there

LOOK_SECONDS = 0.5
"""How often the growing log is looked at."""


async def known_profile(workshop: Workshop, key: str) -> Profile | None:
    """Return the profile of the environment KEY where it was made, is held and is all there."""
    return await asyncio.to_thread(_known_profile, workshop, key)


async def key_of(workshop: Workshop, packages: PackageList) -> str:
    """Return the environment key of PACKAGES with the Guix that this machine has now.  Raises `GuixUnavailable`."""
    identity = await asyncio.to_thread(guix.identity, workshop.guix)
    return environment_key(packages, identity, guix.system(), RECIPE_VERSION)


async def build(
    workshop: Workshop, job: Job, key: str, packages: PackageList, lowered: guix.Lowered, reporter: Reporter
) -> Profile:
    """Build what was LOWERED and return it.

    Its root is there before, so that no part of it can be collected once it is built; when the build fails or is cancelled
    the root goes again, unless it was there already.  Raises `BuildFailure`, `LimitReached`, `GuixUnavailable`.
    """
    held = (await asyncio.to_thread(workshop.roots.held)).get(key)
    await asyncio.to_thread(workshop.roots.hold, key, lowered.profile)
    try:
        await _run_guix(workshop, job, packages, lowered, reporter)
        profile = await _describe(workshop, job, key, lowered.profile)
        await asyncio.to_thread(_remember, workshop, profile)
    except BaseException:
        if held is None:
            workshop.roots.release(key)
        elif held != lowered.profile:
            workshop.roots.hold(key, held)
        raise
    return profile


def known_items(workshop: Workshop, key: str) -> Mapping[StorePath, int | None] | None:
    """Return the items of the profile of the environment KEY, each with its bytes or, where they were not noted, None.

    None where nothing is known of such a profile.  Blocks.
    """
    try:
        value = read_json(_file(workshop, key))
        closure = value["closure"]
        if not isinstance(closure, list):
            return None
        items = [StorePath(item) for item in closure]
    except (OSError, ValueError, KeyError, InvalidInput):
        return None
    return dict(zip(items, _sizes(value, len(items)) or [None] * len(items), strict=True))


def forget_profile(workshop: Workshop, key: str) -> None:
    """Let go of a profile that no version has any more: what is known of it first, its root after.  Blocks."""
    _file(workshop, key).unlink(missing_ok=True)
    workshop.roots.release(key)


async def _run_guix(workshop: Workshop, job: Job, packages: PackageList, lowered: guix.Lowered, reporter: Reporter) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        said = await _failed_attempt(workshop, job, lowered, reporter)
        if said is None:
            return
        if attempt == ATTEMPTS or not client_broke_down(said):
            raise reason(said, [entry.name for entry in packages.entries])
        await job.log.say("[Guix's display of its progress broke down; the build goes on.]")


async def _failed_attempt(workshop: Workshop, job: Job, lowered: guix.Lowered, reporter: Reporter) -> str | None:
    """Run Guix once; return None when it built everything, else what it said."""
    start = job.log.size()
    seconds = workshop.build_seconds
    command = workshop.guix.build(lowered.derivation, max_silent_seconds=workshop.silent_seconds, max_seconds=int(seconds))
    async with written_to_log(job) as output:
        running = asyncio.ensure_future(
            run(
                command,
                environment=workshop.guix.environment(job.marks),
                timeout=seconds,
                directory=job.folder,
                output=output,
            )
        )
        async with _ended(running):
            await _follow(job, start, running, reporter)
    if running.cancelled():
        await job.log.say("[The log ends here: it has reached its largest size, and the build was ended.]")
        raise LimitReached("The build wrote more than a log may hold, and was ended.", hint="The log says more.")
    done = running.result()
    if done.timed_out:
        raise BuildTimeout(
            f"The build took longer than {int(seconds) // 60} minutes, which is all that this hub allows.",
            hint="Ask for fewer packages, or ask the administrator for more time (build_timeout).",
        )
    if done.succeeded:
        return None
    return without_secrets(harmless(await asyncio.to_thread(_since, job.log.path, start)))


async def _follow(job: Job, start: int, running: asyncio.Future[Completed], reporter: Reporter) -> None:
    """Report how far Guix is until it is not RUNNING any more, or its log, which it began at START, is too long."""
    reader, position = ProgressReader(), start
    while not running.done() and job.log.size() <= LARGEST_LOG:
        await asyncio.wait([running], timeout=LOOK_SECONDS)
        text, position = await asyncio.to_thread(_whole_lines, job.log.path, position)
        reader.feed(harmless(text))
        await reporter.progressed(reader.progress)


@contextlib.asynccontextmanager
async def _ended(running: asyncio.Future[Completed]) -> AsyncIterator[None]:
    """Make sure that RUNNING has ended, with all its processes, when the context ends."""
    try:
        yield
    finally:
        if not running.done():
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def _whole_lines(log: Path, position: int) -> tuple[str, int]:
    with log.open("rb") as file:
        file.seek(position)
        content = file.read(1024 * 1024)
    whole = content[: content.rfind(b"\n") + 1] if len(content) < 1024 * 1024 else content
    return whole.decode(errors="replace"), position + len(whole)


def _since(log: Path, start: int, most: int = 1024 * 1024) -> str:
    with log.open("rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - most))
        return file.read(most).decode(errors="replace")


async def _describe(workshop: Workshop, job: Job, key: str, path: StorePath) -> Profile:
    variables = await asyncio.to_thread(read_variables, path)
    items = await guix.closure(workshop.guix, job, path)
    channels = await guix.channels(workshop.guix, job)
    sizes = tuple(size for _, size in items)
    return Profile(key, path, tuple(item for item, _ in items), sum(sizes), variables, channels, sizes)


def _file(workshop: Workshop, key: str) -> Path:
    return workshop.state_folder / "profiles" / f"{key}.json"


def _remember(workshop: Workshop, profile: Profile) -> None:
    value = {
        "profile": profile.path,
        "closure": list(profile.closure),
        "size": profile.size,
        "sizes": list(profile.sizes),
        "variables": dict(profile.variables),
        "channels": profile.channels,
    }
    write_json(_file(workshop, profile.key), value)


def _sizes(value: Mapping[str, object], count: int) -> tuple[int, ...]:
    """Return the sizes of COUNT items in the VALUE of a file; none of them where they are not all there."""
    sizes = value.get("sizes")
    found = [size for size in sizes if isinstance(size, int)] if isinstance(sizes, list) else []
    return tuple(found) if len(found) == count else ()


def _known_profile(workshop: Workshop, key: str) -> Profile | None:
    path = workshop.roots.held().get(key)
    if path is None:
        return None
    try:
        value = read_json(_file(workshop, key))
        closure, size, variables = value["closure"], value["size"], value["variables"]
        if not isinstance(closure, list) or not isinstance(size, int) or not isinstance(variables, dict):
            return None
        if value["profile"] != path:
            return None
        items = tuple(StorePath(item) for item in closure)
        if not all_there(items):
            return None
        named = {VariableName(name): str(text) for name, text in variables.items()}
        sizes = _sizes(value, len(items))
        return Profile(key, path, items, size, named, str(value.get("channels", "")), sizes)
    except (OSError, ValueError, KeyError, InvalidInput):
        return None
