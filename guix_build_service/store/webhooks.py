"""The rows of webhooks: which environments have a secret that a forge proves to know, as it was sealed."""

from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from guix_build_service.credentials.envelope import Sealed
from guix_build_service.credentials.hooks import Hook, HookPlace
from guix_build_service.logs.audit import Deed
from guix_build_service.store import audit
from guix_build_service.store.database import Database
from guix_build_service.store.sealed import forget, sealed_of, sealed_values
from guix_build_service.store.tables import webhooks
from guix_environment.identifiers import EnvironmentId


class WebhookRows:
    """The table, by way of the store's one thread.  Every method raises `StoreUnavailable` when the database fails."""

    def __init__(self, store: Database) -> None:
        self._store = store

    async def of(self, environment: str) -> Hook | None:
        """Return the webhook of ENVIRONMENT, if it has one."""
        query = select(webhooks).where(webhooks.c.environment == environment)
        row = await self._store.transaction(lambda c: c.execute(query).mappings().first())
        return _hook(row) if row is not None else None

    async def sealed_otherwise(self, key: str) -> list[Hook]:
        """Return all that another key than KEY sealed."""
        query = select(webhooks).where(webhooks.c.key != key)
        return await self._store.transaction(lambda c: [_hook(row) for row in c.execute(query).mappings()])

    async def put(self, hook: Hook, deed: Deed) -> None:
        """Keep HOOK in the place of what its environment had before, and tell of it by DEED."""
        environment = str(hook.place.environment)
        values = {"environment": environment, "created": hook.created, "used": hook.used, **sealed_values(hook.sealed)}

        def work(connection: Connection) -> None:
            connection.execute(delete(webhooks).where(webhooks.c.environment == environment))
            connection.execute(insert(webhooks).values(**values))
            audit.note(connection, deed)

        await self._store.transaction(work)

    async def seal_again(self, before: Hook, sealed: Sealed) -> None:
        """Keep the secret of BEFORE as it is SEALED now, unless it was replaced meanwhile."""
        c = webhooks.c
        query = update(webhooks).where(c.environment == before.place.environment, c.nonce == before.sealed.nonce)
        await self._store.transaction(lambda c: c.execute(query.values(**sealed_values(sealed))))

    async def note(self, environment: EnvironmentId, used: datetime) -> None:
        """Note when a forge last proved to know the secret of ENVIRONMENT."""
        query = update(webhooks).where(webhooks.c.environment == environment).values(used=used)
        await self._store.transaction(lambda c: c.execute(query))

    async def remove(self, environment: EnvironmentId, deed: Deed) -> bool:
        """Forget the webhook of ENVIRONMENT, and tell of it by DEED; return whether there was one."""
        query = delete(webhooks).where(webhooks.c.environment == environment)
        return await self._store.transaction(lambda c: forget(c, query, deed))


def _hook(row: RowMapping) -> Hook:
    return Hook(
        place=HookPlace(EnvironmentId(row["environment"])),
        sealed=sealed_of(row),
        created=row["created"],
        used=row["used"],
    )
