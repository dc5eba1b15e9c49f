"""The processes that serve with one database, and when each of them was heard of last.

Only a database of a server's is shared.  One in a file has one service, beside which nobody is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from guix_build_service.store.tables import services


@dataclass(frozen=True, slots=True)
class Serving:
    """A process that serves, or served until it was not heard of any more."""

    id: str
    process: Mapping[str, object]
    """As `guix_environment.process_identity.to_record` has it."""
    seen: datetime
    """When it was last heard of, by the database's clock."""


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


def forget(connection: Connection, service: Serving) -> None:
    """Note that SERVICE is gone, unless it was heard of since."""
    unheard = services.c.id == service.id, services.c.seen == service.seen
    connection.execute(delete(services).where(*unheard))


def others(connection: Connection, service: str) -> list[Serving]:
    """Return all services but SERVICE."""
    if not is_shared(connection):
        return []
    found = connection.execute(select(services).where(services.c.id != service)).mappings()
    return [Serving(row["id"], row["process"], row["seen"]) for row in found]


def _moment(connection: Connection) -> datetime:
    """Return the database's own time, as machines' clocks differ."""
    told: datetime = connection.scalars(select(func.timezone("UTC", func.clock_timestamp()))).one()
    return told.replace(tzinfo=UTC)
