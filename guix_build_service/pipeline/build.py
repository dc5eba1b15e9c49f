"""Have Guix make the profile, its root first, or find it made."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from guix_build_service.manifest.canonical import PackageList, environment_key
from guix_build_service.manifest.pinned_channels import channels_identity, channels_text
from guix_build_service.model.environments import RECIPE_VERSION
from guix_build_service.pipeline import guix
from guix_build_service.pipeline.channel_guix import forget_use, note_use
from guix_build_service.pipeline.failures import ATTEMPTS, reason, timed_out
from guix_build_service.pipeline.job import Job, Profile, Reporter, Workshop
from guix_build_service.pipeline.lower import Lowered
from guix_build_service.pipeline.running import follow, run_followed
from guix_build_service.pipeline.variables import read_variables
from guix_environment.errors import InvalidInput
from guix_environment.files import read_json, write_json
from guix_environment.identifiers import StorePath, VariableName
from guix_environment.processes import Completed
from guix_environment.store_items import all_there
from guix_environment.threads import uninterrupted


async def known_profile(workshop: Workshop, key: str) -> Profile | None:
    """Return the profile of the environment KEY where it was made, is held and is all there."""
    return await asyncio.to_thread(_known_profile, workshop, key)


async def key_of(workshop: Workshop, packages: PackageList) -> str:
    """Return the environment key of PACKAGES with the Guix of WORKSHOP: what that is made of, or the machine's as it is now.

    Raises `GuixUnavailable`.
    """
    pinned = workshop.channel_guix
    identity = channels_identity(pinned.channels) if pinned else await asyncio.to_thread(guix.identity, workshop.guix)
    return environment_key(packages, identity, guix.system(), RECIPE_VERSION)


async def build(
    workshop: Workshop, job: Job, key: str, packages: PackageList, lowered: Lowered, reporter: Reporter
) -> Profile:
    """Build what was LOWERED and return it.

    Its root is there before, so that no part of it can be collected once it is built; when the build fails or is cancelled
    the root goes again, unless it was there already.  Raises `BuildFailure`, `LimitReached`, `GuixUnavailable`.
    """
    held = (await asyncio.to_thread(workshop.roots.held)).get(key)
    try:
        await uninterrupted(workshop.roots.hold, key, lowered.profile)
        answer = await _run_guix(workshop, job, packages, lowered, reporter)
        profile = await _describe(workshop, job, key, lowered.profile, answer)
        await uninterrupted(_remember, workshop, profile)
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
    forget_use(workshop, key)


async def _run_guix(workshop: Workshop, job: Job, packages: PackageList, lowered: Lowered, reporter: Reporter) -> Path:
    """Have Guix build what was LOWERED, and return the file with its answer."""
    attempt = 0
    while True:
        attempt += 1
        begun = workshop.clocks.begin()
        done, said, answer = await _attempt(workshop, job, lowered, reporter)
        if done.succeeded:
            return answer
        if attempt == ATTEMPTS or not (timed_out(said) and workshop.clocks.has_leapt(begun)):
            raise reason(said, [entry.name for entry in packages.entries])
        lowered = replace(lowered, dialogue=None)
        await job.log.say(
            "[The machine slept or its clock was set, which Guix's daemon took for time that the build took; it goes on.]"
        )


async def _attempt(workshop: Workshop, job: Job, lowered: Lowered, reporter: Reporter) -> tuple[Completed, str, Path]:
    """Run Guix once; return how it ended, what it said where it failed, and the file with its answer."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="build-", dir=job.folder))
    happenings, answer = folder / "happenings", folder / "answer"
    await asyncio.to_thread(happenings.touch)
    limits = (workshop.silent_seconds, int(workshop.build_seconds))
    memory = workshop.guix.memory
    if lowered.dialogue is not None:
        start = job.log.size()  # before it is told: one that fails at once has said why by the time it is followed
        await lowered.dialogue.tell("build", *limits, happenings, answer)
        done, said = await follow(job, lowered.dialogue, start, workshop.build_seconds, reporter, happenings, memory)
    else:
        done, said = await run_followed(
            job,
            workshop.guix.script(guix.SCRIPTS / "build.scm", lowered.derivation, *map(str, limits), happenings, answer),
            workshop.guix.environment(job.marks),
            workshop.build_seconds,
            reporter,
            happenings,
            memory,
        )
    return done, said, answer


async def _describe(workshop: Workshop, job: Job, key: str, path: StorePath, answer: Path) -> Profile:
    """Return all that must be known of the profile at PATH, of which Guix wrote ANSWER."""
    items = guix.closure(await asyncio.to_thread(guix.read_answer, answer))
    variables = await asyncio.to_thread(read_variables, path)
    pinned = workshop.channel_guix
    channels = channels_text(pinned.channels) if pinned else await guix.channels(workshop.guix, job, workshop.state_folder)
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
    note_use(workshop, profile.key)
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
