"""The making of one build whose turn has come: its pipeline, and a version for every environment that waits for it."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Sequence

from guix_build_service.model.environments import Build, Version
from guix_build_service.model.measures import Measures
from guix_build_service.pipeline.job import Job, Made
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.queue.holdings import Holdings
from guix_build_service.queue.reports import Followers, Reporter
from guix_build_service.store import Store
from guix_environment.errors import NotFound
from guix_environment.identifiers import EnvironmentId

PUBLISHED_AT_ONCE = 8
"""For how many of the environments that wait for one build a version is written at a time."""


class Maker:
    """Makes builds up to the moment at which they are ready."""

    def __init__(
        self, store: Store, pipeline: Pipeline, holdings: Holdings, followers: Followers, measures: Measures
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._holdings = holdings
        self._followers = followers
        self._measures = measures

    async def make(self, build: Build, job: Job) -> None:
        """Make BUILD, as JOB has it, and declare it ready.  Raises what a person is told, and leaves no version then."""
        published: dict[EnvironmentId, Version] = {}
        tried: set[EnvironmentId] = set()
        try:
            made = await self._made(build, job)
            await self._publish_all(job, made, published, tried)
        except BaseException:
            for version in published.values():
                await asyncio.to_thread(self._pipeline.withdraw, version)
            raise
        finally:
            # Also after success: another build of the same environment may have failed meanwhile and put back the old one.
            await asyncio.gather(*map(self._holdings.write_record, tried))
        await self._pipeline.hold(made.profile)
        # Versions whose profile was let go have it again.
        await self._pipeline.note_let_go(await self._store.versions_having(made.profile.key))

    async def _made(self, build: Build, job: Job) -> Made:
        reporter = Reporter(self._store, self._followers, self._measures, build)
        try:
            made = await self._pipeline.make(job, reporter)
        finally:
            reporter.ended()
        self._measures.profile(known=made.known)
        return made

    async def _publish_all(
        self, job: Job, made: Made, published: dict[EnvironmentId, Version], tried: set[EnvironmentId]
    ) -> None:
        """Publish for every environment that waits, also for those that join while others are published."""
        missing, said = (await self._store.build(job.build)).environments, False
        places = asyncio.Semaphore(PUBLISHED_AT_ONCE)

        async def publish(identifier: EnvironmentId) -> None:
            async with places:
                with contextlib.suppress(NotFound):  # deleted meanwhile
                    environment = await self._store.bare_environment(identifier)
                    tried.add(identifier)
                    published[identifier] = await self._pipeline.publish(job, made, environment)

        while missing:
            await _together(map(publish, missing))
            if not said:
                # Whoever follows reads no further once the build is finished, so it is the last word before that.
                await job.log.say("Ready.")
                said = True
            missing = await self._complete(job, list(published.values()))

    async def _complete(self, job: Job, versions: Sequence[Version]) -> tuple[EnvironmentId, ...]:
        """Declare JOB's build ready and return which environments joined meanwhile.

        It is one transaction, which happens even when we are cancelled during it; a build that is ready then stays so.
        """
        completing = asyncio.ensure_future(self._store.complete(job.build, versions, job.took))
        try:
            return (await asyncio.shield(completing)).missing
        except asyncio.CancelledError:
            missing = (await completing).missing
            if missing:
                raise
            return missing


async def _together(parts: Iterable[Coroutine[object, object, None]]) -> None:
    """Await PARTS together.  Where one fails, the others are cancelled and have ended before its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
