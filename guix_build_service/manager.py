"""What people can ask of the build service; the pages and the API call nothing else.

Every method names the person who asks.  What they may not see does not exist for them (`NotFound`); what they may see and
not change is `Refused`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from guix_build_service.asked_for import changed, new_build, new_environment
from guix_build_service.logs import LARGEST_PIECE, Logs
from guix_build_service.manifest.canonical import request_key
from guix_build_service.measures import Measures, Needed
from guix_build_service.model import (
    LARGEST_PAGE,
    RECIPE_VERSION,
    Build,
    BuildChanged,
    BuildEvent,
    BuildFilter,
    BuildState,
    Changes,
    Environment,
    EnvironmentDetail,
    EnvironmentFilter,
    Export,
    LogText,
    NewEnvironment,
    Page,
    PageRequest,
    Person,
    Resolved,
    Version,
    now,
)
from guix_build_service.places import Located, located
from guix_build_service.providers import Place, read
from guix_build_service.queue import Queue
from guix_build_service.session_logs import SessionLogs
from guix_build_service.store import Joined, Store
from guix_build_service.vault import Vault
from guix_environment.errors import Conflict, GuixSpawnerError, LimitReached, NotFound, Refused
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId
from guix_environment.repository_url import RepositoryUrl

log = logging.getLogger("guix_build_service.manager")

HEARTBEAT_SECONDS = 30.0
"""A follower looks at least this often, whatever it was told."""


HOUR = timedelta(hours=1)


class MayAdd(StrEnum):
    """Who may add environments."""

    EVERYONE = "everyone"
    GROUPS = "groups"
    ADMINS = "admins"


@dataclass(frozen=True, slots=True)
class Policy:
    """What this installation allows."""

    may_add: MayAdd = MayAdd.EVERYONE
    groups: frozenset[str] = frozenset()
    """Whose members may add, where that is said by groups."""
    environments: int | None = None
    """How many a person may have; None for any number.  Administrators may have any."""
    builds_an_hour: int | None = None
    """How many a person may ask for in an hour; None for any number."""


class Manager:
    """The use-cases.  All coroutines; none blocks the loop."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        logs: Logs,
        policy: Policy,
        session_logs: SessionLogs | None = None,
        vault: Vault | None = None,
    ) -> None:
        self._vault = vault
        self._session_logs = session_logs or SessionLogs(None)
        self._store = store
        self._queue = queue
        self._logs = logs
        self._policy = policy
        self._resolving: dict[tuple[str, str, str], asyncio.Task[Resolved]] = {}
        self._adding = asyncio.Lock()

    # --- environments ------------------------------------------------------------

    async def may_add(self, person: Person) -> bool:
        """Tell whether PERSON may add environments here."""
        by_group = self._policy.may_add is MayAdd.GROUPS and not person.groups.isdisjoint(self._policy.groups)
        return person.admin or self._policy.may_add is MayAdd.EVERYONE or by_group

    async def _check_may_add(self, person: Person) -> None:
        if not await self.may_add(person):
            raise Refused("You may not add environments on this hub.", hint="Ask its administrator.")

    async def add_environment(self, request: NewEnvironment, person: Person) -> EnvironmentDetail:
        """Add an environment, or find the one that PERSON has of this repository, ref and folder, and start what it lacks.

        The repository may be given by whatever address a forge shows for a place in it.  The ref is resolved before
        anything is written.  When the version at that commit is ready already, the detail's ``state`` is ready (the API's
        200), else its build is in flight (202).  Raises `InvalidInput`, `Refused`,
        `RepositoryUnavailable`, `RefNotFound`.
        """
        await self._check_may_add(person)
        place = await self.locate(read(request.repository), request.ref, request.subdirectory, person)
        wanted = new_environment(place.asked_for(request), person)
        resolved = await self._resolve(wanted.repository, wanted.ref, person)
        async with self._adding:
            environment = await self._same(wanted, named=bool(request.name))
            if environment is None:
                await self._check_environments(person)
                await self._check_builds(person)
                # Both or nothing: a service that is killed here leaves no environment that nobody builds.
                build = new_build(wanted, resolved, person, force=False)
                self._count(await self._store.add_environment(wanted, build, _request_key(build)))
        if environment is not None:
            return await self._build(environment, resolved, person, force=False)
        self._queue.notice()
        return await self.environment(wanted.id, person)

    async def _check_environments(self, person: Person) -> None:
        """Raise `LimitReached` where PERSON has as many environments as they may have."""
        most = self._policy.environments
        if most is not None and not person.admin and await self._store.environments_owned(person.name) >= most:
            raise LimitReached(
                f"You have {most} environments, which is as many as you may have on this hub.",
                hint="Delete one that you no longer need; your files stay.",
            )

    async def _check_builds(self, person: Person) -> None:
        """Raise `LimitReached` where PERSON has asked for as many builds as they may in an hour."""
        most = self._policy.builds_an_hour
        if most is None or person.admin:
            return
        moments = await self._store.builds_asked_for(person.name, now() - HOUR)
        if len(moments) >= most:
            wait = moments[-most] + HOUR - now()
            raise LimitReached(
                f"You have asked for {len(moments)} builds within an hour; this hub allows {most}.",
                hint=f"Try again in {int(wait.total_seconds()) // 60 + 1} minutes.",
                details={"retry_after": max(1, int(wait.total_seconds()) + 1)},
            )

    async def add_initial(self, request: NewEnvironment, owner: str) -> None:
        """Add an environment of the configuration's and queue its build; nothing happens when its owner has it already.

        Its ref is resolved when its turn comes: a hub must start although a forge does not answer.
        """
        person = Person(owner, admin=True)
        wanted = new_environment(request, person)
        if await self._same(wanted, named=True) is None:
            await self._store.add_environment(wanted, new_build(wanted, None, person, force=False))
            self._queue.notice()

    async def _same(self, wanted: Environment, *, named: bool) -> Environment | None:
        """Return the environment that its owner has of what is WANTED, if any."""
        for known in await self._store.environments_of(wanted.owner, str(wanted.repository)):
            same_place = (known.ref, known.subdirectory) == (wanted.ref, wanted.subdirectory)
            if same_place and (not named or known.name == wanted.name):
                return known
        return None

    async def environments(self, person: Person) -> list[EnvironmentDetail]:
        """Return all that PERSON may see, by name."""
        page = await self.some_environments(person, EnvironmentFilter(), PageRequest(LARGEST_PAGE))
        found = list(page.items)
        while page.following is not None:
            page = await self.some_environments(person, EnvironmentFilter(), PageRequest(LARGEST_PAGE, page.following))
            found += page.items
        return found

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

    async def _changeable(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        detail = await self.environment(environment, person)
        if not detail.environment.may_be_changed_by(person):
            raise Refused(
                "Only its owner may change this environment.", hint="Add one of your own from the same repository."
            )
        return detail

    async def update_environment(
        self, environment: EnvironmentId, changes: Changes, person: Person, seen: datetime | None = None
    ) -> EnvironmentDetail:
        """Rename, describe, share or limit an environment.

        With SEEN, when the state that PERSON looked at was of, only if it is that still. Raises `NotFound`, `Refused`,
        `InvalidInput`, `ChangedMeanwhile`.
        """
        await self._changeable(environment, person)
        after = await self._store.change_environment(environment, lambda before: changed(before, changes), seen)
        if after.current:
            await self._queue.write_record(environment)
        return await self.environment(environment, person)

    async def delete_environment(self, environment: EnvironmentId, person: Person, seen: datetime | None = None) -> None:
        """Forget an environment, its versions, records and roots; homes and projects stay.  Ends its builds.

        With SEEN as `update_environment`.
        """
        await self._changeable(environment, person)
        for build in await self._store.remove_environment(environment, seen):
            await self._queue.cancel(build)
        await self._queue.remove_leftovers()

    async def is_whole(self, version: Version) -> bool:
        """Tell whether all of VERSION is still on this machine; else its environment must be built again."""
        return await self._queue.is_whole(version)

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

    async def export(self, environment: EnvironmentId, version: VersionId, person: Person) -> Export:
        """Return what makes one version again elsewhere.  Raises `NotFound`."""
        return await self._queue.export(await self.version(environment, version, person))

    async def rollback(self, environment: EnvironmentId, version: VersionId | None, person: Person) -> EnvironmentDetail:
        """Make VERSION the current one; None is the one before the current."""
        detail = await self._changeable(environment, person)
        if version is None:
            version = _before(await self._store.versions(environment), detail.environment.current)
        await self._store.set_current(environment, version)
        await self._queue.write_record(environment)
        return await self.environment(environment, person)

    # --- builds ------------------------------------------------------------

    async def start_build(self, environment: EnvironmentId, person: Person, *, force: bool = False) -> EnvironmentDetail:
        """Resolve the environment's ref again and build what it stands for now; with FORCE also when that is known."""
        known = (await self._changeable(environment, person)).environment
        return await self._build(known, await self._resolve(known.repository, known.ref, person), person, force=force)

    async def _build(
        self, environment: Environment, resolved: Resolved, person: Person, *, force: bool
    ) -> EnvironmentDetail:
        """Queue the build of what was RESOLVED, or make the version current that is just that."""
        found = None if force else await self._version_of(environment, resolved)
        if found is not None:
            self.measures.request(Needed.NOTHING)
            await self._store.set_current(environment.id, found.id)
            await self._queue.write_record(environment.id)
            detail = await self._store.environment(environment.id)
            # What is asked for is there, whatever became of a later build.
            return detail if detail.state is BuildState.READY else replace(detail, build=None)
        await self._check_builds(person)
        build = new_build(environment, resolved, person, force=force)
        self._count(await self._store.request_build(build, _request_key(build)))
        self._queue.notice()
        return await self._store.environment(environment.id)

    def _count(self, joined: Joined | None) -> None:
        if joined is not None:
            self.measures.request(Needed.BUILD if joined.created else Needed.NOTHING_MORE)

    async def _version_of(self, environment: Environment, resolved: Resolved) -> Version | None:
        """Return the newest version of what was RESOLVED that sessions can start from, if there is one."""
        wanted = (resolved.commit, environment.subdirectory)
        for version in await self._store.versions(environment.id):
            if (version.commit, version.subdirectory) == wanted and await self._queue.is_whole(version):
                return version
        return None

    async def some_builds(self, person: Person, wanted: BuildFilter, page: PageRequest) -> Page[Build]:
        """Return a page of those of the WANTED builds that PERSON may see, newest first."""
        if wanted.environment is not None:
            await self.environment(wanted.environment, person)
        return await self._store.builds_page(person, wanted, page)

    async def build(self, build: BuildId, person: Person) -> Build:
        """Return one build, for those who see one of its environments.  Raises `NotFound`."""
        found = await self._expected(await self._store.build(build))
        for identifier in found.environments:
            with contextlib.suppress(NotFound):
                await self.environment(identifier, person)
                return found
        if person.admin or found.requested_by == person.name:
            return found
        raise NotFound("There is no such build.")

    async def _expected(self, build: Build) -> Build:
        """Return BUILD with when its turn is to be expected, if it waits for one."""
        if build.state is not BuildState.QUEUED:
            return build
        return replace(build, expected=await self._store.expectation(build.id))

    async def cancel(self, build: BuildId, person: Person) -> Build:
        """Stop a build and end its processes; a finished build stays as it is.

        Raises `NotFound`, and `Refused` also where others wait for the same build.
        """
        found = await self.build(build, person)
        if found.state.is_final:
            return found
        details = [await self._store.environment(identifier) for identifier in found.environments]
        own = [detail.environment.id for detail in details if detail.environment.may_be_changed_by(person)]
        if not own and found.requested_by != person.name:
            raise Refused("Only those who asked for this build may cancel it.")
        if len(own) < len(details):
            raise Refused("Others wait for the same build, so it goes on.", hint="You need not wait for it.")
        return await self._queue.cancel(build)

    async def log(self, build: BuildId, person: Person, start: int = 0, limit: int | None = None) -> LogText:
        """Return a build's log from byte START on, LIMIT bytes at most."""
        await self.build(build, person)
        return await asyncio.to_thread(self._logs.read, build, start, LARGEST_PIECE if limit is None else limit)

    async def session_log(self, user: str, server: str) -> str:
        """Return what the session SERVER of USER printed.  Raises `NotFound`."""
        return await asyncio.to_thread(self._session_logs.read, user, server)

    async def log_size(self, build: BuildId, person: Person) -> int:
        """Return how many bytes a build's log has now."""
        await self.build(build, person)
        return await asyncio.to_thread(self._logs.size, build)

    async def follow(self, build: BuildId, person: Person, position: int = 0) -> AsyncIterator[BuildEvent]:
        """Yield what happens to a build, its log from byte POSITION on, until it is finished and all was said."""
        async with self._queue.changes.following(build) as changed:
            said: Build | None = None
            while True:
                changed.clear()
                found = await self.build(build, person)
                if found != said:
                    yield BuildChanged(position, found)
                    said = found
                # The state was read before the log: a finished build's log is whole.
                while (piece := await self._piece(build, position, finished=found.state.is_final)).position > position:
                    position = piece.position
                    yield piece
                if found.state.is_final:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await changed.wait()

    async def _piece(self, build: BuildId, position: int, *, finished: bool) -> LogText:
        return await asyncio.to_thread(self._logs.read, build, position, finished=finished)

    # --- credentials ------------------------------------------------------------

    @property
    def vault(self) -> Vault:
        """People's credentials for private repositories.  Raises `NotFound` where none are kept."""
        if self._vault is None:
            raise NotFound("Credentials are not kept here.")
        return self._vault

    # --- repositories ------------------------------------------------------------

    async def resolve(self, repository: str, ref: str, person: Person) -> Resolved:
        """Return what would be built, and build nothing."""
        place = await self.locate(read(repository), ref, "", person)
        return await self._resolve(place.repository, place.ref, person)

    async def locate(self, place: Place, ref: str, subdirectory: str, person: Person) -> Located:
        """Return where PLACE is, with the REF and SUBDIRECTORY that were named beside it.

        Raises what `places.located` does, and `Refused`.
        """
        await self._check_may_add(person)
        return await located(place, ref, subdirectory, lambda url, name: self._resolve(url, name, person))

    async def _resolve(self, url: RepositoryUrl, ref: str, person: Person) -> Resolved:
        """Resolve REF; those who ask for the same at the same time share one question to the server.

        Whoever has a credential for its host asks alone: what they may read is not what others may.
        """
        alone = self._vault is not None and await self._vault.has(person.name, url)
        key = (str(url), ref, person.name if alone else "")
        task = self._resolving.get(key)
        if task is None:
            task = asyncio.create_task(self._queue.resolve(url, ref, key[2]), name=f"resolve {url}")
            self._resolving[key] = task
            task.add_done_callback(lambda _: self._resolving.pop(key, None))
        return await asyncio.shield(task)

    @property
    def measures(self) -> Measures:
        """What the service measures of itself."""
        return self._queue.measures

    async def metrics(self) -> bytes:
        """Return all figures of the service, in Prometheus's form."""
        return self.measures.exposition(await self._store.figures())

    async def health(self) -> Mapping[str, object]:
        """Return whether the service can do its work, for those who watch it."""
        try:
            waiting = await self._store.builds_in([BuildState.QUEUED])
        except GuixSpawnerError as error:
            return {"status": "failing", "store": error.message}
        if self._queue.hindrance:
            return {"status": "failing", "store": "ok", "queue": self._queue.hindrance, "queued": len(waiting)}
        return {"status": "ok", "store": "ok", "queued": len(waiting)}


def _request_key(build: Build) -> str:
    """Return the request key of BUILD, whose commit is known."""
    assert build.commit is not None
    return request_key(build.repository.digest, build.commit, build.subdirectory, RECIPE_VERSION)


def _before(versions: list[Version], current: VersionId | None) -> VersionId:
    """Return the version that is next older than CURRENT in VERSIONS, newest first."""
    identifiers = [version.id for version in versions]
    place = identifiers.index(current) + 1 if current in identifiers else 0
    if place >= len(identifiers):
        raise Conflict("There is no earlier version to go back to.")
    return identifiers[place]
