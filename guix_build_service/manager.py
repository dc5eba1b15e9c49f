"""What people can ask of the build service; the pages and the API call nothing else.

Every method names the person who asks.  What they may not see does not exist for them (`NotFound`); what they may see and
not change is `Refused`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from guix_build_service.logs import LARGEST_PIECE, Logs
from guix_build_service.manifest.canonical import request_key
from guix_build_service.model import (
    RECIPE_VERSION,
    Build,
    BuildChanged,
    BuildEvent,
    BuildState,
    Changes,
    Environment,
    EnvironmentDetail,
    LogText,
    NewEnvironment,
    Person,
    Resolved,
    Version,
    now,
)
from guix_build_service.queue import Queue
from guix_build_service.session_logs import SessionLogs
from guix_build_service.store import Store
from guix_environment.errors import Conflict, GuixSpawnerError, InvalidInput, NotFound, Refused
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl, checked_ref, checked_subdirectory

log = logging.getLogger("guix_build_service.manager")

LONGEST_NAME = 100
LONGEST_DESCRIPTION = 2_000
MOST_GROUPS = 50
LEAST_MEMORY = 128 * 1024 * 1024
LARGEST_MEMORY = 1 << 50
MOST_CPU = 1024.0

HEARTBEAT_SECONDS = 30.0
"""A follower looks at least this often, whatever it was told."""


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


class Manager:
    """The use-cases.  All coroutines; none blocks the loop."""

    def __init__(
        self, store: Store, queue: Queue, logs: Logs, policy: Policy, session_logs: SessionLogs | None = None
    ) -> None:
        self._session_logs = session_logs or SessionLogs(None)
        self._store = store
        self._queue = queue
        self._logs = logs
        self._policy = policy
        self._resolving: dict[tuple[str, str], asyncio.Task[Resolved]] = {}
        self._adding = asyncio.Lock()

    # --- environments ------------------------------------------------------------

    async def may_add(self, person: Person) -> bool:
        """Tell whether PERSON may add environments here."""
        by_group = self._policy.may_add is MayAdd.GROUPS and not person.groups.isdisjoint(self._policy.groups)
        return person.admin or self._policy.may_add is MayAdd.EVERYONE or by_group

    async def add_environment(self, request: NewEnvironment, person: Person) -> EnvironmentDetail:
        """Add an environment, or find the one that PERSON has of this repository, ref and folder, and start what it lacks.

        The ref is resolved before anything is written.  When the version at that commit is ready already, the detail's
        ``state`` is ready (the API's 200), else its build is in flight (202).  Raises `InvalidInput`, `Refused`,
        `RepositoryUnavailable`, `RefNotFound`.
        """
        if not await self.may_add(person):
            raise Refused("You may not add environments on this hub.", hint="Ask its administrator.")
        wanted = _new_environment(request, person)
        resolved = await self._resolve(wanted.repository, wanted.ref)
        async with self._adding:
            environment = await self._same(wanted, named=bool(request.name))
            if environment is None:
                await self._store.add_environment(wanted)
                environment = wanted
        return await self._build(environment, resolved, person, force=False)

    async def add_initial(self, request: NewEnvironment, owner: str) -> None:
        """Add an environment of the configuration's and queue its build; nothing happens when its owner has it already.

        Its ref is resolved when its turn comes: a hub must start although a forge does not answer.
        """
        person = Person(owner, admin=True)
        wanted = _new_environment(request, person)
        if await self._same(wanted, named=True) is None:
            await self._store.add_environment(wanted)
            build = _new_build(wanted, None, person, force=False)
            await self._store.request_build(build, None)
            self._queue.notice()

    async def _same(self, wanted: Environment, *, named: bool) -> Environment | None:
        """Return the environment that its owner has of what is WANTED, if any."""
        for known in await self._store.environments_of(wanted.owner, str(wanted.repository)):
            same_place = (known.ref, known.subdirectory) == (wanted.ref, wanted.subdirectory)
            if same_place and (not named or known.name == wanted.name):
                return known
        return None

    async def environments(self, person: Person) -> list[EnvironmentDetail]:
        """Return what PERSON may see, by name."""
        return [detail for detail in await self._store.environments() if detail.environment.may_be_seen_by(person)]

    async def environment(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        """Return one environment.  Raises `NotFound`."""
        detail = await self._store.environment(environment)
        if not detail.environment.may_be_seen_by(person):
            raise NotFound("There is no such environment.")
        return detail

    async def _changeable(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        detail = await self.environment(environment, person)
        if not detail.environment.may_be_changed_by(person):
            raise Refused(
                "Only its owner may change this environment.", hint="Add one of your own from the same repository."
            )
        return detail

    async def update_environment(self, environment: EnvironmentId, changes: Changes, person: Person) -> EnvironmentDetail:
        """Rename, describe, share or limit an environment.  Raises `NotFound`, `Refused`, `InvalidInput`."""
        before = (await self._changeable(environment, person)).environment
        after = replace(
            before,
            name=before.name if changes.name is None else _name(changes.name),
            description=before.description if changes.description is None else _description(changes.description),
            ref=before.ref if changes.ref is None else _ref(changes.ref),
            memory=before.memory if changes.memory is None else _memory(changes.memory),
            cpu=before.cpu if changes.cpu is None else _cpu(changes.cpu),
            visibility=before.visibility if changes.visibility is None else changes.visibility,
            groups=before.groups if changes.groups is None else _groups(changes.groups),
        )
        await self._store.update_environment(_shared_sensibly(after))
        if before.current:
            await self._queue.write_record(environment)
        return await self.environment(environment, person)

    async def delete_environment(self, environment: EnvironmentId, person: Person) -> None:
        """Forget an environment, its versions, records and roots; homes and projects stay.  Ends its builds."""
        await self._changeable(environment, person)
        for build in await self._store.remove_environment(environment):
            await self._queue.cancel(build)
        await self._queue.remove_leftovers()

    async def is_whole(self, version: Version) -> bool:
        """Tell whether all of VERSION is still on this machine; else its environment must be built again."""
        return await self._queue.is_whole(version)

    async def versions(self, environment: EnvironmentId, person: Person) -> list[Version]:
        """Return an environment's versions, newest first."""
        await self.environment(environment, person)
        return await self._store.versions(environment)

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
        return await self._build(known, await self._resolve(known.repository, known.ref), person, force=force)

    async def _build(
        self, environment: Environment, resolved: Resolved, person: Person, *, force: bool
    ) -> EnvironmentDetail:
        """Queue the build of what was RESOLVED, or make the version current that is just that."""
        found = None if force else await self._version_of(environment, resolved)
        if found is not None:
            await self._store.set_current(environment.id, found.id)
            await self._queue.write_record(environment.id)
            detail = await self._store.environment(environment.id)
            # What is asked for is there, whatever became of a later build.
            return detail if detail.state is BuildState.READY else replace(detail, build=None)
        build = _new_build(environment, resolved, person, force=force)
        key = request_key(resolved.repository.digest, resolved.commit, environment.subdirectory, RECIPE_VERSION)
        await self._store.request_build(build, key)
        self._queue.notice()
        return await self._store.environment(environment.id)

    async def _version_of(self, environment: Environment, resolved: Resolved) -> Version | None:
        """Return the newest version of what was RESOLVED that sessions can start from, if there is one."""
        wanted = (resolved.commit, environment.subdirectory)
        for version in await self._store.versions(environment.id):
            if (version.commit, version.subdirectory) == wanted and await self._queue.is_whole(version):
                return version
        return None

    async def build(self, build: BuildId, person: Person) -> Build:
        """Return one build, for those who see one of its environments.  Raises `NotFound`."""
        found = await self._store.build(build)
        for identifier in found.environments:
            with contextlib.suppress(NotFound):
                await self.environment(identifier, person)
                return found
        if person.admin or found.requested_by == person.name:
            return found
        raise NotFound("There is no such build.")

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

    # --- repositories ------------------------------------------------------------

    async def resolve(self, repository: str, ref: str, person: Person) -> Resolved:
        """Return what would be built, and build nothing."""
        if not await self.may_add(person):
            raise Refused("You may not add environments on this hub.", hint="Ask its administrator.")
        return await self._resolve(RepositoryUrl.parse(repository), _ref(ref))

    async def _resolve(self, url: RepositoryUrl, ref: str) -> Resolved:
        """Resolve REF; those who ask for the same at the same time share one question to the server."""
        key = (str(url), ref)
        task = self._resolving.get(key)
        if task is None:
            task = asyncio.create_task(self._queue.resolve(url, ref), name=f"resolve {url}")
            self._resolving[key] = task
            task.add_done_callback(lambda _: self._resolving.pop(key, None))
        return await asyncio.shield(task)

    async def health(self) -> Mapping[str, object]:
        """Return whether the service can do its work, for those who watch it."""
        try:
            waiting = await self._store.builds_in([BuildState.QUEUED])
        except GuixSpawnerError as error:
            return {"status": "failing", "store": error.message}
        return {"status": "ok", "store": "ok", "queued": len(waiting)}


def _new_environment(request: NewEnvironment, person: Person) -> Environment:
    url = RepositoryUrl.parse(request.repository)
    moment = now()
    return _shared_sensibly(
        Environment(
            id=EnvironmentId.new(),
            name=_name(request.name or url.name),
            description=_description(request.description),
            repository=url,
            ref=_ref(request.ref),
            subdirectory=checked_subdirectory(request.subdirectory),
            owner=person.name,
            visibility=request.visibility,
            groups=_groups(request.groups),
            memory=None if request.memory is None else _memory(request.memory),
            cpu=None if request.cpu is None else _cpu(request.cpu),
            current=None,
            created=moment,
            updated=moment,
        )
    )


def _new_build(environment: Environment, resolved: Resolved | None, person: Person, *, force: bool) -> Build:
    return Build(
        id=BuildId.new(),
        environments=(environment.id,),
        repository=environment.repository,
        ref=resolved.ref if resolved else environment.ref,
        subdirectory=environment.subdirectory,
        commit=resolved.commit if resolved else None,
        state=BuildState.QUEUED,
        force=force,
        requested_by=person.name,
        created=now(),
    )


def _before(versions: list[Version], current: VersionId | None) -> VersionId:
    """Return the version that is next older than CURRENT in VERSIONS, newest first."""
    identifiers = [version.id for version in versions]
    place = identifiers.index(current) + 1 if current in identifiers else 0
    if place >= len(identifiers):
        raise Conflict("There is no earlier version to go back to.")
    return identifiers[place]


def _shared_sensibly(environment: Environment) -> Environment:
    if environment.visibility is Visibility.GROUPS and not environment.groups:
        raise InvalidInput("No group was named to share this environment with.", hint="Name one, or keep it private.")
    return environment


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"A name has 1 to {LONGEST_NAME} characters, and no invisible ones.")
    return name


def _description(text: str) -> str:
    if len(text) > LONGEST_DESCRIPTION:
        raise InvalidInput(f"A description has at most {LONGEST_DESCRIPTION} characters.")
    return "".join(character for character in text if character.isprintable() or character == "\n")


def _ref(text: str) -> str:
    return checked_ref(text.strip()) if text.strip() else ""


def _groups(groups: tuple[str, ...]) -> tuple[str, ...]:
    if len(groups) > MOST_GROUPS or not all(0 < len(group) <= 255 and group.isprintable() for group in groups):
        raise InvalidInput(f"At most {MOST_GROUPS} groups, each with a name.")
    return tuple(dict.fromkeys(groups))


def _memory(size: int) -> int:
    if not LEAST_MEMORY <= size <= LARGEST_MEMORY:
        raise InvalidInput("A session needs at least 128 MB of memory.")
    return size


def _cpu(cores: float) -> float:
    if not 0 < cores <= MOST_CPU:
        raise InvalidInput("The number of cores is above 0, such as 0.5 or 2.")
    return float(cores)
