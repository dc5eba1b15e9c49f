"""Obtain the Guix of the channels that a repository pins, once for all environments that pin the same.

It is a profile like any other: built by the machine's Guix, as `guix time-machine` does, and held by a root of its own as
long as a profile is kept that was made with it.  Guix's own copies of the channels' repositories lie in the service's home.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from guix_build_service.manifest.pinned_channels import PinnedChannel, channels_key, still_allowed
from guix_build_service.pipeline.channel_answers import obtained, request
from guix_build_service.pipeline.failures import reason
from guix_build_service.pipeline.guix import SCRIPTS, read_answer
from guix_build_service.pipeline.job import ChannelGuix, Job, Reporter, Workshop
from guix_build_service.pipeline.kernels import remove_folder
from guix_build_service.pipeline.running import run_followed
from guix_environment.errors import InvalidInput
from guix_environment.files import read_json, write_json
from guix_environment.identifiers import BuildId, StorePath
from guix_environment.store_items import all_there


class ChannelGuixes:
    """The Guixes of pinned channels of one service."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._used: dict[BuildId, frozenset[str]] = {}
        """The names of roots that a job's Guix has, or is about to have."""
        self._fetching = asyncio.Lock()
        """Guix keeps one copy of a channel's repository, which two of its processes would change at once."""
        self._names = asyncio.Lock()
        """Held for moments: what is found must not be let go of before it counts as used."""

    async def equip(self, job: Job, channels: Sequence[PinnedChannel], reporter: Reporter) -> Workshop:
        """Return the workshop for JOB: with the Guix that CHANNELS make in place of the machine's, unless there are none.

        It stays until JOB is `finished`.  Where all commits are known and it was made before, nothing is fetched and no
        process is started.  Raises `ChannelsFailure`, `ChannelsRefused`, `BuildFailure`, `LimitReached`, `GuixUnavailable`.
        """
        if not channels:
            return self._workshop
        found = await self._known(job, channels)
        if found is None:
            async with self._fetching:
                # Whoever was first may have made it meanwhile.
                found = await self._known(job, channels) or await self._make(job, channels, reporter)
        await job.log.say(f"Packages are those of {_shown(found.channels)}.")
        guix = replace(self._workshop.guix, program=f"{found.profile}/bin/guix", known_as="The Guix of channels.scm")
        return replace(self._workshop, guix=guix, channel_guix=found)

    async def finished(self, build: BuildId) -> None:
        """Take note that the job of BUILD uses its Guix no more."""
        self._used.pop(build, None)
        await self.forget_unused()

    async def forget_unused(self) -> None:
        """Let go of every Guix that no job uses and no kept profile was made with."""
        async with self._names:
            used = frozenset(name for names in self._used.values() for name in names)
            await asyncio.to_thread(_forget_unused, self._workshop, used)

    async def _known(self, job: Job, channels: Sequence[PinnedChannel]) -> ChannelGuix | None:
        async with self._names:
            found = await asyncio.to_thread(_known, self._workshop, channels)
            if found is not None:
                self._used[job.build] = frozenset({found.key})
            return found

    async def _make(self, job: Job, channels: Sequence[PinnedChannel], reporter: Reporter) -> ChannelGuix:
        """Have the machine's Guix make that of CHANNELS, which has a root before the process that made it ends."""
        workshop, first = self._workshop, f"job-{job.build}"
        self._used[job.build] = frozenset({first})
        asked, file = job.folder / "channels-request.scm", job.folder / "channels-answer.scm"
        await asyncio.to_thread(_ask, workshop, channels, first, asked)
        done, said = await run_followed(
            job,
            workshop.guix.script(SCRIPTS / "channels.scm", asked, file),
            workshop.guix.environment(job.marks),
            workshop.build_seconds,
            reporter,
            memory=workshop.guix.memory,
        )
        if not done.succeeded:
            raise reason(said)
        profile, complete = obtained(await asyncio.to_thread(read_answer, file), channels)
        found = ChannelGuix(channels_key(complete[: len(channels)]), profile, complete)
        async with self._names:
            await asyncio.to_thread(_remember, workshop, found, first)
            self._used[job.build] = frozenset({found.key})
        return found


def note_use(workshop: Workshop, profile: str) -> None:
    """Have the Guix of WORKSHOP, where it is of channels, stay as long as the PROFILE of that environment key.  Blocks."""
    if workshop.channel_guix:
        folder = _uses(workshop) / workshop.channel_guix.key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / profile).touch()


def forget_use(workshop: Workshop, profile: str) -> None:
    """Have no Guix stay for the PROFILE of that environment key any more.  Blocks."""
    for use in _uses(workshop).glob(f"*/{profile}"):
        use.unlink(missing_ok=True)


def _ask(workshop: Workshop, channels: Sequence[PinnedChannel], root: str, file: Path) -> None:
    workshop.channel_roots.make_folder()
    workshop.channel_roots.release(root)
    text = request(
        channels,
        workshop.allowed_channels,
        str(workshop.channel_roots.folder / root),
        silent_seconds=workshop.silent_seconds,
        seconds=int(workshop.build_seconds),
    )
    file.write_text(text)


def _forget_unused(workshop: Workshop, used: frozenset[str]) -> None:
    held = {*workshop.channel_roots.held(), *(file.stem for file in _folder(workshop).glob("*.json"))}
    for key in held - used:
        uses = _uses(workshop) / key
        if not any(uses.glob("*")):
            remove_folder(uses)
            _file(workshop, key).unlink(missing_ok=True)
            workshop.channel_roots.release(key)


def _shown(channels: Sequence[PinnedChannel]) -> str:
    return ", ".join(f"{channel.name} {channel.commit[:12]}" for channel in channels)


def _folder(workshop: Workshop) -> Path:
    return workshop.state_folder / "channels"


def _uses(workshop: Workshop) -> Path:
    """Return the folder that has one for each Guix, with a file for each profile that it made."""
    return _folder(workshop) / "uses"


def _file(workshop: Workshop, key: str) -> Path:
    return _folder(workshop) / f"{key}.json"


def _remember(workshop: Workshop, found: ChannelGuix, first: str) -> None:
    """Hold the Guix that was FOUND under its own name in place of the FIRST, and write down what it is."""
    workshop.channel_roots.hold(found.key, found.profile)
    workshop.channel_roots.release(first)
    channels = [channel.as_json() for channel in found.channels]
    write_json(_file(workshop, found.key), {"profile": found.profile, "channels": channels})


def _known(workshop: Workshop, channels: Sequence[PinnedChannel]) -> ChannelGuix | None:
    """Return the Guix of CHANNELS where it was made, is held and is there, and is allowed with all it depends on."""
    if not all(channel.is_pinned for channel in channels):
        return None
    key = channels_key(channels)
    try:
        value = read_json(_file(workshop, key))
        complete = value["channels"]
        profile = StorePath(str(value["profile"]))
        found = tuple(PinnedChannel.from_json(item) for item in complete) if isinstance(complete, list) else ()
    except (OSError, ValueError, KeyError, InvalidInput):
        return None
    held = workshop.channel_roots.held().get(key) == profile
    whole = held and bool(found) and all_there([profile]) and still_allowed(found, workshop.allowed_channels)
    return ChannelGuix(key, profile, found) if whole else None
