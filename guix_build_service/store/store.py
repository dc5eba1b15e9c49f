"""What the service remembers, as transactions.

Every method runs as one transaction in the one thread that talks to the database: the loop never waits for a disk, and no
two transactions can see each other half done.  A state transition names the state that it starts from and fails when the
build is in another (`Conflict`), so that of two that race one wins and the other is told.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from guix_build_service.model import (
    FINAL,
    RUNNING,
    Build,
    BuildState,
    Environment,
    EnvironmentDetail,
    Progress,
    Version,
    now,
)
from guix_build_service.store import rows
from guix_build_service.store.engine import open_database
from guix_build_service.store.tables import builds, environments, removals, versions, waiting
from guix_environment.errors import Conflict, NotFound, StoreUnavailable
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

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Open the database at URL and bring it up to date.  Raises SQLAlchemy's or Alembic's errors."""
        return cls(await asyncio.to_thread(open_database, url))

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

    # --- environments ------------------------------------------------------------

    async def add_environment(self, environment: Environment) -> None:
        """Remember a new environment."""
        await self._transaction(lambda c: c.execute(insert(environments).values(**rows.environment_values(environment))))

    async def environments(self) -> list[EnvironmentDetail]:
        """Return every environment by name, each with its latest build and current version."""
        return await self._transaction(lambda c: _details(c, None))

    async def environment(self, environment: EnvironmentId) -> EnvironmentDetail:
        """Return one environment.  Raises `NotFound`."""
        found = await self._transaction(lambda c: _details(c, environment))
        if not found:
            raise NotFound("There is no such environment.")
        return found[0]

    async def environments_of(self, owner: str, repository: str) -> list[Environment]:
        """Return OWNER's environments of one repository, oldest first."""
        query = select(environments).where(environments.c.owner == owner, environments.c.repository == repository)
        ordered = query.order_by(environments.c.created)
        return await self._transaction(lambda c: [rows.environment(row) for row in c.execute(ordered).mappings()])

    async def update_environment(self, environment: Environment) -> None:
        """Put ENVIRONMENT in the place of what was remembered of it.  Raises `NotFound`."""

        def work(connection: Connection) -> None:
            values = dict(rows.environment_values(environment)) | {"updated": now()}
            values.pop("current")  # set by builds and by `set_current` alone
            query = update(environments).where(environments.c.id == environment.id).values(**values)
            if connection.execute(query).rowcount != 1:
                raise NotFound("There is no such environment.")

        await self._transaction(work)

    async def set_current(self, environment: EnvironmentId, version: VersionId) -> None:
        """Make VERSION of ENVIRONMENT the one that sessions start from.  Raises `NotFound`."""

        def work(connection: Connection) -> None:
            known = select(versions.c.id).where(versions.c.id == version, versions.c.environment == environment)
            if connection.execute(known).first() is None:
                raise NotFound("This environment has no such version.")
            changed = {"current": str(version), "updated": now()}
            connection.execute(update(environments).where(environments.c.id == environment).values(**changed))

        await self._transaction(work)

    async def remove_environment(self, environment: EnvironmentId) -> tuple[BuildId, ...]:
        """Forget ENVIRONMENT, note that its files are to go, and return the builds that nobody waits for now."""

        def work(connection: Connection) -> tuple[BuildId, ...]:
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

    async def keys_in_use(self, keys: Iterable[str]) -> frozenset[str]:
        """Return those of KEYS that some version has."""
        query = select(versions.c.key).where(versions.c.key.in_(list(keys))).distinct()
        return await self._transaction(lambda c: frozenset(c.scalars(query)))

    # --- builds ------------------------------------------------------------

    async def request_build(self, build: Build, request_key: str | None) -> Joined:
        """Put BUILD into the queue, or have its environments wait for the same request where that is in flight already."""

        def work(connection: Connection) -> Joined:
            same = (
                select(builds.c.id)
                .where(builds.c.request_key == request_key, builds.c.force == build.force, builds.c.state.in_(_IN_FLIGHT))
                .order_by(builds.c.created)
            )
            found = connection.scalars(same).first() if request_key else None
            if found is None:
                connection.execute(insert(builds).values(**rows.build_values(build, request_key)))
            joined = found or str(build.id)
            present = set(connection.scalars(select(waiting.c.environment).where(waiting.c.build == joined)))
            for environment in build.environments:
                if environment not in present:
                    values = {"build": joined, "environment": str(environment), "joined": now()}
                    connection.execute(insert(waiting).values(**values))
            return Joined(_build(connection, BuildId(joined)), created=found is None)

        return await self._transaction(work)

    async def build(self, build: BuildId) -> Build:
        """Return one build.  Raises `NotFound`."""
        return await self._transaction(lambda c: _build(c, build))

    async def builds_in(self, states: Iterable[BuildState]) -> list[Build]:
        """Return the builds in any of STATES, oldest first."""
        wanted = [state.value for state in states]
        query = select(builds).where(builds.c.state.in_(wanted)).order_by(builds.c.created, builds.c.id)

        def work(connection: Connection) -> list[Build]:
            found = list(connection.execute(query).mappings())
            return [rows.build(row, _environments_of(connection, row["id"])) for row in found]

        return await self._transaction(work)

    async def claim(self) -> Build | None:
        """Take the oldest build out of the queue into its first running state; None when nothing waits."""

        def work(connection: Connection) -> Build | None:
            oldest = select(builds.c.id).where(builds.c.state == BuildState.QUEUED.value)
            found = connection.scalars(oldest.order_by(builds.c.created, builds.c.id).limit(1)).first()
            if found is None:
                return None
            return _move(connection, BuildId(found), BuildState.QUEUED, BuildState.RESOLVING, {"started": now()})

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
            return _build(connection, build)

        return await self._transaction(work)

    async def finish(self, build: BuildId, state: BuildState, error: Mapping[str, object] | None = None) -> Build:
        """End BUILD as failed or cancelled.  Raises `Conflict` when it has ended already."""

        def work(connection: Connection) -> Build:
            before = _build(connection, build).state
            values = {"finished": now(), "error": dict(error) if error is not None else None, "phase": ""}
            return _move(connection, build, before, state, values)

        return await self._transaction(work)

    async def requeue(self, build: BuildId) -> Build:
        """Put a build that was interrupted back into the queue, in its old place.  Raises `Conflict`."""

        def work(connection: Connection) -> Build:
            before = _build(connection, build).state
            values = {"started": None, "phase": "", "done": 0, "total": 0}
            return _move(connection, build, before, BuildState.QUEUED, values)

        return await self._transaction(work)

    async def complete(self, build: BuildId, made: Sequence[Version]) -> Finished:
        """Declare BUILD ready with the versions MADE, and those current, unless an environment joined that has none yet."""

        def work(connection: Connection) -> Finished:
            waiting_now = _build(connection, build).environments
            missing = tuple(set(waiting_now) - {version.environment for version in made})
            if missing:
                return Finished(_build(connection, build), missing)
            for version in made:
                if version.environment not in waiting_now:
                    continue  # deleted meanwhile
                connection.execute(insert(versions).values(**rows.version_values(version)))
                changed = {"current": str(version.id), "updated": now()}
                connection.execute(update(environments).where(environments.c.id == version.environment).values(**changed))
            values = {"finished": now(), "error": None, "phase": ""}
            return Finished(_move(connection, build, BuildState.BUILDING, BuildState.READY, values), ())

        return await self._transaction(work)


def _move(
    connection: Connection, build: BuildId, before: BuildState, after: BuildState, values: Mapping[str, object]
) -> Build:
    if not before.may_become(after):
        raise Conflict(f"A build that is {before.value} cannot become {after.value}.")
    query = update(builds).where(builds.c.id == build, builds.c.state == before.value).values(state=after.value, **values)
    if connection.execute(query).rowcount != 1:
        raise Conflict(f"This build is no longer {before.value}.")
    return _build(connection, build)


def _environments_of(connection: Connection, build: str) -> list[str]:
    query = select(waiting.c.environment).where(waiting.c.build == build).order_by(waiting.c.joined, waiting.c.environment)
    return list(connection.scalars(query))


def _build(connection: Connection, build: BuildId) -> Build:
    row = connection.execute(select(builds).where(builds.c.id == build)).mappings().first()
    if row is None:
        raise NotFound("There is no such build.")
    return rows.build(row, _environments_of(connection, build))


def _details(connection: Connection, environment: EnvironmentId | None) -> list[EnvironmentDetail]:
    query = select(environments).order_by(func.lower(environments.c.name), environments.c.id)
    if environment is not None:
        query = query.where(environments.c.id == environment)
    found = [rows.environment(row) for row in connection.execute(query).mappings()]
    identifiers = [str(value.id) for value in found]
    latest = _latest_builds(connection, identifiers)
    current = select(versions).where(versions.c.id.in_([str(value.current) for value in found if value.current]))
    by_version = {row["id"]: rows.version(row) for row in connection.execute(current).mappings()}
    return [EnvironmentDetail(value, latest.get(value.id), by_version.get(value.current or "")) for value in found]


def _latest_builds(connection: Connection, identifiers: Sequence[str]) -> dict[str, Build]:
    """Return the latest build of each environment."""
    joined = select(waiting.c.environment, builds).join(builds, waiting.c.build == builds.c.id)
    query = joined.where(waiting.c.environment.in_(identifiers)).order_by(waiting.c.joined)
    newest: dict[str, RowMapping] = {row["environment"]: row for row in connection.execute(query).mappings()}
    members: dict[str, list[str]] = {}
    together = select(waiting).where(waiting.c.build.in_([row["id"] for row in newest.values()])).order_by(waiting.c.joined)
    for row in connection.execute(together).mappings():
        members.setdefault(row["build"], []).append(row["environment"])
    return {environment: rows.build(row, members[row["id"]]) for environment, row in newest.items()}
