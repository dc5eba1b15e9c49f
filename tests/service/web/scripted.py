"""The real manager, queue, store and logs over a pipeline that does as a test says: no Git, no Guix, and faults at will."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from guix_build_service.credentials.keys import GivenKeys, parse_keys
from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts
from guix_build_service.logs.build_logs import Logs
from guix_build_service.logs.session_logs import SessionLogs
from guix_build_service.manager.manager import Manager, Policy
from guix_build_service.manifest.canonical import PackageList
from guix_build_service.model.environments import BuildState, Environment, Export, Found, Progress, Resolved, Version, now
from guix_build_service.pipeline.job import Job, Made, Profile, ReadManifest, Reporter, Workshop
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.queue.queue import Queue
from guix_build_service.queue.retaining import Retainer
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.store.webhooks import WebhookRows
from guix_build_service.vault.hooks import Hooks
from guix_build_service.vault.vault import Vault
from guix_environment.archived import ArchiveSites
from guix_environment.errors import PackagesUnknown, RepositoryUnavailable
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import Commit, StorePath, VersionId
from guix_environment.records import Records
from guix_environment.repository_url import RepositoryUrl
from guix_environment.roots import Roots

PROFILE = StorePath("/gnu/store/0123456789abcdfghijklmnpqrsvwxyz-profile")
HOSTILE = "<script>alert('&\">')</script>"


class ScriptedPipeline(Pipeline):
    """What a repository is called says what becomes of it.

    ``good`` becomes ready, ``broken`` fails, ``slow`` waits in the state ``building`` until `release` is set, and ``gone``
    does not answer.
    """

    def __init__(self, workshop: Workshop) -> None:
        super().__init__(workshop)
        self.release = asyncio.Event()
        self.commit = Commit("7f3a9c1" + "0" * 33)
        self.lines = 3
        self.whole = True
        """Whether all of what was built is still there."""

    async def resolve(self, url: RepositoryUrl, ref: str, person: str = "", otherwise: Sequence[str] = ()) -> Found:
        del person, otherwise
        if url.name.startswith("gone"):
            raise RepositoryUnavailable("No repository answers there.", hint="Check the address.")
        return Resolved(url, ref or "main", self.commit)

    async def make(self, job: Job, reporter: Reporter) -> Made:
        resolved = Resolved(job.repository, job.ref or "main", self.commit)
        await reporter.resolved(resolved)
        await reporter.entered(BuildState.FETCHING)
        await reporter.entered(BuildState.READING)
        if job.repository.name.startswith("broken"):
            raise PackagesUnknown(f"Guix has no package called {HOSTILE}.", hint=f"Did you mean {HOSTILE}?")
        await reporter.entered(BuildState.BUILDING)
        for number in range(self.lines):
            await job.log.say(f"line {number} {HOSTILE}")
            await reporter.progressed(Progress(f"Step {number}", number, self.lines))
        if job.repository.name.startswith("slow"):
            os.write(job.log.descriptor, b"half a ")
            await reporter.progressed(Progress("Waiting", self.lines, self.lines, 24_000_000, 80_000_000, "zoo-1.0"))
            await self.release.wait()
            os.write(job.log.descriptor, b"line\n")
        profile = Profile(job.build, PROFILE, (PROFILE,), 1_234_567_890, {})
        return Made(resolved, ReadManifest(PackageList(()), "manifest.scm", "index.ipynb"), profile)

    async def export(self, version: Version) -> Export:  # noqa: ARG002 - the pipeline's signature
        return Export('(specifications->manifest (list "python"))', "(list)")

    async def is_whole(self, version: Version) -> bool:  # noqa: ARG002 - the pipeline's signature
        return self.whole

    async def publish(self, job: Job, made: Made, environment: Environment) -> Version:
        return Version(
            id=VersionId.new(),
            environment=environment.id,
            build=job.build,
            commit=made.resolved.commit,
            ref=made.resolved.ref,
            subdirectory=job.subdirectory,
            key=made.profile.key,
            profile=made.profile.path,
            size=made.profile.size,
            kernels=("Python 3 (ipykernel)", HOSTILE),
            packages=("python", HOSTILE),
            created=now(),
        )


class AskingPipeline(ScriptedPipeline):
    """One that resolves, fetches and publishes by the real Git, and reads and builds nothing."""

    async def resolve(self, url: RepositoryUrl, ref: str, person: str = "", otherwise: Sequence[str] = ()) -> Found:
        return await Pipeline.resolve(self, url, ref, person, otherwise)

    async def make(self, job: Job, reporter: Reporter) -> Made:
        resolved = await self._fetched(job, reporter)
        await reporter.entered(BuildState.READING)
        await reporter.entered(BuildState.BUILDING)
        profile = Profile(job.build, PROFILE, (PROFILE,), 1, {})
        return Made(resolved, ReadManifest(PackageList(()), "manifest.scm", ""), profile)

    async def publish(self, job: Job, made: Made, environment: Environment) -> Version:
        return await Pipeline.publish(self, job, made, environment)


@contextlib.asynccontextmanager
async def running_manager(
    folder: Path,
    kind: type[ScriptedPipeline] = ScriptedPipeline,
    hosts: Hosts | None = None,
    archives: ArchiveSites | None = None,
) -> AsyncIterator[tuple[Manager, ScriptedPipeline]]:
    """Run a whole service below FOLDER but for its web, with a pipeline of KIND that may ask HOSTS and ARCHIVES."""
    store = await Store.open(f"sqlite:///{folder}/service.sqlite")
    keys = GivenKeys(parse_keys("0123456789abcdef" * 4))
    vault = Vault(CredentialRows(store), keys, folder / "loans")
    pipeline = kind(
        Workshop(
            git=Git("git", folder, lender=vault.lend),
            guix=GuixCommand("guix", folder, "nobody"),
            hosts=hosts or Hosts(),
            records=Records(folder / "records"),
            roots=Roots(folder / "roots"),
            state_folder=folder / "state",
            build_seconds=60,
            leases=Roots(folder / "leases"),
            archives=archives or ArchiveSites(),
            vault_pause=0.01,
        )
    )
    logs = Logs(folder / "logs")
    queue = Queue(store, pipeline, logs, folder / "jobs")
    retainer = Retainer(store, pipeline)
    await queue.start()
    await retainer.start()
    try:
        hooks = Hooks(WebhookRows(store), keys)
        yield Manager(store, queue, logs, Policy(), SessionLogs(folder / "sessions"), vault, hooks, retainer), pipeline
    finally:
        await retainer.stop()
        await queue.stop()
        await store.close()
