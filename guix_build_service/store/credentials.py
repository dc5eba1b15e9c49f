"""The rows of credentials: who keeps one for which host, and the secret as it was sealed."""

from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from guix_build_service.credentials.envelope import Kept, Place, Sealed
from guix_build_service.logs.audit import Deed
from guix_build_service.store import audit
from guix_build_service.store.database import Database
from guix_build_service.store.sealed import forget, sealed_of, sealed_values
from guix_build_service.store.tables import credentials


class CredentialRows:
    """The table, by way of the store's one thread.  Every method raises `StoreUnavailable` when the database fails."""

    def __init__(self, store: Database) -> None:
        self._store = store

    async def of(self, owner: str) -> list[Kept]:
        """Return what OWNER keeps, by host."""
        query = select(credentials).where(credentials.c.owner == owner).order_by(credentials.c.host)
        return await self._store.look(lambda c: [_kept(row) for row in c.execute(query).mappings()])

    async def of_host(self, owner: str, host: str) -> Kept | None:
        """Return what OWNER keeps for HOST, if anything."""
        query = select(credentials).where(credentials.c.owner == owner, credentials.c.host == host)
        row = await self._store.look(lambda c: c.execute(query).mappings().first())
        return _kept(row) if row is not None else None

    async def sealed_otherwise(self, key: str) -> list[Kept]:
        """Return all that another key than KEY sealed."""
        query = select(credentials).where(credentials.c.key != key)
        return await self._store.look(lambda c: [_kept(row) for row in c.execute(query).mappings()])

    async def put(self, kept: Kept, deed: Deed) -> None:
        """Keep KEPT in the place of what its owner kept for its host before, and tell of it by DEED."""
        place = kept.place
        same = (credentials.c.owner == place.owner, credentials.c.host == place.host)
        values = {
            "id": place.identifier,
            "owner": place.owner,
            "host": place.host,
            "created": kept.created,
            "used": kept.used,
            "refused": kept.refused,
            **sealed_values(kept.sealed),
        }

        def work(connection: Connection) -> None:
            connection.execute(delete(credentials).where(*same))
            connection.execute(insert(credentials).values(**values))
            audit.note(connection, deed)

        await self._store.transaction(work)

    async def seal_again(self, before: Kept, sealed: Sealed) -> None:
        """Keep the secret of BEFORE as it is SEALED now, unless it was replaced meanwhile."""
        c = credentials.c
        query = update(credentials).where(c.id == before.place.identifier, c.key == before.sealed.key)
        await self._store.transaction(lambda c: c.execute(query.values(**sealed_values(sealed))))

    async def note(self, identifier: str, *, used: datetime, refused: datetime | None) -> None:
        """Note when a credential was USED, and whether its host REFUSED it."""
        query = update(credentials).where(credentials.c.id == identifier).values(used=used, refused=refused)
        await self._store.transaction(lambda c: c.execute(query))

    async def remove(self, owner: str, host: str, deed: Deed) -> bool:
        """Forget what OWNER keeps for HOST, and tell of it by DEED; return whether there was anything."""
        query = delete(credentials).where(credentials.c.owner == owner, credentials.c.host == host)
        return await self._store.transaction(lambda c: forget(c, query, deed))


def _kept(row: RowMapping) -> Kept:
    return Kept(
        place=Place(row["id"], row["owner"], row["host"]),
        sealed=sealed_of(row),
        created=row["created"],
        used=row["used"],
        refused=row["refused"],
    )
