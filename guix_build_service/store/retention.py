"""Which profiles are kept, and which were let go: every change of that as one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select, update

from guix_build_service.logs.audit import Deed
from guix_build_service.model.environments import Version
from guix_build_service.model.retention import Holder, Holding
from guix_build_service.store import audit, rows, uses
from guix_build_service.store.database import Database
from guix_build_service.store.tables import audit as audit_log
from guix_build_service.store.tables import builds, environments, versions
from guix_build_service.store.tables import uses as used_then
from guix_environment.errors import Conflict, NotFound
from guix_environment.identifiers import Commit, EnvironmentId, StorePath, VersionId
from guix_environment.records import LetGo


@dataclass(frozen=True, slots=True)
class RetentionRows:
    """What the database knows of profiles that are kept and of those that are not."""

    database: Database

    async def holdings(self) -> list[Holding]:
        """Return every profile that is kept, with the versions that have it."""
        return await self.database.look(_holdings)

    async def last_written(self) -> datetime | None:
        """Return the newest moment that anybody has written down; None in a database where nothing has happened."""
        moments = [builds.c.created, builds.c.finished, audit_log.c.created, used_then.c.used]
        newest = [select(func.max(each)) for each in moments]
        found = await self.database.look(lambda c: [c.scalars(query).one() for query in newest])
        return max((moment for moment in found if moment is not None), default=None)

    async def let_go(self, holding: Holding, letting_go: LetGo, deeds: Sequence[Deed]) -> bool:
        """Note that HOLDING is no longer kept, and return True; False where it is not as it was any more."""

        def work(connection: Connection) -> bool:
            kept = versions.c.key == holding.key, versions.c.profile == holding.profile
            if _holdings(connection, *kept) != [holding]:
                return False
            values = {"let_go": letting_go.since, "let_go_why": letting_go.why}
            connection.execute(update(versions).where(*kept, versions.c.let_go.is_(None)).values(**values))
            for deed in deeds:
                audit.note(connection, deed)
            return True

        return await self.database.transaction(work)

    async def keep_again(self, key: str, profile: StorePath) -> None:
        """Note that PROFILE of KEY is kept after all."""
        await self.database.transaction(lambda c: keep_again(c, key, profile))

    async def all_let_go(self) -> list[Version]:
        """Return the versions whose profile is not kept."""
        query = select(versions).where(versions.c.let_go.is_not(None))
        return await self.database.look(lambda c: [rows.version(row) for row in c.execute(query).mappings()])

    async def pin(self, environment: EnvironmentId, version: VersionId, *, pinned: bool, deed: Deed) -> Version:
        """Have VERSION be PINNED or not; tell of it only where it was not so.  Raises `NotFound`."""

        def work(connection: Connection) -> Version:
            before = _version(connection, environment, version)
            if before.pinned != pinned:
                connection.execute(update(versions).where(versions.c.id == version).values(pinned=pinned))
                audit.note(connection, deed)
            return replace(before, pinned=pinned)

        return await self.database.transaction(work)

    async def remove_version(self, environment: EnvironmentId, version: VersionId, deed: Deed) -> Version:
        """Forget VERSION and return what it was.  Raises `NotFound`, and `Conflict` for the current one."""

        def work(connection: Connection) -> Version:
            before = _version(connection, environment, version)
            current = connection.scalars(select(environments.c.current).where(environments.c.id == environment)).one()
            if current == version:
                raise Conflict(
                    "This is the version that the environment starts from.",
                    hint="Go back to another version first, or delete the environment.",
                )
            connection.execute(delete(versions).where(versions.c.id == version))
            uses.forget_unknown(connection)
            audit.note(connection, deed)
            return before

        return await self.database.transaction(work)

    async def profiles_of(self, owner: str) -> Mapping[str, int]:
        """Return the environment keys of the profiles that OWNER's environments hold, with the bytes of each."""
        query = (
            select(versions.c.key, versions.c.size)
            .join(environments, environments.c.id == versions.c.environment)
            .where(environments.c.owner == owner, versions.c.let_go.is_(None))
        )
        return await self.database.look(lambda c: {row.key: row.size for row in c.execute(query)})


def keep_again(connection: Connection, key: str, profile: StorePath) -> None:
    """Have all versions with PROFILE of KEY be kept."""
    having = versions.c.key == key, versions.c.profile == profile, versions.c.let_go.is_not(None)
    connection.execute(update(versions).where(*having).values(let_go=None, let_go_why=""))


def _holdings(connection: Connection, *conditions: ColumnElement[bool]) -> list[Holding]:
    """Return the kept profiles that fulfil CONDITIONS, with all versions that have them."""
    columns = (
        versions.c.key,
        versions.c.profile,
        versions.c.id,
        versions.c.commit,
        versions.c.pinned,
        versions.c.created,
        versions.c.environment,
        environments.c.name,
        environments.c.owner,
        (environments.c.current == versions.c.id).label("current"),
        used_then.c.used,
    )
    query = (
        select(*columns)
        .join(environments, environments.c.id == versions.c.environment)
        .outerjoin(used_then, used_then.c.profile == versions.c.profile)
        .where(versions.c.let_go.is_(None), *conditions)
        .order_by(versions.c.key, versions.c.profile, versions.c.created, versions.c.id)
    )
    found = connection.execute(query).mappings()
    return [_holding(list(group)) for _, group in groupby(found, key=lambda row: (row["key"], row["profile"]))]


def _holding(having: Sequence[RowMapping]) -> Holding:
    """Return the profile that the versions of the rows HAVING have."""
    first = having[0]
    moments = [row["created"] for row in having] + [row["used"] for row in having if row["used"] is not None]
    return Holding(first["key"], StorePath(first["profile"]), tuple(_holder(row) for row in having), max(moments))


def _holder(row: RowMapping) -> Holder:
    return Holder(
        environment=EnvironmentId(row["environment"]),
        name=row["name"],
        owner=row["owner"],
        version=VersionId(row["id"]),
        commit=Commit(row["commit"]),
        current=bool(row["current"]),
        pinned=row["pinned"],
    )


def _version(connection: Connection, environment: EnvironmentId, version: VersionId) -> Version:
    query = select(versions).where(versions.c.id == version, versions.c.environment == environment)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound("This environment has no such version.")
    return rows.version(row)
