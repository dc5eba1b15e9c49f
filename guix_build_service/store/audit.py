"""The audit log's rows, which are only ever added."""

from sqlalchemy import ColumnElement, Connection, RowMapping, insert

from guix_build_service.logs.audit import Action, Deed, DeedFilter
from guix_build_service.model.environments import Page, PageRequest
from guix_build_service.store import lists
from guix_build_service.store.tables import audit
from guix_environment.identifiers import BuildId, EnvironmentId, Token


def note(connection: Connection, deed: Deed | None) -> None:
    """Add DEED, if there is one, within the transaction that does it."""
    if deed is None:
        return
    values = {
        "id": str(deed.id),
        "created": deed.created,
        "who": deed.who,
        "action": deed.action.value,
        "environment": str(deed.environment) if deed.environment else None,
        "owner": deed.owner,
        "build": str(deed.build) if deed.build else None,
        "about": dict(deed.about),
    }
    connection.execute(insert(audit).values(**values))


def page(connection: Connection, wanted: DeedFilter, request: PageRequest) -> Page[Deed]:
    """Return a page of the WANTED entries, newest first."""
    query = lists.newest_first(audit, request).where(*_conditions(wanted))
    found = [_deed(row) for row in connection.execute(query).mappings()]
    return Page(tuple(found[: request.limit]), lists.place(found, request))


def _conditions(wanted: DeedFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.who is not None:
        found.append(audit.c.who == wanted.who)
    if wanted.action is not None:
        found.append(audit.c.action == wanted.action.value)
    if wanted.environment is not None:
        found.append(audit.c.environment == str(wanted.environment))
    if wanted.owner is not None:
        found.append(audit.c.owner == wanted.owner)
    if wanted.since is not None:
        found.append(audit.c.created >= wanted.since)
    if wanted.until is not None:
        found.append(audit.c.created < wanted.until)
    return found


def _deed(row: RowMapping) -> Deed:
    return Deed(
        who=row["who"],
        action=Action(row["action"]),
        environment=EnvironmentId(row["environment"]) if row["environment"] else None,
        owner=row["owner"],
        build=BuildId(row["build"]) if row["build"] else None,
        about=row["about"],
        created=row["created"],
        id=Token(row["id"]),
    )
