"""The one thread that talks to the database, and transactions in it."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from guix_build_service.store.engine import open_database
from guix_build_service.turns import Limits
from guix_environment.errors import StoreUnavailable

log = logging.getLogger("guix_build_service.store")

_Result = TypeVar("_Result")


class Database:
    """The database, by way of one thread.  Every method raises `StoreUnavailable` when the database fails."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    @classmethod
    async def open(cls, url: str, limits: Limits | None = None) -> Self:
        """Open the database at URL and bring it up to date; LIMITS say how many builds run.

        Raises SQLAlchemy's or Alembic's errors.
        """
        return cls(await asyncio.to_thread(open_database, url), limits or Limits())

    async def close(self) -> None:
        """Finish what was begun and close."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def _transaction(self, work: Callable[[Connection], _Result]) -> _Result:
        def run() -> _Result:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                log.exception("The database failed.")
                raise StoreUnavailable(
                    "The hub's database cannot be used right now.",
                    hint="Try again; if it stays so, tell the administrator: the disk may be full.",
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def transaction(self, work: Callable[[Connection], _Result]) -> _Result:
        """Run WORK, of another module of the store, as one transaction and return what it returns."""
        return await self._transaction(work)
