"""Builds and environments put together from the rows of several tables."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ARRAY, Column, ColumnElement, Connection, FromClause, ScalarSelect, Select, any_, literal, select

from guix_build_service.model.environments import Build, Environment, EnvironmentDetail
from guix_build_service.model.members import Member
from guix_build_service.store import rows
from guix_build_service.store.tables import builds, environments, members, sharing, versions, waiting
from guix_environment.errors import NotFound
from guix_environment.identifiers import BuildId, EnvironmentId


def build(connection: Connection, identifier: BuildId) -> Build:
    """Return one build.  Raises `NotFound`."""
    found = some_builds(connection, select(builds).where(builds.c.id == identifier))
    if not found:
        raise NotFound("There is no such build.")
    return found[0]


def some_builds(connection: Connection, query: "Select[tuple[object, ...]]") -> list[Build]:
    """Return the builds whose rows QUERY gives, in its order."""
    found = connection.execute(query).mappings().all()
    members = _members(connection, [row["id"] for row in found])
    return [rows.build(row, members.get(row["id"], ())) for row in found]


def environment(connection: Connection, identifier: EnvironmentId) -> Environment:
    """Return one environment.  Raises `NotFound`."""
    found = some_environments(connection, select(environments).where(environments.c.id == identifier))
    if not found:
        raise NotFound("There is no such environment.")
    return found[0]


def some_environments(connection: Connection, query: "Select[tuple[object, ...]]") -> list[Environment]:
    """Return the environments whose rows QUERY gives, in its order."""
    return _environments(connection, connection.execute(query).mappings().all())


def environments_of_build(connection: Connection, build: BuildId) -> list[Environment]:
    """Return the environments that BUILD is for, in the order in which they asked."""
    query = select(environments).join(waiting, waiting.c.environment == environments.c.id).where(waiting.c.build == build)
    return some_environments(connection, query.order_by(waiting.c.joined, waiting.c.environment))


def details(connection: Connection, query: "Select[tuple[object, ...]]") -> list[EnvironmentDetail]:
    """Return the environments whose rows QUERY gives, by name, each with its latest build and its current version."""
    shown = query.subquery()  # of these alone builds and versions are looked for
    joined = (
        select(shown, builds, versions)
        .select_from(shown)
        .outerjoin(builds, builds.c.id == latest_build(shown))
        .outerjoin(versions, versions.c.id == shown.c.current)
        .order_by(shown.c.sorted_as, shown.c.id)
    )
    names = (environments.c.keys(), builds.c.keys(), versions.c.keys())
    found = [_parted(row, names) for row in connection.execute(joined).all()]
    known = _environments(connection, [row for row, _, _ in found])
    made = _members(connection, [build["id"] for _, build, _ in found if build["id"]])
    return [
        EnvironmentDetail(
            environment,
            rows.build(build, made[build["id"]]) if build["id"] else None,
            rows.version(version) if version["id"] else None,
        )
        for environment, (_, build, version) in zip(known, found, strict=True)
    ]


def latest_build(of: FromClause) -> ScalarSelect[str]:
    """Return the query for the latest build of an environment, whose row OF gives in a query somewhere around it."""
    query = select(waiting.c.build).where(waiting.c.environment == of.c.id).order_by(waiting.c.joined.desc()).limit(1)
    return query.correlate(of).scalar_subquery()


def _parted(row: Iterable[object], names: Sequence[Sequence[str]]) -> list[rows.Values]:
    """Return ROW, in which rows of several tables stand side by side, as those rows, whose columns have these NAMES."""
    values = iter(row)
    return [dict(zip(of_table, values, strict=False)) for of_table in names]


def _environments(connection: Connection, found: Sequence[rows.Row]) -> list[Environment]:
    """Return the environments of which these rows were FOUND, in their order."""
    identifiers = [row["id"] for row in found]
    groups, shared_by_name = _groups_of(connection, identifiers), _members_of(connection, identifiers)
    return [rows.environment(row, groups.get(row["id"], ()), shared_by_name.get(row["id"], ())) for row in found]


def _groups_of(connection: Connection, identifiers: Sequence[str]) -> dict[str, list[str]]:
    """Return the groups that each environment is shared with, in the order in which they were named."""
    query = select(sharing).where(_among(connection, sharing.c.environment, identifiers)).order_by(sharing.c.place)
    found: dict[str, list[str]] = {}
    for row in connection.execute(query).mappings().all():
        found.setdefault(row["environment"], []).append(row["name"])
    return found


def _members_of(connection: Connection, identifiers: Sequence[str]) -> dict[str, list[Member]]:
    """Return with whom each environment is shared by name, in any order."""
    query = select(members).where(_among(connection, members.c.environment, identifiers))
    found: dict[str, list[Member]] = {}
    for row in connection.execute(query).mappings().all():
        found.setdefault(row["environment"], []).append(rows.member(row))
    return found


def _members(connection: Connection, identifiers: Sequence[str]) -> dict[str, list[str]]:
    """Return the environments that wait for each build, in the order in which they asked."""
    query = select(waiting).where(_among(connection, waiting.c.build, identifiers))
    found: dict[str, list[str]] = {}
    for row in connection.execute(query.order_by(waiting.c.joined, waiting.c.environment)).mappings().all():
        found.setdefault(row["build"], []).append(row["environment"])
    return found


def _among(connection: Connection, column: Column[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that COLUMN is one of VALUES.

    PostgreSQL is given one list in place of a hundred parameters, with which its driver and its planner would be busier
    than the search itself.
    """
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), ARRAY(column.type)))
    return column.in_(values)
