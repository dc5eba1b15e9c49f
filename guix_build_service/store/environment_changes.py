"""What becomes of environments, each as the work of one transaction."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from guix_build_service.model.environments import Environment, now
from guix_build_service.store import details, rows, uses
from guix_build_service.store.build_changes import IN_FLIGHT
from guix_build_service.store.tables import builds, environments, members, removals, sharing, versions, waiting
from guix_environment.errors import ChangedMeanwhile, NotFound
from guix_environment.identifiers import BuildId, EnvironmentId


@dataclass(frozen=True, slots=True)
class Removal:
    """A deleted environment whose files are to go."""

    environment: EnvironmentId
    keys: tuple[str, ...]
    """Environment keys of its versions: their roots go when nothing else has them."""


def add(connection: Connection, environment: Environment) -> None:
    """Remember a new ENVIRONMENT."""
    connection.execute(insert(environments).values(**rows.environment_values(environment)))
    _share(connection, environment)


def change(
    connection: Connection,
    environment: EnvironmentId,
    make: Callable[[Environment], Environment],
    seen: datetime | None,
) -> tuple[Environment, Environment]:
    """Put what MAKE makes of ENVIRONMENT in its place; return it before and after.  Raises as `Store.change_environment`."""
    before = details.environment(connection, environment)
    _check_seen(before, seen)
    after = replace(make(before), updated=now())
    values = dict(rows.environment_values(after))
    values.pop("current")  # set by `current` alone
    connection.execute(update(environments).where(environments.c.id == environment).values(**values))
    _share(connection, after)
    return before, after


def remove(connection: Connection, environment: EnvironmentId, seen: datetime | None) -> tuple[BuildId, ...]:
    """Forget ENVIRONMENT and note that its files are to go; return the builds that nobody waits for now."""
    _check_seen(details.environment(connection, environment), seen)
    keys = select(versions.c.key).where(versions.c.environment == environment).distinct()
    removal = {"environment": str(environment), "keys": list(connection.scalars(keys))}
    in_flight = (
        select(builds.c.id)
        .join(waiting, waiting.c.build == builds.c.id)
        .where(waiting.c.environment == environment, builds.c.state.in_(IN_FLIGHT))
    )
    concerned = list(connection.scalars(in_flight))
    if connection.execute(delete(environments).where(environments.c.id == environment)).rowcount != 1:
        raise NotFound("There is no such environment.")
    connection.execute(insert(removals).values(**removal))
    uses.forget_unknown(connection)
    wanted = set(connection.scalars(select(waiting.c.build).where(waiting.c.build.in_(concerned))))
    return tuple(BuildId(build) for build in concerned if build not in wanted)


def some_removals(connection: Connection) -> list[Removal]:
    """Return the environments whose files are still to go."""
    found = connection.execute(select(removals)).mappings()
    return [Removal(EnvironmentId(row["environment"]), tuple(row["keys"])) for row in found]


def _share(connection: Connection, environment: Environment) -> None:
    """Have the groups and members of ENVIRONMENT be those that it is shared with."""
    connection.execute(delete(sharing).where(sharing.c.environment == environment.id))
    values = [
        {"environment": str(environment.id), "place": place, "name": name} for place, name in enumerate(environment.groups)
    ]
    if values:
        connection.execute(insert(sharing), values)
    connection.execute(delete(members).where(members.c.environment == environment.id))
    named = [
        {"environment": str(environment.id), "kind": each.kind.value, "name": each.name, "role": each.role.value}
        for each in environment.members
    ]
    if named:
        connection.execute(insert(members), named)


def _check_seen(environment: Environment, seen: datetime | None) -> None:
    if seen is not None and environment.updated != seen:
        raise ChangedMeanwhile("This environment was changed meanwhile.", hint="Look at it again, then change it.")
