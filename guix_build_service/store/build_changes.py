"""What becomes of builds, each as the work of one transaction.

A state transition names the state that it starts from and fails when the build is in another (`Conflict`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from guix_build_service.model.environments import FINAL, Build, BuildState, Version, now
from guix_build_service.model.turns import Limits
from guix_build_service.store import current, details, line, retention, rows
from guix_build_service.store.tables import builds, versions
from guix_environment.errors import Conflict
from guix_environment.identifiers import BuildId, EnvironmentId

IN_FLIGHT = [state.value for state in BuildState if state not in FINAL]


@dataclass(frozen=True, slots=True)
class Joined:
    """The build that a request led to."""

    build: Build
    created: bool
    """False where the same was in flight already."""
    superseded: tuple[BuildId, ...] = ()
    """Builds that wait for their turn no more, as this one is of a newer commit."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How the attempt to declare a build ready went."""

    build: Build
    missing: tuple[EnvironmentId, ...]
    """Environments that joined meanwhile and have no version yet: the build is ready once these have one too."""


def request(connection: Connection, build: Build, request_key: str | None) -> Joined:
    """Put BUILD into the queue, or have its environments wait for the same request where that is in flight already."""
    same = (
        select(builds.c.id)
        .where(builds.c.request_key == request_key, builds.c.force == build.force, builds.c.state.in_(IN_FLIGHT))
        .order_by(builds.c.created)
    )
    found = connection.scalars(same).first() if request_key else None
    if found is None:
        connection.execute(insert(builds).values(**rows.build_values(build, request_key)))
    joined = found or str(build.id)
    superseded = line.supersede(connection, build, joined)
    for environment in build.environments:
        current.ask(connection, environment, joined)
    return Joined(details.build(connection, BuildId(joined)), found is None, superseded)


def claim(connection: Connection, limits: Limits, service: str, but: Collection[BuildId]) -> Build | None:
    """Take the build whose turn it is out of the queue, for SERVICE to run it; None when it is nobody's.

    None of those in BUT, of which SERVICE has not yet ended what it was doing before.
    """
    turns = [build for build in line.turns_of(connection, limits)[0] if build not in but]
    if not turns:
        return None
    values = {"started": now(), "phase": "", "service": service}
    return move(connection, turns[0], BuildState.QUEUED, BuildState.RESOLVING, values)


def change(connection: Connection, build: BuildId, service: str | None, values: Mapping[str, object]) -> Build:
    """Have the row of BUILD hold VALUES, which are not its state.  Raises `Conflict` when SERVICE does not run it."""
    check_runs(connection, build, service)
    connection.execute(update(builds).where(builds.c.id == build).values(**values))
    return details.build(connection, build)


def finish(
    connection: Connection,
    build: BuildId,
    state: BuildState,
    error: Mapping[str, object] | None,
    took: float | None = None,
) -> Build:
    """End BUILD as failed or cancelled, after it TOOK seconds.  Raises `Conflict` when it has ended already."""
    before = details.build(connection, build)
    values = {"finished": _end(before, took), "error": dict(error) if error is not None else None, "phase": ""}
    return move(connection, build, before.state, state, values)


def requeue(connection: Connection, build: BuildId) -> Build:
    """Put a build that was interrupted back into the queue, in its old place.  Raises `Conflict`."""
    before = details.build(connection, build).state
    values = {"started": None, "phase": "", "done": 0, "total": 0, "service": None}
    return move(connection, build, before, BuildState.QUEUED, values)


def check_runs(connection: Connection, build: BuildId, service: str | None) -> None:
    """Raise `Conflict` where it is not SERVICE that runs BUILD, as when it was taken for gone meanwhile."""
    if connection.scalars(select(builds.c.service).where(builds.c.id == build)).one_or_none() != service:
        raise Conflict("Another service runs this build.")


def complete(connection: Connection, build: BuildId, made: Sequence[Version], took: float | None = None) -> Finished:
    """Declare BUILD ready with the versions MADE, unless an environment joined that has none yet; TOOK seconds it was run.

    They are current, but for environments that start by now from what was asked for after it.
    """
    before = details.build(connection, build)
    waiting_now = before.environments
    missing = tuple(set(waiting_now) - {version.environment for version in made})
    if missing:
        return Finished(details.build(connection, build), missing)
    for version in made:
        if version.environment not in waiting_now:
            continue  # deleted meanwhile
        moment = current.after_all(
            connection, versions.c.created, versions.c.environment == version.environment, version.created
        )
        connection.execute(insert(versions).values(**rows.version_values(replace(version, created=moment))))
        retention.keep_again(connection, version.key, version.profile)
        current.become(connection, version.environment, version.id, build)
    values = {"finished": _end(before, took), "error": None, "phase": ""}
    return Finished(move(connection, build, BuildState.BUILDING, BuildState.READY, values), ())


def move(
    connection: Connection, build: BuildId, before: BuildState, after: BuildState, values: Mapping[str, object]
) -> Build:
    """Take BUILD from the state BEFORE to AFTER, with VALUES in its row.  Raises `Conflict`."""
    if not before.may_become(after):
        raise Conflict(f"A build that is {before.value} cannot become {after.value}.")
    query = update(builds).where(builds.c.id == build, builds.c.state == before.value).values(state=after.value, **values)
    if connection.execute(query).rowcount != 1:
        raise Conflict(f"This build is no longer {before.value}.")
    return details.build(connection, build)


def _end(build: Build, took: float | None) -> datetime:
    """Return when BUILD ended, if it TOOK these seconds by a clock that does not leap; the present moment without."""
    return now() if took is None or build.started is None else build.started + timedelta(seconds=took)
