"""What an environment was asked for last, and so which of its versions is current: the one that sessions start from.

Builds end in another order than they were asked for, and people go back to a version while something is being built.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, func, insert, select, update

from guix_build_service.model.environments import now
from guix_build_service.store.tables import environments, versions, waiting
from guix_environment.errors import NotFound
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId


def ask(connection: Connection, environment: EnvironmentId, build: str) -> None:
    """Note that what ENVIRONMENT asked for last is BUILD, also where it asked for that before."""
    asked = select(waiting.c.build).where(waiting.c.environment == environment).order_by(waiting.c.joined.desc())
    builds_asked_for = list(connection.scalars(asked))
    if builds_asked_for[:1] == [build] and not _is_overtaken(connection, environment, build):
        return
    moment = _after_what_was_asked(connection, environment)
    if build in builds_asked_for:
        again = waiting.c.build == build, waiting.c.environment == environment
        connection.execute(update(waiting).where(*again).values(joined=moment))
    else:
        connection.execute(insert(waiting).values(build=build, environment=str(environment), joined=moment))


def choose(connection: Connection, environment: EnvironmentId, version: VersionId) -> None:
    """Make VERSION of ENVIRONMENT current, whatever is built that was asked for before.  Raises `NotFound`."""
    known = select(versions.c.id).where(versions.c.id == version, versions.c.environment == environment)
    if connection.execute(known).first() is None:
        raise NotFound("This environment has no such version.")
    _set(connection, environment, version, _after_what_was_asked(connection, environment))


def become(connection: Connection, environment: EnvironmentId, version: VersionId, build: BuildId) -> None:
    """Make VERSION of ENVIRONMENT current, as BUILD made it, unless what is current was asked for after that."""
    if not _is_overtaken(connection, environment, build):
        _set(connection, environment, version, connection.scalars(_asked(environment, build)).one())


def after_all(
    connection: Connection, column: ColumnElement[datetime], of: ColumnElement[bool], moment: datetime
) -> datetime:
    """Return MOMENT, or what comes right after the newest in COLUMN of the rows OF where the clock was put back since.

    What came last is to be the last, whatever the clock says.
    """
    newest: datetime | None = connection.scalars(select(func.max(column)).where(of)).one()
    return moment if newest is None else max(moment, newest + timedelta(microseconds=1))


def _after_what_was_asked(connection: Connection, environment: EnvironmentId) -> datetime:
    moment = after_all(connection, waiting.c.joined, waiting.c.environment == environment, now())
    return after_all(connection, environments.c.chosen, environments.c.id == environment, moment)


def _asked(environment: EnvironmentId, build: str) -> Select[datetime]:
    return select(waiting.c.joined).where(waiting.c.environment == environment, waiting.c.build == build)


def _is_overtaken(connection: Connection, environment: EnvironmentId, build: str) -> bool:
    """Tell whether what is current in ENVIRONMENT was asked for after BUILD."""
    later = environments.c.chosen > _asked(environment, build).scalar_subquery()
    return connection.execute(select(environments.c.id).where(environments.c.id == environment, later)).first() is not None


def _set(connection: Connection, environment: EnvironmentId, version: VersionId, chosen: datetime) -> None:
    changed = {"current": str(version), "chosen": chosen, "updated": now()}
    connection.execute(update(environments).where(environments.c.id == environment).values(**changed))
