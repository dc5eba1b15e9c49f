"""Builds and environments put together from the rows of several tables."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, Select, func, select

from guix_build_service.model.environments import Build, Environment, EnvironmentDetail, Version
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
    found = list(connection.execute(query).mappings())
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
    found = list(connection.execute(query).mappings())
    shared = select(sharing).where(sharing.c.environment.in_([row["id"] for row in found])).order_by(sharing.c.place)
    groups: dict[str, list[str]] = {}
    for row in connection.execute(shared).mappings():
        groups.setdefault(row["environment"], []).append(row["name"])
    shared_by_name = _members_of(connection, [row["id"] for row in found])
    return [rows.environment(row, groups.get(row["id"], ()), shared_by_name.get(row["id"], ())) for row in found]


def environments_of_build(connection: Connection, build: BuildId) -> list[Environment]:
    """Return the environments that BUILD is for, in the order in which they asked."""
    query = select(environments).join(waiting, waiting.c.environment == environments.c.id).where(waiting.c.build == build)
    return some_environments(connection, query.order_by(waiting.c.joined, waiting.c.environment))


def _members_of(connection: Connection, identifiers: Sequence[str]) -> dict[str, list[Member]]:
    """Return with whom each environment is shared by name, in any order."""
    query = select(members).where(members.c.environment.in_(identifiers))
    found: dict[str, list[Member]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["environment"], []).append(rows.member(row))
    return found


def details(connection: Connection, query: "Select[tuple[object, ...]]") -> list[EnvironmentDetail]:
    """Return the environments whose rows QUERY gives, each with its latest build and its current version."""
    found = some_environments(connection, query)
    latest = _latest_builds(connection, [value.id for value in found])
    current = _versions(connection, [value.current for value in found if value.current])
    return [EnvironmentDetail(value, latest.get(value.id), current.get(value.current or "")) for value in found]


def _versions(connection: Connection, identifiers: Sequence[str]) -> dict[str, Version]:
    query = select(versions).where(versions.c.id.in_(identifiers))
    return {row["id"]: rows.version(row) for row in connection.execute(query).mappings()}


def _latest_builds(connection: Connection, identifiers: Sequence[str]) -> dict[str, Build]:
    """Return the latest build of each environment."""
    age = func.row_number().over(partition_by=waiting.c.environment, order_by=waiting.c.joined.desc())
    joined = select(waiting.c.environment, waiting.c.build, age.label("age")).where(waiting.c.environment.in_(identifiers))
    aged = joined.subquery()
    query = select(aged.c.environment, builds).join(builds, builds.c.id == aged.c.build).where(aged.c.age == 1)
    newest: dict[str, RowMapping] = {row["environment"]: row for row in connection.execute(query).mappings()}
    members = _members(connection, [row["id"] for row in newest.values()])
    return {environment: rows.build(row, members[row["id"]]) for environment, row in newest.items()}


def _members(connection: Connection, identifiers: Sequence[str]) -> dict[str, list[str]]:
    """Return the environments that wait for each build, in the order in which they asked."""
    query = select(waiting).where(waiting.c.build.in_(identifiers)).order_by(waiting.c.joined, waiting.c.environment)
    found: dict[str, list[str]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["build"], []).append(row["environment"])
    return found
