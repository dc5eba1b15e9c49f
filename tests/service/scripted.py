"""A pipeline whose steps are a script, for what no real Guix does on demand: to hang, to fail, to be killed in between.

As a program, given a folder and perhaps a database, it is a service that is busy with one build until somebody kills it.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts
from guix_build_service.logs.build_logs import Logs
from guix_build_service.manager.manager import Manager, Policy
from guix_build_service.manifest.canonical import Entry, PackageList
from guix_build_service.model.clocks import Clocks
from guix_build_service.model.environments import BuildState, Environment, Resolved, Version, now
from guix_build_service.model.turns import Limits
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.job import Job, Made, Profile, ReadManifest, Reporter, Workshop
from guix_build_service.pipeline.kernels import remove_folder
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.pipeline.publish import write_environment
from guix_build_service.queue.queue import Queue
from guix_build_service.queue.retaining import Retainer, Schedule
from guix_build_service.store import Store
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import Commit, StorePath, VersionId
from guix_environment.processes import run
from guix_environment.records import Records, VersionRecord
from guix_environment.repository_url import RepositoryUrl
from guix_environment.roots import Roots
from tests.service.installation import Installation

COMMIT = Commit("ab" * 20)
PROFILE = StorePath("/gnu/store/" + "a" * 32 + "-profile")
Step = Callable[[Job], Awaitable[None]]


async def nothing(job: Job) -> None:
    """Do nothing, as most steps do here."""


async def busy(job: Job) -> None:
    """Run a process, and let it run one of its own that outlives it, for as long as anybody waits."""
    script = "import subprocess, sys, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
    environment = {**job.marks, "PATH": "/usr/bin:/bin"}
    await run([sys.executable, "-c", script], environment=environment, timeout=600, output=job.log.descriptor)


class ScriptedPipeline(Pipeline):
    """Does in each state what the script says; publishes records as the real one does."""

    def __init__(self, workshop: Workshop) -> None:
        super().__init__(workshop)
        self.steps: dict[BuildState, Step] = {}
        self.commits: dict[str, Commit] = {}
        self.profiles: dict[Commit, StorePath] = {}
        """Of what has another profile than all else."""
        self.resolved = 0
        self.made = 0
        self.incomplete: set[VersionId] = set()
        """Versions of which parts are gone."""

    def wait_in(self, state: BuildState) -> asyncio.Event:
        """Have every build wait in STATE; return what to set for them to go on."""
        go_on = asyncio.Event()

        async def wait(_: Job) -> None:
            await go_on.wait()

        self.steps[state] = wait
        return go_on

    async def resolve(self, url: RepositoryUrl, ref: str, person: str = "", otherwise: Sequence[str] = ()) -> Resolved:
        del person, otherwise
        self.resolved += 1
        await self.steps.get(BuildState.QUEUED, nothing)(None)  # type: ignore[arg-type] # there is no job yet
        return Resolved(url, ref or "main", self.commits.get(str(url), COMMIT))

    async def make(self, job: Job, reporter: Reporter) -> Made:
        self.made += 1
        resolved = (
            Resolved(job.repository, job.ref, job.commit) if job.commit else await self.resolve(job.repository, job.ref)
        )
        for state in (BuildState.RESOLVING, BuildState.FETCHING, BuildState.READING, BuildState.BUILDING):
            await reporter.entered(state)
            if state is BuildState.RESOLVING:
                await reporter.resolved(resolved)
            await job.log.say(f"now {state.value}")
            await self.steps.get(state, nothing)(job)
        key = f"key-{resolved.commit}"
        self._used[job.build] = key
        profile = self.profiles.get(resolved.commit, PROFILE)
        self.workshop.roots.hold(key, profile)
        manifest = ReadManifest(PackageList((Entry("sed"),)), "manifest.scm", "")
        return Made(resolved, manifest, Profile(key, profile, (profile,), 1, {}))

    async def is_whole(self, version: Version) -> bool:
        return version.id not in self.incomplete

    async def publish(self, job: Job, made: Made, environment: Environment) -> Version:
        version = VersionId.new()
        commit, ref, profile = made.resolved.commit, made.resolved.ref, made.profile.path
        record = VersionRecord(version, commit, ref, "", profile, (profile,), {}, (), 1)
        try:
            self.workshop.records.write_version(environment.id, record)
            write_environment(self.workshop.records, environment, version)
            await self.steps.get(BuildState.READY, nothing)(job)
        except BaseException:
            remove_folder(self.workshop.records.version_folder(environment.id, version))
            raise
        return Version(version, environment.id, job.build, commit, ref, "", made.profile.key, profile, 1, (), (), now())


@contextlib.asynccontextmanager
async def scripted(
    folder: Path,
    *,
    running_builds: int = 2,
    limits: Limits | None = None,
    disk: Disk | None = None,
    policy: Policy | None = None,
    leases: Roots | None = None,
    database: str = "",
    schedule: Schedule | None = None,
    free: int = 0,
    clocks: Clocks | None = None,
    start: bool = True,
) -> AsyncIterator[tuple[Installation, ScriptedPipeline]]:
    """Run a service in FOLDER with a scripted pipeline, and with the database at the address DATABASE, if one is given."""
    (folder / "builds").mkdir(parents=True, exist_ok=True)
    workshop = Workshop(
        git=Git("git", folder),
        guix=GuixCommand("guix", folder, "nobody"),
        hosts=Hosts(),
        records=Records(folder / "records"),
        roots=Roots(folder / "roots"),
        state_folder=folder,
        build_seconds=60,
        leases=leases,
    )
    store = await Store.open(database or f"sqlite:///{folder / 'service.sqlite'}", limits or Limits(running_builds))
    pipeline, logs = ScriptedPipeline(workshop), Logs(folder / "logs")
    queue = Queue(store, pipeline, logs, folder / "builds", disk)
    retainer = Retainer(store, pipeline, schedule, lambda: free, clocks)
    manager = Manager(store, queue, logs, policy or Policy(), retainer=retainer)
    try:
        if start:
            await queue.start()
            await retainer.start()
        yield Installation(folder, store, queue, manager, workshop.records, workshop.roots, logs, retainer), pipeline
    finally:
        await retainer.stop()
        await queue.stop()
        await store.close()


async def _be_busy(folder: Path, database: str = "") -> None:
    async with scripted(folder, database=database) as (_, pipeline):
        pipeline.steps[BuildState.BUILDING] = busy
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(_be_busy(Path(sys.argv[1]), *sys.argv[2:]))
