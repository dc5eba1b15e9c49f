"""Lists, page by page: what somebody may see of what they want, found by the database itself.

A page begins behind a place, not at a number, so that nothing is told twice or left out when rows come and go meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, case, false, func, or_, select, true, tuple_

from guix_build_service.model.environments import (
    Build,
    BuildFilter,
    BuildState,
    EnvironmentDetail,
    EnvironmentFilter,
    Page,
    PageRequest,
    Person,
    Place,
    Version,
)
from guix_build_service.model.members import MemberKind
from guix_build_service.store import rows
from guix_build_service.store.details import details, latest_build, some_builds
from guix_build_service.store.tables import builds, environments, members, sharing, versions, waiting
from guix_environment.errors import InvalidInput, NotFound
from guix_environment.identifiers import BuildId, EnvironmentId
from guix_environment.records import Visibility

_Query = Select[tuple[Any, ...]]

_WITHOUT_BUILD = frozenset({BuildState.READY, BuildState.QUEUED})
"""What an environment may be that no build was ever for."""


class Entry(Protocol):
    """What is listed by when it came."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def created(self) -> datetime:
        """When it came."""


def environments_page(
    connection: Connection, person: Person, wanted: EnvironmentFilter, page: PageRequest
) -> Page[EnvironmentDetail]:
    """Return a page of the WANTED environments that PERSON may see, by name."""
    order = (environments.c.sorted_as, environments.c.id)
    query = select(environments).where(_may_see(person), *_conditions(wanted)).order_by(*order).limit(page.limit + 1)
    if page.after is not None:
        query = query.where(tuple_(*order) > tuple_(page.after.key, page.after.id))
    found = details(connection, query)
    last = found[: page.limit][-1].environment if found else None
    following = Place(last.name.casefold(), last.id) if last and len(found) > page.limit else None
    return Page(tuple(found[: page.limit]), following)


def versions_page(connection: Connection, environment: EnvironmentId, page: PageRequest) -> Page[Version]:
    """Return a page of the versions of ENVIRONMENT, newest first."""
    query = newest_first(versions, page).where(versions.c.environment == environment)
    found = [rows.version(row) for row in connection.execute(query).mappings()]
    return Page(tuple(found[: page.limit]), place(found, page))


def builds_page(connection: Connection, person: Person, wanted: BuildFilter, page: PageRequest) -> Page[Build]:
    """Return a page of the WANTED builds that PERSON may see, newest first: those they asked for, and of what they see."""
    query = newest_first(builds, page).where(_may_see_build(person))
    if wanted.environment is not None:
        query = query.where(builds.c.id.in_(select(waiting.c.build).where(waiting.c.environment == wanted.environment)))
    if wanted.state is not None:
        query = query.where(builds.c.state == wanted.state.value)
    if wanted.repository is not None:
        query = query.where(builds.c.repository == str(wanted.repository))
    if wanted.requested_by is not None:
        query = query.where(builds.c.requested_by == wanted.requested_by)
        # Whose build it is, only they and administrators are told.
        query = query.where(true() if person.admin or person.name == wanted.requested_by else false())
    found = some_builds(connection, query)
    return Page(tuple(found[: page.limit]), place(found, page))


def build_seen_by(connection: Connection, person: Person, build: BuildId) -> Build:
    """Return one build that PERSON may see.  Raises `NotFound`."""
    found = some_builds(connection, select(builds).where(builds.c.id == build, _may_see_build(person)))
    if not found:
        raise NotFound("There is no such build.")
    return found[0]


def _may_see(person: Person) -> ColumnElement[bool]:
    """Return the condition that PERSON may see an environment, as `Environment.may_be_seen_by` has it."""
    if person.admin:
        return true()
    shared = select(sharing.c.environment).where(sharing.c.name.in_(sorted(person.groups)))
    return or_(
        environments.c.owner == person.name,
        environments.c.visibility == Visibility.EVERYONE.value,
        and_(environments.c.visibility == Visibility.GROUPS.value, environments.c.id.in_(shared)),
        environments.c.id.in_(_shared_by_name(person)),
    )


def _may_see_build(person: Person) -> ColumnElement[bool]:
    """Return the condition that PERSON may see a build: they asked for it, or see an environment that it is for."""
    if person.admin:
        return true()
    joined = select(waiting.c.build).join(environments, environments.c.id == waiting.c.environment)
    seen = joined.where(waiting.c.build == builds.c.id, _may_see(person)).correlate(builds)
    return or_(builds.c.requested_by == person.name, seen.exists())


def _shared_by_name(person: Person) -> Select[tuple[str]]:
    """Return the query for the environments of which PERSON is a member, or one of their groups."""
    is_user = and_(members.c.kind == MemberKind.USER.value, members.c.name == person.name)
    in_group = and_(members.c.kind == MemberKind.GROUP.value, members.c.name.in_(sorted(person.groups)))
    return select(members.c.environment).where(or_(is_user, in_group))


def _conditions(wanted: EnvironmentFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.owner is not None:
        found.append(environments.c.owner == wanted.owner)
    if wanted.visibility is not None:
        found.append(environments.c.visibility == wanted.visibility.value)
    if wanted.repository is not None:
        found.append(environments.c.repository == str(wanted.repository))
    if wanted.startable:
        found.append(environments.c.current.is_not(None))
    if wanted.text is not None:
        named = environments.c.sorted_as.contains(wanted.text.casefold(), autoescape=True)
        columns = (environments.c.description, environments.c.repository)
        found.append(or_(named, *(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if wanted.state is not None:
        if wanted.state not in _WITHOUT_BUILD:
            having = select(waiting.c.environment).join(builds, builds.c.id == waiting.c.build)
            found.append(environments.c.id.in_(having.where(builds.c.state == wanted.state.value)))  # seldom many
        found.append(_state() == wanted.state.value)
    return found


def _state() -> ColumnElement[str]:
    """Return the state of an environment, as `EnvironmentDetail.state` has it."""
    latest = select(builds.c.state).where(builds.c.id == latest_build(environments)).scalar_subquery()
    without = case((environments.c.current.is_not(None), BuildState.READY.value), else_=BuildState.QUEUED.value)
    return func.coalesce(latest, without)


def newest_first(table: Table, page: PageRequest) -> _Query:
    """Return the query for PAGE of TABLE, whose rows have a moment ``created``, and for one row of what follows.

    Raises `InvalidInput` where its place is none of such a list.
    """
    query = select(table).order_by(table.c.created.desc(), table.c.id.desc()).limit(page.limit + 1)
    if page.after is None:
        return query
    try:
        moment = datetime.fromisoformat(page.after.key)
    except ValueError as error:
        raise InvalidInput("This is not where the list goes on.", hint="Begin it again, without a cursor.") from error
    older = and_(table.c.created == moment, table.c.id < page.after.id)
    return query.where(or_(table.c.created < moment, older))


def place(found: Sequence[Entry], page: PageRequest) -> Place | None:
    """Return where the list goes on behind PAGE, for which `newest_first` FOUND this; None where it does not."""
    if len(found) <= page.limit:
        return None
    last = found[page.limit - 1]
    return Place(last.created.isoformat(), last.id)
