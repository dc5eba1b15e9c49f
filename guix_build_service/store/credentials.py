"""The rows of credentials: who keeps one for which host, and the secret as it was sealed."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, update

from guix_build_service.credentials.envelope import Kept, Kind, Place, Sealed
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
        query = select(credentials).where(credentials.c.owner == owner).order_by(credentials.c.host, credentials.c.kind)
        return await self._store.look(lambda c: [_kept(row) for row in c.execute(query).mappings()])

    async def of_host(self, owner: str, host: str, kind: Kind) -> Kept | None:
        """Return what of KIND OWNER keeps for HOST, if anything."""
        query = select(credentials).where(*_of(owner, host, kind))
        row = await self._store.look(lambda c: c.execute(query).mappings().first())
        return _kept(row) if row is not None else None

    async def sealed_otherwise(self, key: str) -> list[Kept]:
        """Return all that another key than KEY sealed."""
        query = select(credentials).where(credentials.c.key != key)
        return await self._store.look(lambda c: [_kept(row) for row in c.execute(query).mappings()])

    async def put(self, kept: Kept, deed: Deed) -> None:
        """Keep KEPT in the place of what of its kind its owner kept for its host before, and tell of it by DEED."""
        place = kept.place
        values = {
            "id": place.identifier,
            "owner": place.owner,
            "host": place.host,
            "kind": place.kind.value,
            "fingerprint": kept.fingerprint,
            "created": kept.created,
            "used": kept.used,
            "refused": kept.refused,
            **sealed_values(kept.sealed),
        }

        def work(connection: Connection) -> None:
            connection.execute(delete(credentials).where(*_of(place.owner, place.host, place.kind)))
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

    async def remove(self, owner: str, host: str, kind: Kind | None, deed: Deed) -> bool:
        """Forget what OWNER keeps for HOST, of KIND or of all, and tell of it by DEED; return whether there was anything."""
        query = delete(credentials).where(*_of(owner, host, kind))
        return await self._store.transaction(lambda c: forget(c, query, deed))


def _of(owner: str, host: str, kind: Kind | None) -> tuple[ColumnElement[bool], ...]:
    same = (credentials.c.owner == owner, credentials.c.host == host)
    return (*same, credentials.c.kind == kind.value) if kind is not None else same


def _kept(row: RowMapping) -> Kept:
    return Kept(
        place=Place(row["id"], row["owner"], row["host"], Kind(row["kind"])),
        sealed=sealed_of(row),
        created=row["created"],
        used=row["used"],
        refused=row["refused"],
        fingerprint=row["fingerprint"],
    )
