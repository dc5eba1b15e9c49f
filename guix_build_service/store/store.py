"""What the service remembers, as transactions.

Every method runs as one transaction in the one thread that talks to the database: the loop never waits for a disk, and no
two transactions can see each other half done.  A state transition names the state that it starts from and fails when the
build is in another (`Conflict`), so that of two that race one wins and the other is told.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from guix_build_service.logs.audit import Deed, DeedFilter
from guix_build_service.model.environments import (
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
)
from guix_build_service.model.measures import Figures
from guix_build_service.store import (
    audit,
    build_changes,
    current,
    details,
    environment_changes,
    line,
    lists,
    rows,
    services,
    uses,
)
from guix_build_service.store.build_changes import Finished, Joined
from guix_build_service.store.database import Database
from guix_build_service.store.environment_changes import Removal
from guix_build_service.store.figures import figures
from guix_build_service.store.services import Serving
from guix_build_service.store.tables import builds, environments, removals, versions
from guix_environment.errors import NotFound
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, StorePath, VersionId


class Store(Database):
    """What there is and what becomes of it.  Every method raises `StoreUnavailable` when the database fails.

    A DEED that a method is given goes into the audit log in the same transaction.
    """

    # --- environments ------------------------------------------------------------

    async def add_environment(
        self,
        environment: Environment,
        build: Build | None = None,
        request_key: str | None = None,
        deed: Deed | None = None,
    ) -> Joined | None:
        """Remember a new environment, and with it that BUILD is wanted, as `request_build` does."""

        def work(connection: Connection) -> Joined | None:
            environment_changes.add(connection, environment)
            joined = None if build is None else build_changes.request(connection, build, request_key)
            audit.note(connection, deed.of_build(joined.build.id) if deed and joined else deed)
            return joined

        return await self.transaction(work)

    async def environments(self) -> list[Environment]:
        """Return every environment, oldest first."""
        query = select(environments).order_by(environments.c.created, environments.c.id)
        return await self.look(lambda c: details.some_environments(c, query))

    async def environments_page(
        self, person: Person, wanted: EnvironmentFilter, page: PageRequest
    ) -> Page[EnvironmentDetail]:
        """Return a page of the WANTED environments that PERSON may see, by name."""
        return await self.look(lambda c: lists.environments_page(c, person, wanted, page))

    async def environment(self, environment: EnvironmentId) -> EnvironmentDetail:
        """Return one environment.  Raises `NotFound`."""
        query = select(environments).where(environments.c.id == environment)
        found = await self.look(lambda c: details.details(c, query))
        if not found:
            raise NotFound("There is no such environment.")
        return found[0]

    async def bare_environment(self, environment: EnvironmentId) -> Environment:
        """Return one environment, without its build and its version.  Raises `NotFound`."""
        return await self.look(lambda c: details.environment(c, environment))

    async def environments_of(self, owner: str, repository: str) -> list[Environment]:
        """Return OWNER's environments of one repository, oldest first."""
        query = select(environments).where(environments.c.owner == owner, environments.c.repository == repository)
        ordered = query.order_by(environments.c.created)
        return await self.look(lambda c: details.some_environments(c, ordered))

    async def environments_owned(self, owner: str) -> int:
        """Return how many environments OWNER has."""
        query = select(func.count()).select_from(environments).where(environments.c.owner == owner)
        return await self.look(lambda c: c.scalars(query).one())

    async def change_environment(
        self,
        environment: EnvironmentId,
        change: Callable[[Environment], Environment],
        seen: datetime | None = None,
        deeds: Callable[[Environment, Environment], Iterable[Deed]] = lambda _before, _after: (),
    ) -> Environment:
        """Put what CHANGE makes of ENVIRONMENT in its place, and return it; DEEDS says what is to be told of that.

        CHANGE is called within the transaction, so that of two changes neither undoes the other; what it raises ends it.
        With SEEN, when the state was of that somebody looked at, only if it is that still. Raises `NotFound` and
        `ChangedMeanwhile`.
        """

        def work(connection: Connection) -> Environment:
            before, after = environment_changes.change(connection, environment, change, seen)
            for deed in deeds(before, after):
                audit.note(connection, deed)
            return after

        return await self.transaction(work)

    async def set_current(self, environment: EnvironmentId, version: VersionId, deed: Deed | None = None) -> None:
        """Make VERSION of ENVIRONMENT the one that sessions start from.  Raises `NotFound`."""

        def work(connection: Connection) -> None:
            current.choose(connection, environment, version)
            audit.note(connection, deed)

        await self.transaction(work)

    async def remove_environment(
        self, environment: EnvironmentId, seen: datetime | None = None, deed: Deed | None = None
    ) -> tuple[BuildId, ...]:
        """Forget ENVIRONMENT, note that its files are to go, and return the builds that nobody waits for now.

        With SEEN as `change_environment`.
        """

        def work(connection: Connection) -> tuple[BuildId, ...]:
            unwanted = environment_changes.remove(connection, environment, seen)
            audit.note(connection, deed)
            return unwanted

        return await self.transaction(work)

    async def removals(self) -> list[Removal]:
        """Return the environments whose files are still to go."""
        return await self.look(environment_changes.some_removals)

    async def removed(self, environment: EnvironmentId) -> None:
        """Note that ENVIRONMENT's files are gone."""
        await self.transaction(lambda c: c.execute(delete(removals).where(removals.c.environment == environment)))

    # --- versions ------------------------------------------------------------

    async def versions(self, environment: EnvironmentId) -> list[Version]:
        """Return the versions of ENVIRONMENT, newest first."""
        query = select(versions).where(versions.c.environment == environment).order_by(versions.c.created.desc())
        return await self.look(lambda c: [rows.version(row) for row in c.execute(query).mappings()])

    async def versions_page(self, environment: EnvironmentId, page: PageRequest) -> Page[Version]:
        """Return a page of the versions of ENVIRONMENT, newest first."""
        return await self.look(lambda c: lists.versions_page(c, environment, page))

    async def version(self, environment: EnvironmentId, version: VersionId) -> Version:
        """Return one version of ENVIRONMENT.  Raises `NotFound`."""
        query = select(versions).where(versions.c.id == version, versions.c.environment == environment)
        row = await self.look(lambda c: c.execute(query).mappings().first())
        if row is None:
            raise NotFound("This environment has no such version.")
        return rows.version(row)

    async def versions_having(self, key: str) -> list[Version]:
        """Return the versions with the environment key KEY, whether their profile is kept or not."""
        query = select(versions).where(versions.c.key == key)
        return await self.look(lambda c: [rows.version(row) for row in c.execute(query).mappings()])

    async def keys_in_use(self, keys: Iterable[str]) -> frozenset[str]:
        """Return those of KEYS that some version has whose profile is kept."""
        query = select(versions.c.key).where(versions.c.key.in_(list(keys)), versions.c.let_go.is_(None)).distinct()
        return await self.look(lambda c: frozenset(c.scalars(query)))

    async def note_uses(self, profiles: Collection[StorePath], moment: datetime) -> None:
        """Note that PROFILES are used at MOMENT."""
        await self.transaction(lambda c: uses.note(c, profiles, moment))

    async def uses(self, profiles: Collection[StorePath]) -> Mapping[StorePath, datetime]:
        """Return when PROFILES were used last, those of which that is known."""
        return await self.look(lambda c: uses.of(c, profiles))

    # --- builds ------------------------------------------------------------

    async def request_build(self, build: Build, request_key: str | None, deed: Deed | None = None) -> Joined:
        """Put BUILD into the queue, or have its environments wait for the same request where that is in flight already."""

        def work(connection: Connection) -> Joined:
            joined = build_changes.request(connection, build, request_key)
            audit.note(connection, deed.of_build(joined.build.id) if deed else None)
            return joined

        return await self.transaction(work)

    async def build(self, build: BuildId) -> Build:
        """Return one build.  Raises `NotFound`."""
        return await self.look(lambda c: details.build(c, build))

    async def build_and_key(self, build: BuildId) -> tuple[Build, str | None]:
        """Return one build with its request key, None where it was not known when it ended.  Raises `NotFound`."""
        query = select(builds.c.request_key).where(builds.c.id == build)
        return await self.look(lambda c: (details.build(c, build), c.scalars(query).first()))

    async def build_seen_by(self, build: BuildId, person: Person) -> Build:
        """Return one build that PERSON may see: they asked for it, or see an environment of it.  Raises `NotFound`."""
        return await self.look(lambda c: lists.build_seen_by(c, person, build))

    async def build_and_environments(self, build: BuildId) -> tuple[Build, list[Environment]]:
        """Return one build with all the environments that it is for.  Raises `NotFound`."""
        return await self.look(lambda c: (details.build(c, build), details.environments_of_build(c, build)))

    async def builds_in(self, states: Iterable[BuildState]) -> list[Build]:
        """Return the builds in any of STATES, oldest first."""
        wanted = [state.value for state in states]
        query = select(builds).where(builds.c.state.in_(wanted)).order_by(builds.c.created, builds.c.id)

        return await self.look(lambda c: details.some_builds(c, query))

    async def builds_asked_for(self, person: str, since: datetime, until: datetime) -> list[datetime]:
        """Return when PERSON asked for builds after the moment SINCE and up to UNTIL, earliest first."""
        asked = builds.c.requested_by == person, builds.c.created > since, builds.c.created <= until
        query = select(builds.c.created).where(*asked).order_by(builds.c.created)
        return await self.look(lambda c: list(c.scalars(query)))

    async def builds_page(self, person: Person, wanted: BuildFilter, page: PageRequest) -> Page[Build]:
        """Return a page of the WANTED builds that PERSON may see, newest first."""
        return await self.look(lambda c: lists.builds_page(c, person, wanted, page))

    async def claim(self, but: Collection[BuildId] = ()) -> Build | None:
        """Take the build whose turn it is out of the queue into its first running state; None when it is nobody's.

        None of those in BUT, of which we have not yet ended what we were doing before.
        """

        def work(connection: Connection) -> Build | None:
            # Whoever was taken for gone is there again before it runs anything, or that would be taken from it too.
            services.beat(connection, self.service, self.process)
            return build_changes.claim(connection, self._limits, self.service, but)

        return await self.transaction(work)

    async def expectation(self, build: BuildId) -> Expectation | None:
        """Return when the turn of BUILD is to be expected; None for one that does not wait."""
        return await self.look(lambda c: line.expectation(c, build, self._limits))

    async def figures(self) -> Figures:
        """Return how much of everything there is."""
        return await self.look(figures)

    async def hinder(self, why: str) -> None:
        """Have every build that waits say WHY nothing begins."""
        waits = builds.c.state == BuildState.QUEUED.value, builds.c.phase != why
        await self.transaction(lambda c: c.execute(update(builds).where(*waits).values(phase=why)))

    async def everything_kept(self) -> Mapping[EnvironmentId, Mapping[VersionId, str]]:
        """Return every environment with its versions and their environment keys."""

        def work(connection: Connection) -> Mapping[EnvironmentId, Mapping[VersionId, str]]:
            found: dict[EnvironmentId, dict[VersionId, str]] = {
                EnvironmentId(each): {} for each in connection.scalars(select(environments.c.id))
            }
            for row in connection.execute(select(versions.c.environment, versions.c.id, versions.c.key)).mappings():
                found[EnvironmentId(row["environment"])][VersionId(row["id"])] = row["key"]
            return found

        return await self.look(work)

    async def move(self, build: BuildId, before: BuildState, after: BuildState) -> Build:
        """Take BUILD, which we run, from the state BEFORE to AFTER.  Raises `Conflict` when it is in another state."""

        def work(connection: Connection) -> Build:
            build_changes.check_runs(connection, build, self.service)
            return build_changes.move(connection, build, before, after, {})

        return await self.transaction(work)

    async def set_commit(self, build: BuildId, ref: str, commit: Commit, request_key: str) -> Build:
        """Note which commit BUILD is of, once that is known."""
        values = {"ref": ref, "commit": str(commit), "request_key": request_key}
        return await self.transaction(lambda c: build_changes.change(c, build, self.service, values))

    async def set_progress(self, build: BuildId, progress: Progress) -> Build:
        """Note how far BUILD is."""
        values = rows.progress_values(progress)
        return await self.transaction(lambda c: build_changes.change(c, build, self.service, values))

    async def finish(self, build: BuildId, state: BuildState, error: Mapping[str, object] | None = None) -> Build:
        """End BUILD as failed or cancelled.  Raises `Conflict` when it has ended already."""
        return await self.transaction(lambda c: build_changes.finish(c, build, state, error))

    async def finish_own(
        self, build: BuildId, state: BuildState, error: Mapping[str, object] | None = None, took: float | None = None
    ) -> Build:
        """End BUILD, as `finish` does, if it is still we who run it, which TOOK us seconds.  Raises `Conflict`."""

        def work(connection: Connection) -> Build:
            build_changes.check_runs(connection, build, self.service)
            return build_changes.finish(connection, build, state, error, took)

        return await self.transaction(work)

    async def take_over(self, build: BuildId, of: str | None) -> None:
        """Have BUILD, which the service OF ran, be ours.  Raises `Conflict` where another service was quicker."""

        def work(connection: Connection) -> None:
            build_changes.change(connection, build, of, {"service": self.service})

        await self.transaction(work)

    async def requeue(self, build: BuildId) -> Build:
        """Put BUILD, which is ours and was interrupted, back into the queue, in its old place.  Raises `Conflict`."""

        def work(connection: Connection) -> Build:
            build_changes.check_runs(connection, build, self.service)
            return build_changes.requeue(connection, build)

        return await self.transaction(work)

    async def complete(self, build: BuildId, made: Sequence[Version], took: float | None = None) -> Finished:
        """Declare BUILD ready with the versions MADE, and those current, unless an environment joined that has none yet.

        TOOK is how many seconds we were at it.
        """

        def work(connection: Connection) -> Finished:
            build_changes.check_runs(connection, build, self.service)
            return build_changes.complete(connection, build, made, took)

        return await self.transaction(work)

    # --- the services ------------------------------------------------------------

    async def beat(self) -> None:
        """Note that we are there."""
        await self.transaction(lambda c: services.beat(c, self.service, self.process))

    async def leave(self) -> None:
        """Note that we are gone."""
        await self.transaction(lambda c: services.leave(c, self.service))

    async def forget_service(self, service: Serving) -> None:
        """Note that SERVICE is gone, unless it was heard of since."""
        await self.transaction(lambda c: services.forget(c, service))

    async def other_services(self) -> list[Serving]:
        """Return who serves beside us."""
        return await self.look(lambda c: services.others(c, self.service))

    # --- the audit log ------------------------------------------------------------

    async def note(self, deed: Deed) -> None:
        """Add DEED, which is done elsewhere, to the audit log."""
        await self.transaction(lambda c: audit.note(c, deed))

    async def deeds_page(self, wanted: DeedFilter, page: PageRequest) -> Page[Deed]:
        """Return a page of the WANTED entries of the audit log, newest first."""
        return await self.look(lambda c: audit.page(c, wanted, page))
