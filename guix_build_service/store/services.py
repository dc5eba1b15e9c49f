"""The processes that serve with one database: who is there, and who was not heard of for so long that they count as gone.

Only a database of a server's is shared.  One in a file has one service, beside which nobody is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from guix_build_service.model.environments import now
from guix_build_service.store.tables import services

LEASE = timedelta(seconds=90)
"""How long a service that is not heard of still counts as running its builds."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A process that serves, or served until it was not heard of any more."""

    id: str
    process: Mapping[str, object]
    """As `guix_environment.processes.to_record` has it."""
    heard_of: bool
    """Whether that was within its lease."""


def is_shared(connection: Connection) -> bool:
    """Tell whether several processes can use this database."""
    return connection.dialect.name == "postgresql"


def beat(connection: Connection, service: str, process: Mapping[str, object]) -> None:
    """Note that SERVICE, which is PROCESS, was heard of, also if it was taken for gone."""
    if not is_shared(connection):
        return
    moment = _moment(connection)
    known = update(services).where(services.c.id == service).values(seen=moment)
    if connection.execute(known).rowcount == 0:
        connection.execute(insert(services).values(id=service, process=dict(process), seen=moment))


def leave(connection: Connection, service: str) -> None:
    """Note that SERVICE is gone."""
    connection.execute(delete(services).where(services.c.id == service))


def others(connection: Connection, service: str) -> list[Serving]:
    """Return all services but SERVICE."""
    if not is_shared(connection):
        return []
    since = _moment(connection) - LEASE
    found = connection.execute(select(services).where(services.c.id != service)).mappings()
    return [Serving(row["id"], row["process"], row["seen"] >= since) for row in found]


def _moment(connection: Connection) -> datetime:
    """Return the database's own time, as machines' clocks differ."""
    if not is_shared(connection):
        return now()
    told: datetime = connection.scalars(select(func.timezone("UTC", func.clock_timestamp()))).one()
    return told.replace(tzinfo=UTC)
