"""What people can see in the build service.

Every method names the person who asks.  What they may not see does not exist for them (`NotFound`); what they may see and
not change is `Refused`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from guix_build_service.logs.audit import Deed, DeedFilter
from guix_build_service.logs.build_logs import LARGEST_PIECE, Logs
from guix_build_service.logs.session_logs import SessionLogs
from guix_build_service.manager.policy import Policy, check_may_change, check_owns
from guix_build_service.model.environments import (
    Build,
    BuildChanged,
    BuildEvent,
    BuildFilter,
    BuildState,
    EnvironmentDetail,
    EnvironmentFilter,
    Export,
    LogText,
    Page,
    PageRequest,
    Person,
    Version,
)
from guix_build_service.model.health import Health
from guix_build_service.model.measures import Measures
from guix_build_service.model.members import Member
from guix_build_service.model.storage import EnvironmentStorage
from guix_build_service.queue.queue import Queue
from guix_build_service.queue.shared_looks import SharedLooks
from guix_build_service.store import Store
from guix_environment.errors import NotFound, Refused, StoreUnavailable
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId

LOOKING_AT_ONCE = 4
"""How many followers go on at a time: all are woken by the same announcement, and others are served in between."""

HEARTBEAT_SECONDS = 30.0
"""A follower looks at least this often, whatever it was told."""

ELSEWHERE_SECONDS = 2.0
"""The same, where another process of the service may run the build, which tells nothing to ours."""


class Lookups:
    """Whatever changes nothing.  All coroutines; none blocks the loop."""

    def __init__(self, store: Store, queue: Queue, logs: Logs, policy: Policy, session_logs: SessionLogs) -> None:
        self._store = store
        self._queue = queue
        self._logs = logs
        self._turns = asyncio.Semaphore(LOOKING_AT_ONCE)
        self._shared = SharedLooks(store, logs, queue.followers)
        self._policy = policy
        self._session_logs = session_logs

    async def may_add(self, person: Person) -> bool:
        """Tell whether PERSON may add environments here."""
        return self._policy.lets_add(person)

    async def some_environments(
        self, person: Person, wanted: EnvironmentFilter, page: PageRequest
    ) -> Page[EnvironmentDetail]:
        """Return a page of those of the WANTED environments that PERSON may see, by name."""
        return await self._store.environments_page(person, wanted, page)

    async def environment(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        """Return one environment.  Raises `NotFound`."""
        detail = await self._store.environment(environment)
        if not detail.environment.may_be_seen_by(person):
            raise NotFound("There is no such environment.")
        return replace(detail, build=await self._expected(detail.build)) if detail.build is not None else detail

    async def changeable(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        """Return an environment to PERSON, who may change it.  Raises `NotFound`, `Refused`."""
        detail = await self.environment(environment, person)
        check_may_change(detail.environment, person)
        return detail

    async def _owned(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        detail = await self.environment(environment, person)
        check_owns(detail.environment, person)
        return detail

    async def members(self, environment: EnvironmentId, person: Person) -> tuple[Member, ...]:
        """Return with whom an environment is shared by name, for those who may change it.  Raises `NotFound`, `Refused`."""
        return (await self.changeable(environment, person)).environment.members

    async def versions(self, environment: EnvironmentId, person: Person) -> list[Version]:
        """Return an environment's versions, newest first."""
        await self.environment(environment, person)
        return await self._store.versions(environment)

    async def some_versions(self, environment: EnvironmentId, person: Person, page: PageRequest) -> Page[Version]:
        """Return a page of an environment's versions, newest first."""
        await self.environment(environment, person)
        return await self._store.versions_page(environment, page)

    async def version(self, environment: EnvironmentId, version: VersionId, person: Person) -> Version:
        """Return one version.  Raises `NotFound`."""
        await self.environment(environment, person)
        return await self._store.version(environment, version)

    async def is_whole(self, version: Version) -> bool:
        """Tell whether all of VERSION is still on this machine; else its environment must be built again."""
        return await self._queue.holdings.is_whole(version)

    async def export(self, environment: EnvironmentId, version: VersionId, person: Person) -> Export:
        """Return what makes one version again elsewhere.  Raises `NotFound`."""
        return await self._queue.holdings.export(await self.version(environment, version, person))

    async def storage(self, environment: EnvironmentId, person: Person) -> EnvironmentStorage:
        """Return what an environment holds of the disk, and what its deletion would free.

        For who may delete it: what it shares tells a little of what others have. Raises `NotFound`, `Refused`.
        """
        await self._owned(environment, person)
        return await self._queue.holdings.storage(environment)

    async def some_builds(self, person: Person, wanted: BuildFilter, page: PageRequest) -> Page[Build]:
        """Return a page of those of the WANTED builds that PERSON may see, newest first."""
        if wanted.environment is not None:
            await self.environment(wanted.environment, person)
        return await self._store.builds_page(person, wanted, page)

    async def build(self, build: BuildId, person: Person) -> Build:
        """Return one build, for who asked for it and those who see one of its environments.  Raises `NotFound`."""
        return await self._expected(await self._store.build_seen_by(build, person))

    async def _expected(self, build: Build) -> Build:
        """Return BUILD with when its turn is to be expected, if it waits for one."""
        if build.state is not BuildState.QUEUED:
            return build
        return replace(build, expected=await self._store.expectation(build.id))

    async def log(self, build: BuildId, person: Person, start: int = 0, limit: int | None = None) -> LogText:
        """Return a build's log from byte START on, LIMIT bytes at most."""
        await self.build(build, person)
        return await asyncio.to_thread(self._logs.read, build, start, LARGEST_PIECE if limit is None else limit)

    async def log_size(self, build: BuildId, person: Person) -> int:
        """Return how many bytes a build's log has now."""
        await self.build(build, person)
        return await asyncio.to_thread(self._logs.size, build)

    async def follow(self, build: BuildId, person: Person, position: int = 0) -> AsyncIterator[BuildEvent]:
        """Yield what happens to a build, its log from byte POSITION on, until it is finished and all was said."""
        async with self._queue.followers.following(build) as changed:
            said: Build | None = None
            while True:
                await self._turn()
                changed.clear()
                found = await self._shared.build(build, person)
                if found != said:
                    yield BuildChanged(position, found)
                    said = found
                # The state was read before the log: a finished build's log is whole.
                while (
                    piece := await self._shared.piece(build, position, finished=found.state.is_final)
                ).position > position:
                    position = piece.position
                    yield piece
                    await self._turn()
                if found.state.is_final:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ELSEWHERE_SECONDS if self._queue.is_elsewhere(found) else HEARTBEAT_SECONDS):
                        await changed.wait()

    async def _turn(self) -> None:
        """Wait until a follower may go on."""
        async with self._turns:
            await asyncio.sleep(0)

    async def session_log(self, user: str, server: str) -> str:
        """Return what the session SERVER of USER printed.  Raises `NotFound`."""
        return await asyncio.to_thread(self._session_logs.read, user, server)

    async def audit(self, person: Person, wanted: DeedFilter, page: PageRequest) -> Page[Deed]:
        """Return a page of the WANTED entries of the audit log, newest first.  Raises `Refused` but for administrators."""
        if not person.admin:
            raise Refused("Only administrators may read who did what.")
        return await self._store.deeds_page(wanted, page)

    @property
    def measures(self) -> Measures:
        """What the service measures of itself."""
        return self._queue.measures

    async def metrics(self) -> bytes:
        """Return all figures of the service, in Prometheus's form."""
        return self.measures.exposition(await self._store.figures())

    async def health(self) -> Health:
        """Return whether the service can do its work, for those who watch it."""
        try:
            await self._store.check()
        except StoreUnavailable as error:
            return Health(store=error.message, queue=self._queue.hindrance)
        return Health(queue=self._queue.hindrance)
