"""What the service remembers, as transactions.

Every method runs as one transaction in the one thread that talks to the database: the loop never waits for a disk, and no
two transactions can see each other half done.  A state transition names the state that it starts from and fails when the
build is in another (`Conflict`), so that of two that race one wins and the other is told.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from guix_build_service.measures import Figures
from guix_build_service.model import (
    FINAL,
    RUNNING,
    Build,
    BuildFilter,
    BuildState,
    Environment,
    EnvironmentDetail,
    EnvironmentFilter,
    Expectation,
    Page,
    PageRequest,
    Person,
    Progress,
    Version,
    now,
)
from guix_build_service.store import details, line, lists, rows
from guix_build_service.store.engine import open_database
from guix_build_service.store.figures import figures
from guix_build_service.store.tables import builds, environments, removals, sharing, versions, waiting
from guix_build_service.turns import Limits
from guix_environment.errors import ChangedMeanwhile, Conflict, NotFound, StoreUnavailable
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, VersionId

log = logging.getLogger("guix_build_service.store")

_Result = TypeVar("_Result")
_IN_FLIGHT = [state.value for state in BuildState if state not in FINAL]
_RUNNING = [state.value for state in RUNNING]


@dataclass(frozen=True, slots=True)
class Joined:
    """The build that a request led to."""

    build: Build
    created: bool
    """False where the same was in flight already."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How the attempt to declare a build ready went."""

    build: Build
    missing: tuple[EnvironmentId, ...]
    """Environments that joined meanwhile and have no version yet: the build is ready once these have one too."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A deleted environment whose files are to go."""

    environment: EnvironmentId
    keys: tuple[str, ...]
    """Environment keys of its versions: their roots go when nothing else has them."""


class Store:
    """The database, by way of one thread.  Every method raises `StoreUnavailable` when the database fails."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    @classmethod
    async def open(cls, url: str, limits: Limits | None = None) -> "Store":
        """Open the database at URL and bring it up to date; LIMITS say how many builds run.

        Raises SQLAlchemy's or Alembic's errors.
        """
        return cls(await asyncio.to_thread(open_database, url), limits or Limits())

    async def close(self) -> None:
        """Finish what was begun and close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def _transaction(self, work: Callable[[Connection], _Result]) -> _Result:
        def run() -> _Result:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                log.exception("The database failed.")
                raise StoreUnavailable(
                    "The hub's database cannot be used right now.",
                    hint="Try again; if it stays so, tell the administrator: the disk may be full.",
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def transaction(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run WORK, of another module of the store, as one transaction and return what it returns."""
        return await self._transaction(work)

    # --- environments ------------------------------------------------------------

    async def add_environment(
        self, environment: Environment, build: Build | None = None, request_key: str | None = None
    ) -> Joined | None:
        """Remember a new environment, and with it that BUILD is wanted, as `request_build` does."""

        def work(connection: Connection) -> Joined | None:
            connection.execute(insert(environments).values(**rows.environment_values(environment)))
            _share(connection, environment)
            return None if build is None else _request(connection, build, request_key)

        return await self._transaction(work)

    async def environments(self) -> list[Environment]:
        """Return every environment, oldest first."""
        query = select(environments).order_by(environments.c.created, environments.c.id)
        return await self._transaction(lambda c: details.some_environments(c, query))

    async def environments_page(
        self, person: Person, wanted: EnvironmentFilter, page: PageRequest
    ) -> Page[EnvironmentDetail]:
        """Return a page of the WANTED environments that PERSON may see, by name."""
        return await self._transaction(lambda c: lists.environments_page(c, person, wanted, page))

    async def environment(self, environment: EnvironmentId) -> EnvironmentDetail:
        """Return one environment.  Raises `NotFound`."""
        query = select(environments).where(environments.c.id == environment)
        found = await self._transaction(lambda c: details.details(c, query))
        if not found:
            raise NotFound("There is no such environment.")
        return found[0]

    async def environments_of(self, owner: str, repository: str) -> list[Environment]:
        """Return OWNER's environments of one repository, oldest first."""
        query = select(environments).where(environments.c.owner == owner, environments.c.repository == repository)
        ordered = query.order_by(environments.c.created)
        return await self._transaction(lambda c: details.some_environments(c, ordered))

    async def environments_owned(self, owner: str) -> int:
        """Return how many environments OWNER has."""
        query = select(func.count()).select_from(environments).where(environments.c.owner == owner)
        return await self._transaction(lambda c: c.scalars(query).one())

    async def change_environment(
        self, environment: EnvironmentId, change: Callable[[Environment], Environment], seen: datetime | None = None
    ) -> Environment:
        """Put what CHANGE makes of ENVIRONMENT in its place, and return it.

        CHANGE is called within the transaction, so that of two changes neither undoes the other; what it raises ends it.
        With SEEN, when the state was of that somebody looked at, only if it is that still. Raises `NotFound` and
        `ChangedMeanwhile`.
        """

        def work(connection: Connection) -> Environment:
            before = details.environment(connection, environment)
            _check_seen(before, seen)
            after = replace(change(before), updated=now())
            values = dict(rows.environment_values(after))
            values.pop("current")  # set by builds and by `set_current` alone
            connection.execute(update(environments).where(environments.c.id == environment).values(**values))
            _share(connection, after)
            return after

        return await self._transaction(work)

    async def set_current(self, environment: EnvironmentId, version: VersionId) -> None:
        """Make VERSION of ENVIRONMENT the one that sessions start from.  Raises `NotFound`."""

        def work(connection: Connection) -> None:
            known = select(versions.c.id).where(versions.c.id == version, versions.c.environment == environment)
            if connection.execute(known).first() is None:
                raise NotFound("This environment has no such version.")
            changed = {"current": str(version), "updated": now()}
            connection.execute(update(environments).where(environments.c.id == environment).values(**changed))

        await self._transaction(work)

    async def remove_environment(self, environment: EnvironmentId, seen: datetime | None = None) -> tuple[BuildId, ...]:
        """Forget ENVIRONMENT, note that its files are to go, and return the builds that nobody waits for now.

        With SEEN as `change_environment`.
        """

        def work(connection: Connection) -> tuple[BuildId, ...]:
            _check_seen(details.environment(connection, environment), seen)
            keys = select(versions.c.key).where(versions.c.environment == environment).distinct()
            removal = {"environment": str(environment), "keys": list(connection.scalars(keys))}
            in_flight = (
                select(builds.c.id)
                .join(waiting, waiting.c.build == builds.c.id)
                .where(waiting.c.environment == environment, builds.c.state.in_(_IN_FLIGHT))
            )
            concerned = list(connection.scalars(in_flight))
            if connection.execute(delete(environments).where(environments.c.id == environment)).rowcount != 1:
                raise NotFound("There is no such environment.")
            connection.execute(insert(removals).values(**removal))
            wanted = set(connection.scalars(select(waiting.c.build).where(waiting.c.build.in_(concerned))))
            return tuple(BuildId(build) for build in concerned if build not in wanted)

        return await self._transaction(work)

    async def removals(self) -> list[Removal]:
        """Return the environments whose files are still to go."""

        def work(connection: Connection) -> list[Removal]:
            found = connection.execute(select(removals)).mappings()
            return [Removal(EnvironmentId(row["environment"]), tuple(row["keys"])) for row in found]

        return await self._transaction(work)

    async def removed(self, environment: EnvironmentId) -> None:
        """Note that ENVIRONMENT's files are gone."""
        await self._transaction(lambda c: c.execute(delete(removals).where(removals.c.environment == environment)))

    # --- versions ------------------------------------------------------------

    async def versions(self, environment: EnvironmentId) -> list[Version]:
        """Return the versions of ENVIRONMENT, newest first."""
        query = select(versions).where(versions.c.environment == environment).order_by(versions.c.created.desc())
        return await self._transaction(lambda c: [rows.version(row) for row in c.execute(query).mappings()])

    async def versions_page(self, environment: EnvironmentId, page: PageRequest) -> Page[Version]:
        """Return a page of the versions of ENVIRONMENT, newest first."""
        return await self._transaction(lambda c: lists.versions_page(c, environment, page))

    async def version(self, environment: EnvironmentId, version: VersionId) -> Version:
        """Return one version of ENVIRONMENT.  Raises `NotFound`."""
        query = select(versions).where(versions.c.id == version, versions.c.environment == environment)
        row = await self._transaction(lambda c: c.execute(query).mappings().first())
        if row is None:
            raise NotFound("This environment has no such version.")
        return rows.version(row)

    async def keys_in_use(self, keys: Iterable[str]) -> frozenset[str]:
        """Return those of KEYS that some version has."""
        query = select(versions.c.key).where(versions.c.key.in_(list(keys))).distinct()
        return await self._transaction(lambda c: frozenset(c.scalars(query)))

    # --- builds ------------------------------------------------------------

    async def request_build(self, build: Build, request_key: str | None) -> Joined:
        """Put BUILD into the queue, or have its environments wait for the same request where that is in flight already."""
        return await self._transaction(lambda c: _request(c, build, request_key))

    async def build(self, build: BuildId) -> Build:
        """Return one build.  Raises `NotFound`."""
        return await self._transaction(lambda c: details.build(c, build))

    async def builds_in(self, states: Iterable[BuildState]) -> list[Build]:
        """Return the builds in any of STATES, oldest first."""
        wanted = [state.value for state in states]
        query = select(builds).where(builds.c.state.in_(wanted)).order_by(builds.c.created, builds.c.id)

        return await self._transaction(lambda c: details.some_builds(c, query))

    async def builds_asked_for(self, person: str, since: datetime) -> list[datetime]:
        """Return when PERSON asked for builds since the moment SINCE, earliest first."""
        query = select(builds.c.created).where(builds.c.requested_by == person, builds.c.created > since)
        return await self._transaction(lambda c: list(c.scalars(query.order_by(builds.c.created))))

    async def builds_page(self, person: Person, wanted: BuildFilter, page: PageRequest) -> Page[Build]:
        """Return a page of the WANTED builds that PERSON may see, newest first."""
        return await self._transaction(lambda c: lists.builds_page(c, person, wanted, page))

    async def claim(self) -> Build | None:
        """Take the build whose turn it is out of the queue into its first running state; None when it is nobody's."""

        def work(connection: Connection) -> Build | None:
            now_or_later = line.turns_of(connection, self._limits)
            if not now_or_later[0]:
                return None
            values = {"started": now(), "phase": ""}
            return _move(connection, now_or_later[0][0], BuildState.QUEUED, BuildState.RESOLVING, values)

        return await self._transaction(work)

    async def expectation(self, build: BuildId) -> Expectation | None:
        """Return when the turn of BUILD is to be expected; None for one that does not wait."""
        return await self._transaction(lambda c: line.expectation(c, build, self._limits))

    async def figures(self) -> Figures:
        """Return how much of everything there is."""
        return await self._transaction(figures)

    async def hinder(self, why: str) -> None:
        """Have every build that waits say WHY nothing begins."""
        waits = builds.c.state == BuildState.QUEUED.value, builds.c.phase != why
        await self._transaction(lambda c: c.execute(update(builds).where(*waits).values(phase=why)))

    async def everything_kept(self) -> Mapping[EnvironmentId, Mapping[VersionId, str]]:
        """Return every environment with its versions and their environment keys."""

        def work(connection: Connection) -> Mapping[EnvironmentId, Mapping[VersionId, str]]:
            found: dict[EnvironmentId, dict[VersionId, str]] = {
                EnvironmentId(each): {} for each in connection.scalars(select(environments.c.id))
            }
            for row in connection.execute(select(versions.c.environment, versions.c.id, versions.c.key)).mappings():
                found[EnvironmentId(row["environment"])][VersionId(row["id"])] = row["key"]
            return found

        return await self._transaction(work)

    async def move(self, build: BuildId, before: BuildState, after: BuildState) -> Build:
        """Take BUILD from the state BEFORE to AFTER.  Raises `Conflict` when it is in another state."""
        return await self._transaction(lambda c: _move(c, build, before, after, {}))

    async def set_commit(self, build: BuildId, ref: str, commit: Commit, request_key: str) -> Build:
        """Note which commit BUILD is of, once that is known."""
        values = {"ref": ref, "commit": str(commit), "request_key": request_key}
        return await self._change(build, values)

    async def set_progress(self, build: BuildId, progress: Progress) -> Build:
        """Note how far BUILD is."""
        return await self._change(build, {"phase": progress.phase[:200], "done": progress.done, "total": progress.total})

    async def _change(self, build: BuildId, values: Mapping[str, object]) -> Build:
        def work(connection: Connection) -> Build:
            connection.execute(update(builds).where(builds.c.id == build).values(**values))
            return details.build(connection, build)

        return await self._transaction(work)

    async def finish(self, build: BuildId, state: BuildState, error: Mapping[str, object] | None = None) -> Build:
        """End BUILD as failed or cancelled.  Raises `Conflict` when it has ended already."""

        def work(connection: Connection) -> Build:
            before = details.build(connection, build).state
            values = {"finished": now(), "error": dict(error) if error is not None else None, "phase": ""}
            return _move(connection, build, before, state, values)

        return await self._transaction(work)

    async def requeue(self, build: BuildId) -> Build:
        """Put a build that was interrupted back into the queue, in its old place.  Raises `Conflict`."""

        def work(connection: Connection) -> Build:
            before = details.build(connection, build).state
            values = {"started": None, "phase": "", "done": 0, "total": 0}
            return _move(connection, build, before, BuildState.QUEUED, values)

        return await self._transaction(work)

    async def complete(self, build: BuildId, made: Sequence[Version]) -> Finished:
        """Declare BUILD ready with the versions MADE, and those current, unless an environment joined that has none yet."""

        def work(connection: Connection) -> Finished:
            waiting_now = details.build(connection, build).environments
            missing = tuple(set(waiting_now) - {version.environment for version in made})
            if missing:
                return Finished(details.build(connection, build), missing)
            for version in made:
                if version.environment not in waiting_now:
                    continue  # deleted meanwhile
                connection.execute(insert(versions).values(**rows.version_values(version)))
                changed = {"current": str(version.id), "updated": now()}
                connection.execute(update(environments).where(environments.c.id == version.environment).values(**changed))
            values = {"finished": now(), "error": None, "phase": ""}
            return Finished(_move(connection, build, BuildState.BUILDING, BuildState.READY, values), ())

        return await self._transaction(work)


def _request(connection: Connection, build: Build, request_key: str | None) -> Joined:
    same = (
        select(builds.c.id)
        .where(builds.c.request_key == request_key, builds.c.force == build.force, builds.c.state.in_(_IN_FLIGHT))
        .order_by(builds.c.created)
    )
    found = connection.scalars(same).first() if request_key else None
    if found is None:
        connection.execute(insert(builds).values(**rows.build_values(build, request_key)))
    joined = found or str(build.id)
    line.supersede(connection, build, joined)
    present = set(connection.scalars(select(waiting.c.environment).where(waiting.c.build == joined)))
    for environment in build.environments:
        if environment not in present:
            values = {"build": joined, "environment": str(environment), "joined": now()}
            connection.execute(insert(waiting).values(**values))
    return Joined(details.build(connection, BuildId(joined)), created=found is None)


def _move(
    connection: Connection, build: BuildId, before: BuildState, after: BuildState, values: Mapping[str, object]
) -> Build:
    if not before.may_become(after):
        raise Conflict(f"A build that is {before.value} cannot become {after.value}.")
    query = update(builds).where(builds.c.id == build, builds.c.state == before.value).values(state=after.value, **values)
    if connection.execute(query).rowcount != 1:
        raise Conflict(f"This build is no longer {before.value}.")
    return details.build(connection, build)


def _share(connection: Connection, environment: Environment) -> None:
    """Have the groups of ENVIRONMENT be those that it is shared with."""
    connection.execute(delete(sharing).where(sharing.c.environment == environment.id))
    values = [
        {"environment": str(environment.id), "place": place, "name": name} for place, name in enumerate(environment.groups)
    ]
    if values:
        connection.execute(insert(sharing), values)


def _check_seen(environment: Environment, seen: datetime | None) -> None:
    if seen is not None and environment.updated != seen:
        raise ChangedMeanwhile("This environment was changed meanwhile.", hint="Look at it again, then change it.")
