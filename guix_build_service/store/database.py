"""The one thread that talks to the database, and transactions in it."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from alembic.util import CommandError
from sqlalchemy import Connection, Engine, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from guix_build_service.model.turns import Limits
from guix_build_service.store.engine import downgrade_database, for_reading, one_writer, open_database
from guix_environment.errors import StoreUnavailable
from guix_environment.identifiers import Token

log = logging.getLogger("guix_build_service.store")

ANSWERED_SECONDS = 1.0
"""For how long a database that answered is taken for one that does: anybody may ask for the service's health."""


def unusable(url: str, error: Exception) -> StoreUnavailable:
    """Return the failure that the database at URL could not be opened because of ERROR; no password is in it."""
    try:
        shown = make_url(url).render_as_string()
    except (ArgumentError, ValueError):
        return StoreUnavailable("database_url is no address of a database.", hint="Such as postgresql://guix@/guix")
    if isinstance(error, ModuleNotFoundError):
        hint = f"Python's package {error.name} is not installed; for PostgreSQL install guixspawner[postgresql]."
    elif isinstance(error, CommandError):
        hint = "It has no such schema: a newer release has used it, which alone can take it back (downgrade)."
    else:
        hint = " ".join(str(getattr(error, "orig", None) or error).split())[:400]
    return StoreUnavailable(f"The database {shown} cannot be opened.", hint=hint)


_OPENING = (SQLAlchemyError, CommandError, ModuleNotFoundError, ValueError)
"""What is raised where a database cannot be opened or migrated."""

_Result = TypeVar("_Result")


class Database:
    """The database, by way of one thread.  Every method raises `StoreUnavailable` when the database fails."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._reading = for_reading(engine)
        self._limits = limits
        self.service = str(Token.new())
        """This process among those that serve with this database."""
        self.process: Mapping[str, object] = {}
        """What others find that process by, as `process_identity.to_record` has it; empty until it is known."""
        self.shared = engine.dialect.name == "postgresql"
        """Whether there can be others."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._answered = -math.inf

    @classmethod
    async def open(cls, url: str, limits: Limits | None = None) -> Self:
        """Open the database at URL and bring it up to date; LIMITS say how many builds run.

        Raises `StoreUnavailable`, which says why.
        """
        try:
            engine = await asyncio.to_thread(open_database, url)
        except _OPENING as error:
            raise unusable(url, error) from None
        return cls(engine, limits or Limits())

    @staticmethod
    async def downgrade(url: str, revision: str) -> None:
        """Take the database at URL, which no service uses, back to the schema REVISION.

        What an earlier release does not know goes. Raises `StoreUnavailable`, which says why.
        """
        try:
            await asyncio.to_thread(downgrade_database, url, revision)
        except _OPENING as error:
            raise unusable(url, error) from None

    async def close(self) -> None:
        """Finish what was begun and close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def transaction(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run WORK as one transaction, beside which nothing else is written, and return what it returns."""

        def alone(connection: Connection) -> _Result:
            one_writer(connection)
            return work(connection)

        return await self._run(self._engine, alone)

    async def check(self) -> None:
        """Raise `StoreUnavailable` where the database cannot be used; one that just answered is not asked again."""
        if time.monotonic() - self._answered > ANSWERED_SECONDS:
            await self.look(lambda connection: connection.scalars(select(1)).one())

    async def look(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run WORK, which writes nothing and sees everything as of one moment, and return what it returns."""
        return await self._run(self._reading, work)

    async def _run(self, engine: Engine, work: Callable[[Connection], _Result]) -> _Result:
        def run() -> _Result:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                log.exception("The database failed.")
                raise StoreUnavailable(
                    "The hub's database cannot be used right now.",
                    hint="Try again; if it stays so, tell the administrator: the disk may be full.",
                ) from error

        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except StoreUnavailable:
            self._answered = -math.inf
            raise
        self._answered = time.monotonic()
        return found
