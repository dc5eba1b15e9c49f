"""Builds that wait: whose turn it is, when another's is to be expected, and which need no longer wait."""

from collections.abc import Collection, Mapping
from datetime import datetime
from statistics import median

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from guix_build_service.model.environments import RUNNING, Build, BuildState, Expectation, now
from guix_build_service.model.turns import Limits, Request, Served, turns
from guix_build_service.store.tables import builds, waiting
from guix_environment.errors import BuildSuperseded
from guix_environment.identifiers import BuildId

SAMPLE = 20
"""Builds that became ready last, from which is told how long one takes."""


def turns_of(connection: Connection, limits: Limits) -> tuple[list[BuildId], list[BuildId]]:
    """Return the builds that wait, as `turns.turns` does."""
    waits, runs = _requests(connection, [BuildState.QUEUED.value]), _requests(connection, [each.value for each in RUNNING])
    served = Served(
        _last_served(connection, builds.c.requested_by, {each.person for each in waits}),
        _last_served(connection, builds.c.repository, {each.repository for each in waits}),
    )
    return turns(waits, runs, served, limits)


def expectation(connection: Connection, build: BuildId, limits: Limits) -> Expectation | None:
    """Return when the turn of BUILD is to be expected; None for one that does not wait."""
    now_next, later = turns_of(connection, limits)
    order = [*now_next, *later]
    if build not in order:
        return None
    position = order.index(build) + 1
    ready = select(builds.c.started, builds.c.finished).where(builds.c.state == BuildState.READY.value)
    sample = connection.execute(ready.order_by(builds.c.finished.desc()).limit(SAMPLE)).all()
    took = [(finished - started).total_seconds() for started, finished in sample if started and finished]
    # Ahead of it are those that wait before it and, on average, a half of each that runs.
    ahead = (position - 1) / limits.in_all + (0 if build in now_next else 0.5)
    return Expectation(position, max(0.0, median(took) * ahead) if took else None)


def supersede(connection: Connection, newer: Build, joined: str) -> tuple[BuildId, ...]:
    """Have environments that wait for the build JOINED, of which NEWER is what was asked for, wait for no older one.

    Only where that is of the same ref and its turn has not come; it is cancelled when nobody else waits for it. Returns
    what was cancelled.
    """
    if not newer.ref:
        return ()
    cancelled: list[BuildId] = []
    older = select(builds.c.id).where(
        builds.c.state == BuildState.QUEUED.value,
        builds.c.repository == str(newer.repository),
        builds.c.ref == newer.ref,
        builds.c.subdirectory == newer.subdirectory,
        builds.c.commit != str(newer.commit),
        builds.c.id != joined,
    )
    for build in list(connection.scalars(older)):
        others = select(waiting.c.environment).where(
            waiting.c.build == build, waiting.c.environment.not_in(newer.environments)
        )
        if connection.scalars(others).first() is not None:
            leaving = waiting.c.build == build, waiting.c.environment.in_(newer.environments)
            connection.execute(delete(waiting).where(*leaving))
            continue
        error = BuildSuperseded(
            f"A newer commit of {newer.ref} was asked for before this one's turn.", details={"build": joined}
        )
        values = {"state": BuildState.CANCELLED.value, "finished": now(), "error": error.as_json(), "phase": ""}
        connection.execute(update(builds).where(builds.c.id == build).values(**values))
        cancelled.append(BuildId(build))
    return tuple(cancelled)


def _last_served(connection: Connection, column: ColumnElement[str], names: Collection[str]) -> Mapping[str, datetime]:
    """Return when a build with each of NAMES in COLUMN began last."""
    # Who was served while the clock was ahead would otherwise come last until it is there again.
    last = select(column, func.max(builds.c.started)).where(builds.c.started <= now(), column.in_(names)).group_by(column)
    return {row[0]: row[1] for row in connection.execute(last)}


def _requests(connection: Connection, states: list[str]) -> list[Request]:
    query = select(builds.c.id, builds.c.requested_by, builds.c.repository).where(builds.c.state.in_(states))
    found = connection.execute(query.order_by(builds.c.created, builds.c.id))
    return [Request(BuildId(build), person, repository) for build, person, repository in found]
