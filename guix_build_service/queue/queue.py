"""The queue: durable jobs, a few at a time, in the order that `turns` finds fair.

The rows of the store are the truth.  What runs here is only what some row says is running; a service that was killed finds
those rows at its next start, ends what is left of their processes, and puts them back in their old place.
"""

import asyncio
import contextlib
import errno
import functools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from guix_build_service.logs.build_logs import Log, Logs
from guix_build_service.model.environments import RUNNING, Build, BuildState, Found
from guix_build_service.model.measures import Measures
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.queue.attempts import Attempts, builds_begun_by
from guix_build_service.queue.hindrances import Hindrances
from guix_build_service.queue.holdings import Holdings
from guix_build_service.queue.making import Maker
from guix_build_service.queue.presence import Presence
from guix_build_service.queue.reports import Followers
from guix_build_service.store import Store
from guix_environment.errors import (
    BuildFailure,
    Conflict,
    DaemonUnavailable,
    GuixSpawnerError,
    LimitReached,
    StoreUnavailable,
)
from guix_environment.identifiers import BuildId
from guix_environment.repository_url import RepositoryUrl

LOOK_SECONDS = 30.0
"""How often the queue looks at the store without being told that something is new."""

DISK_SECONDS = 5.0
"""How often it looks at the disk while builds run, or wait for room."""

DAEMON_LOSSES = 5
"""How often a build may find Guix's daemon gone before it has failed: perhaps it is this build that ends the daemon."""

_FULL = "The disk of this hub is nearly full, so the build was ended."
_LATER = "Try again later, or tell the administrator."

log = logging.getLogger("guix_build_service.queue")


class Queue:
    """Takes builds from the store, has the pipeline make them, and tells whoever follows."""

    def __init__(self, store: Store, pipeline: Pipeline, logs: Logs, folder: Path, disk: Disk | None = None) -> None:
        """Begin with FOLDER, in which jobs have folders of their own."""
        self._store = store
        self._pipeline = pipeline
        self._logs = logs
        self._attempts = Attempts(store.service, folder)
        self._hindrances = Hindrances(store, pipeline, disk or Disk())
        self._tasks: dict[BuildId, asyncio.Task[None]] = {}
        self._stopped: dict[BuildId, GuixSpawnerError | None] = {}
        """Builds that are being ended, and why; None for what somebody cancelled."""
        self._losses: Counter[BuildId] = Counter()
        """How often builds that are not finished found Guix's daemon gone."""
        self._news = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._presence = Presence(store)
        self.holdings = Holdings(store, pipeline, self._presence)
        self.followers = Followers()
        self.measures = Measures()
        self._maker = Maker(store, pipeline, self.holdings, self.followers, self.measures)

    @property
    def hindrance(self) -> str:
        """Why no build begins, in a sentence; empty where they do."""
        return self._hindrances.text

    async def start(self, *, builds: bool = True) -> None:
        """Put in order what an earlier end of the service left, and begin to work; without BUILDS, none is begun.

        Of builds that ran, the processes are ended, and they wait for their turn again.  Deletions are finished, and the
        records say what the store says. What other services of the same database do is left alone.
        """
        await self._presence.begin()
        await self._recover()
        await self._cancel_unwanted()
        await self.holdings.remove_leftovers()
        kept = await self._store.everything_kept()
        for environment in kept:
            await self.holdings.write_record(environment)
        if not await self._presence.others():
            # What a killed service had published and not yet counted as ready; nothing runs that would publish meanwhile.
            await self._pipeline.tidy(kept)
            await asyncio.to_thread(self._attempts.remove_all_folders)
        if builds:
            self._dispatcher = asyncio.create_task(self._dispatch(), name="queue")
            self._news.set()

    async def stop(self) -> None:
        """End all running builds and their processes; their rows stay as they are, for the next start."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._dispatcher
        tasks = list(self._tasks.items())
        for build, task in tasks:
            if build not in self._stopped:
                task.cancel()
        await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
        for build, _ in tasks:
            await self._attempts.end(build)
        await self._presence.end()

    def notice(self, superseded: Iterable[BuildId] = ()) -> None:
        """Look for queued builds now, and tell who follows what was SUPERSEDED."""
        for build in superseded:
            self.followers.announce(build)
        self._news.set()

    async def cancel(self, build: BuildId) -> Build:
        """Stop BUILD in whatever state it is, and return once none of its processes runs any more.

        A build that has ended already stays as it is.
        """
        if build not in self._tasks:
            with contextlib.suppress(Conflict):
                await self._store.finish(build, BuildState.CANCELLED)
        # Looked up again: its turn may have come in between.
        if task := self._tasks.get(build):
            self._stop_task(build, None)
            await asyncio.wait([task])
            # One that had not begun, or was noting how it ended, may have noted nothing.
            await self._attempts.end(build)
            with contextlib.suppress(Conflict):
                await self._store.finish(build, BuildState.CANCELLED)
        self.followers.announce(build)
        return await self._store.build(build)

    def _stop_task(self, build: BuildId, why: GuixSpawnerError | None) -> None:
        """End BUILD, unless it is being ended: a task that is told so twice would not even note how it ended."""
        if build not in self._stopped:
            self._stopped[build] = why
            self._tasks[build].cancel()

    async def _recover(self) -> None:
        """Put back what a row says is running and is not, and end what services that are gone have left running."""
        running = [build for build in await self._store.builds_in(RUNNING) if build.id not in self._tasks]
        for build in await self._presence.forsaken(running) if running else ():
            with contextlib.suppress(Conflict):  # another service was quicker
                # First, so that who ran it, should it be there after all, writes nothing about its processes' end.
                await self._store.take_over(build.id, build.service)
                await self._attempts.clear(build.id, await self._presence.others())
                await self._store.requeue(build.id)
                log.info("Build %s was interrupted and waits for its turn again.", build.id)
        for gone in await self._presence.gone():
            await self._end_what_began(gone.id)
            await self._presence.forget(gone)

    async def _end_what_began(self, service: str) -> None:
        """End what SERVICE, which is gone, has left of builds that it no longer ran, as where another cancelled them."""
        left = await builds_begun_by(service)
        its_own = {build.id for build in await self._store.builds_in(RUNNING) if build.service == service} if left else set()
        for build in left - its_own:
            await self._attempts.clear(build, await self._presence.others())

    async def _stop_lost(self) -> None:
        """End what we run and is no longer ours: another service cancelled it, or took us for gone."""
        if not self._store.shared or not self._tasks:
            return
        ours = {each.id for each in await self._store.builds_in(RUNNING) if each.service == self._store.service}
        for build in [build for build in self._tasks if build not in ours]:
            state = (await self._store.build(build)).state
            if build in self._tasks and state is BuildState.CANCELLED:
                self._stop_task(build, None)
            elif not state.is_final:
                await self._let_go([build])

    async def _let_go(self, builds: Sequence[BuildId]) -> None:
        """End our part of BUILDS and write nothing about them, as they are another service's now, or wait for their turn."""
        tasks = {build: self._tasks[build] for build in builds if build in self._tasks and build not in self._stopped}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for build in tasks:
            log.warning("Build %s was given up, as this service was not heard of for too long.", build)
            await self._attempts.end(build)

    def is_elsewhere(self, build: Build) -> bool:
        """Tell whether what becomes of BUILD may be known to another service first."""
        return self._store.shared and build.id not in self._tasks

    async def _cancel_unwanted(self) -> None:
        """Cancel what is queued for no environment any more, as where a service was killed while it deleted the last one.

        Nothing would ever be published of such a build, so that it would be done again and again.
        """
        for build in await self._store.builds_in([BuildState.QUEUED]):
            if not build.environments:
                with contextlib.suppress(Conflict):  # whoever deletes the environment cancels the build too
                    await self._store.finish(build.id, BuildState.CANCELLED)
                self.followers.announce(build.id)

    async def _dispatch(self) -> None:
        while True:
            # Not `wait_for`, which before Python 3.12 forgets that it was cancelled when there is news at that moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DISK_SECONDS if self._tasks or self.hindrance else LOOK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            if self._presence.is_lost:
                await self._let_go(list(self._tasks))
            # A database that fails, on a full disk for example, may work again later.
            with contextlib.suppress(StoreUnavailable):
                try:
                    await self._look()
                except OSError:  # nor does a disk that fails for a while keep builds from beginning for good
                    log.exception("The queue could not do all that it does, and tries again.")

    async def _look(self) -> None:
        """Do what is to be done from time to time, and start what can begin."""
        await self._look_for_hindrances()  # first: where the disk is full, the others fail
        await self._stop_lost()
        await self._recover()
        await self._cancel_unwanted()
        await self.holdings.note_uses()
        if not self.hindrance and not self._presence.is_lost:
            await self._start_waiting()

    async def _start_waiting(self) -> None:
        """Start those of the waiting builds whose turn it is."""
        began = False
        while build := await self._store.claim(frozenset(self._tasks)):
            began = True
            task = asyncio.create_task(self._run(build), name=f"build {build.id}")
            self._tasks[build.id] = task
            task.add_done_callback(functools.partial(self._done, build.id))
        if began:
            self.followers.announce_all()  # who waits has come nearer

    async def _look_for_hindrances(self) -> None:
        """Begin nothing while something keeps builds from it; to be called again and again."""
        changed = await self._hindrances.look()
        if self._hindrances.disk_is_short:
            self._end_newest()
        if changed:
            self.followers.announce_all()

    def _end_newest(self) -> None:
        """End what began last, so that the others have room; what is being ended already may make enough."""
        running = [build for build in self._tasks if build not in self._stopped]
        if running and len(running) == len(self._tasks):
            self._stop_task(running[-1], LimitReached(_FULL, hint=_LATER))

    def _done(self, build: BuildId, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("Build %s ended without its row knowing it; it will be done again.", build, exc_info=error)
        del self._tasks[build]
        self._stopped.pop(build, None)
        self.followers.announce(build)
        self._news.set()

    async def _run(self, build: Build) -> None:
        """Make BUILD and note how that ended.  The owner of everything that belongs to it: folder, log, processes."""
        try:
            opened = await self._opened_log(build.id)
        except OSError as error:
            log.exception("The log of build %s cannot be written.", build.id)
            with contextlib.suppress(Conflict):
                await self._store.finish_own(build.id, BuildState.FAILED, _unforeseen(error).as_json())
            return
        job = Job(
            build=build.id,
            repository=build.repository,
            ref=build.ref,
            subdirectory=build.subdirectory,
            commit=build.commit,
            force=build.force,
            folder=self._attempts.folder(build.id),
            log=opened,
            person=build.requested_by,
            groups=frozenset(build.evaluated_for),
            environments=build.environments,
            service=self._store.service,
        )
        try:
            await self._maker.make(build, job)
            self._losses.pop(build.id, None)
        except asyncio.CancelledError:
            # Either somebody cancelled this build, or the service ends and the row stays for its next start.
            if build.id in self._stopped:
                why = self._stopped[build.id]
                await self._finish(job, BuildState.FAILED if why else BuildState.CANCELLED, why)
            raise
        except DaemonUnavailable as error:
            await self._put_back(job, error)
        except GuixSpawnerError as error:
            await self._finish(job, BuildState.FAILED, error)
        except Exception as error:  # the last line of defence: a fault of ours must not leave a build running for ever
            log.exception("Build %s failed unexpectedly.", build.id)
            await self._finish(job, BuildState.FAILED, _unforeseen(error))
        finally:
            job.log.close()
            await self._pipeline.finish(job, self.holdings.in_use)

    async def _opened_log(self, build: BuildId) -> Log:
        """Return BUILD's log, open; it is closed again where we are cancelled meanwhile.  Raises `OSError`."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._logs.open, build))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                (await opening).close()
            raise

    async def _put_back(self, job: Job, error: DaemonUnavailable) -> None:
        """Have a build that lost Guix's daemon wait for it, in its old place."""
        self._losses[job.build] += 1
        if self._losses[job.build] >= DAEMON_LOSSES:
            await self._finish(job, BuildState.FAILED, error)
            return
        await self._attempts.end(job.build)
        await job.log.say(f"{error.message} The build begins again when it does.")
        self._hindrances.note_daemon_lost()
        with contextlib.suppress(Conflict):
            await self._store.requeue(job.build)

    async def resolve(self, url: RepositoryUrl, ref: str, person: str = "", otherwise: Sequence[str] = ()) -> Found:
        """Return the commit that REF, or else one OTHERWISE, of the repository at URL stands for now, as PERSON sees it.

        Outside of any build.
        """
        return await self._pipeline.resolve(url, ref, person, otherwise)

    async def _finish(self, job: Job, state: BuildState, error: GuixSpawnerError | None) -> None:
        await self._attempts.end(job.build)
        if (await self._store.build(job.build)).service != self._store.service:
            return  # what its processes' end looks like to us is nobody's concern: another service ended them
        await job.log.say(error.message if error else "Cancelled.")
        if error and error.hint:
            await job.log.say(error.hint)
        self._losses.pop(job.build, None)
        with contextlib.suppress(Conflict):
            await self._store.finish_own(job.build, state, error.as_json() if error else None, job.took)


def _unforeseen(error: Exception) -> GuixSpawnerError:
    """Return what people are told of an ERROR that no step of a build knows."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LimitReached("The disk of this hub is full.", hint=_LATER)
    return BuildFailure("The hub failed while it built this.", hint="Tell the administrator: the service's log says more.")
