"""The steps of a build, in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from guix_build_service.git.git import Door, Git
from guix_build_service.model.environments import BuildState, Environment, Export, Found, Resolved, Version
from guix_build_service.model.storage import EnvironmentStorage
from guix_build_service.pipeline import archived, build, fetch, guix, lower, publish, read, resolve, storage
from guix_build_service.pipeline.channel_guix import ChannelGuixes
from guix_build_service.pipeline.job import Job, Made, Profile, ReadManifest, Reporter, Workshop
from guix_build_service.pipeline.kernels import remove_folder
from guix_environment.archived import Archived
from guix_environment.identifiers import BuildId, EnvironmentId, StorePath, VersionId
from guix_environment.repository_access import RepositoryAccess
from guix_environment.repository_url import RepositoryUrl
from guix_environment.threads import uninterrupted


class Pipeline:
    """Runs jobs.  One instance serves all builds of the service; what two of them share, they do not do twice."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._profiles = _Locks()
        self._repositories = _Locks()
        self._used: dict[BuildId, str] = {}
        self.measuring = asyncio.Lock()
        """Held while the files of many profiles are read."""
        self._guixes = ChannelGuixes(workshop)

    async def resolve(self, url: RepositoryUrl, ref: str, person: str = "", otherwise: Sequence[str] = ()) -> Found:
        """Return the commit that REF, or else one OTHERWISE, of the repository at URL stands for now.

        PERSON's credentials are used.  Raises as `resolve.resolve` and `archived.resolve` do.
        """
        if thing := self.workshop.archives.archived(url):
            return await archived.resolve(self.workshop, url, thing, ref)
        door = Door()
        git = replace(self.workshop.git, person=person, door=door)
        return replace(await resolve.resolve(git, self.workshop.hosts, url, ref, otherwise), private=door.closed)

    async def daemon_answers(self) -> bool:
        """Tell whether Guix's daemon takes connections now."""
        return await guix.daemon_answers(self.workshop.guix)

    async def make(self, job: Job, reporter: Reporter) -> Made:
        """Do all of JOB but publishing.  Raises what a person is told; leaves nothing behind but what `finish` removes."""
        if self.workshop.secrets is not None:
            job.log.keep_out(await self.workshop.secrets(job.person, job.repository))
        resolved = await self._fetched(job, reporter)
        await reporter.entered(BuildState.READING)
        manifest = await read.read(
            job,
            self._git(job),
            resolved.commit,
            evaluation=self.workshop.evaluation,
            allowed_channels=self.workshop.allowed_channels,
        )
        await _tell(job, manifest)
        workshop = await self._guixes.equip(job, manifest.channels, reporter)
        key = await build.key_of(workshop, manifest.packages)
        async with self._profiles.held(key):
            self._used[job.build] = key
            profile = None if job.force else await build.known_profile(workshop, key)
            if profile is not None:
                await job.log.say("A profile of exactly these packages is there already.")
                await reporter.entered(BuildState.BUILDING)
                return Made(resolved, manifest, profile, known=True)
            async with lower.lowering(
                workshop.guix,
                job,
                manifest.packages,
                workshop.state_folder / "package-names",
                manifest.additions,
                build_seconds=workshop.build_seconds,
            ) as lowered:
                await reporter.entered(BuildState.BUILDING)
                await job.log.say(f"Building {lowered.profile}")
                profile = await build.build(workshop, job, key, manifest.packages, lowered, reporter)
            return Made(resolved, manifest, profile)

    async def _fetched(self, job: Job, reporter: Reporter) -> Resolved:
        """Return what JOB is about, with its commit, once that is in the job's own repository."""
        door = Door()
        git, hosts = replace(self._git(job), door=door), self.workshop.hosts
        await reporter.entered(BuildState.RESOLVING)
        if thing := self.workshop.archives.archived(job.repository):
            return await self._unarchived(job, git, thing, reporter)
        if job.commit is None:
            resolved = await resolve.resolve(git, hosts, job.repository, job.ref)
            await reporter.resolved(resolved)
        else:
            resolved = Resolved(job.repository, job.ref, job.commit)
        shown = f"{resolved.ref} of " if resolved.ref else ""
        await job.log.say(f"{shown}{resolved.repository} is commit {resolved.commit}.")
        await reporter.entered(BuildState.FETCHING)
        kept = await asyncio.to_thread(publish.kept_repositories, self.workshop.records, job.environments)
        await fetch.fetch(job, git, hosts, resolved, kept)
        return replace(resolved, private=door.closed)

    async def _unarchived(self, job: Job, git: Git, thing: Archived, reporter: Reporter) -> Resolved:
        """Return what JOB is about where that is the THING of an archive, once it is in the job's own repository."""
        found: Found = (
            Resolved(job.repository, job.ref, job.commit)
            if job.commit is not None
            else (await archived.resolve(self.workshop, job.repository, thing, job.ref))
        )
        await reporter.entered(BuildState.FETCHING)
        kept = await asyncio.to_thread(publish.kept_repositories, self.workshop.records, job.environments)
        resolved = await archived.fetched(self.workshop, job, git, found, thing, kept)
        if job.commit is None:
            await reporter.resolved(resolved)
        version = f"Version {resolved.ref} of " if resolved.ref else ""
        await job.log.say(f"{version}{resolved.repository} is commit {resolved.commit}.")
        return resolved

    async def publish(self, job: Job, made: Made, environment: Environment) -> Version:
        """Write the record of ENVIRONMENT's new version, which is current from then on."""
        async with self._repositories.held(environment.id):
            return await publish.publish(self.workshop.records, self._git(job), job, made, environment)

    async def access(self, environment: EnvironmentId) -> RepositoryAccess | None:
        """Return what is known of the right to read ENVIRONMENT's repository; None where it is not private.

        Raises `RecordInvalid`.
        """
        return await asyncio.to_thread(self.workshop.records.read_access, environment)

    async def note_access(self, environment: EnvironmentId, access: RepositoryAccess | None) -> None:
        """Have the record of ENVIRONMENT say that, where it has one."""
        records = self.workshop.records
        async with self._repositories.held(environment):
            if await asyncio.to_thread(records.environment_folder(environment).is_dir):
                await uninterrupted(records.write_access, environment, access)

    async def is_whole(self, version: Version) -> bool:
        """Tell whether sessions can start from VERSION: nothing of it was collected or removed since it was built."""
        return await asyncio.to_thread(publish.is_whole, self.workshop.records, version.environment, version.id)

    async def export(self, version: Version) -> Export:
        """Return what makes VERSION again elsewhere.  Raises `NotFound`."""
        return await asyncio.to_thread(publish.read_export, self.workshop.records, version.environment, version.id)

    async def storage(
        self,
        environment: EnvironmentId,
        versions: Sequence[Version],
        others: frozenset[str],
        used: Mapping[StorePath, datetime],
    ) -> EnvironmentStorage:
        """Return what ENVIRONMENT holds, as `storage.read_storage` does; one after the other, as each reads many files."""
        async with self.measuring:
            return await asyncio.to_thread(storage.read_storage, self.workshop, environment, versions, others, used)

    async def held_by_sessions(self) -> frozenset[StorePath]:
        """Return the profiles that running sessions are seen to hold."""
        return await asyncio.to_thread(storage.held_by_sessions, self.workshop) or frozenset()

    async def hold(self, profile: Profile) -> None:
        """Keep PROFILE, which a version has now, also where another service has just let it go."""
        async with self._profiles.held(profile.key):
            await uninterrupted(self.workshop.roots.hold, profile.key, profile.path)

    async def note_let_go(self, versions: Iterable[Version]) -> None:
        """Have the records of VERSIONS say whether their profiles are kept."""
        await uninterrupted(publish.note_let_go, self.workshop.records, list(versions))

    async def tidy_let_go(self, versions: Sequence[Version]) -> None:
        """Have the records say that the profiles of VERSIONS are not kept, and those of all others are."""
        await uninterrupted(publish.tidy_let_go, self.workshop.records, versions)

    async def needed_bytes(self, profiles: Mapping[str, int]) -> int:
        """Return the bytes of what PROFILES need together, as `storage.needed_bytes` does."""
        async with self.measuring:
            return await asyncio.to_thread(storage.needed_bytes, self.workshop, profiles)

    def withdraw(self, version: Version) -> None:
        """Remove the record of a version that was published and then not kept.  Blocks."""
        remove_folder(self.workshop.records.version_folder(version.environment, version.id))

    async def write_record(self, environment: Environment) -> None:
        """Have the record of ENVIRONMENT name its current version; where it has none there is no record."""
        records = self.workshop.records
        async with self._repositories.held(environment.id):
            if environment.current is not None:
                await uninterrupted(publish.write_environment, records, environment, environment.current)
            else:
                await uninterrupted(publish.withdraw_environment, records, environment.id)

    async def remove_record(self, environment: EnvironmentId) -> None:
        """Remove all that sessions of ENVIRONMENT started from."""
        async with self._repositories.held(environment):
            await uninterrupted(publish.remove_environment, self.workshop.records, environment)

    async def tidy(self, kept: Mapping[EnvironmentId, Mapping[VersionId, str]]) -> None:
        """Remove what belongs to no version that is KEPT, with their environment keys; only while no job runs.

        Nothing happens where nothing is kept at all: then it is rather the database that was lost.
        """
        keys = {key for versions in kept.values() for key in versions.values()}
        for environment, versions in kept.items():
            await asyncio.to_thread(publish.remove_unknown, self.workshop.records, environment, frozenset(versions))
        for key in await asyncio.to_thread(self.workshop.roots.held) if kept else ():
            if key not in keys:
                await asyncio.to_thread(build.forget_profile, self.workshop, key)
        await self._guixes.forget_unused()

    async def finish(self, job: Job, in_use: Callable[[str], Awaitable[bool]]) -> None:
        """Remove the job's own folder, and let go of its profile where no version came of it.

        IN_USE tells whether any version has the profile of a key.
        """
        await asyncio.to_thread(remove_folder, job.folder)
        key = self._used.pop(job.build, None)
        if key is not None:
            await self.forget(key, in_use)
        await self._guixes.finished(job.build)

    async def forget(self, key: str, in_use: Callable[[str], Awaitable[bool]]) -> None:
        """Let go of the profile KEY, unless a version has it or a job is about to make one of it."""
        async with self._profiles.held(key):
            if key not in self._used.values() and not await in_use(key):
                roots = self.workshop.roots
                profile = (await asyncio.to_thread(roots.held)).get(key)
                await asyncio.to_thread(build.forget_profile, self.workshop, key)
                # Another service's build may have come to have it just then; whichever of the two looks last sees the other.
                if profile is not None and await in_use(key):
                    await asyncio.to_thread(roots.hold, key, profile)
        await self._guixes.forget_unused()

    def _git(self, job: Job) -> Git:
        return replace(self.workshop.git, marks=job.marks, person=job.person)


async def _tell(job: Job, manifest: ReadManifest) -> None:
    packages = manifest.packages
    added = f", and for the notebooks' kernels {', '.join(packages.added)}" if packages.added else ""
    named = [name for name in packages.specifications() if name not in packages.added]
    await job.log.say(f"{manifest.source} names {', '.join(named) or 'no packages'}{added}.")
    for remark in manifest.remarks:
        await job.log.say(remark)


class _Locks:
    """One lock for each name in use."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)
