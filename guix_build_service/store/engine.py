"""Open the database, safe against a power cut and against others that write at the same time, and bring it up to date."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from alembic import command as alembic
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

NEWEST = "head"
"""The schema of this release, as Alembic calls it."""

_WRITING = 0x67756978
"""What those who write to one PostgreSQL lock: “guix”, as a number."""

_SETTINGS = {
    "sqlite": ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"),
    "postgresql": (
        # A service that stands still in the middle of a transaction must not hold up all others for ever.
        "lock_timeout='30s'",
        "idle_in_transaction_session_timeout='60s'",
        # All of it is in memory, and most questions are for a hundred rows of many: as PostgreSQL is set for disks, it would
        # read whole tables for them, and take longer to compile a question than to answer it.
        "random_page_cost=1.1",
        "jit=off",
    ),
}
"""What each connection is told, by the kind of database."""


def open_database(url: str) -> Engine:
    """Return the database at URL, with all migrations applied.

    SQLite writes ahead and waits for the disk at each commit, so that what was promised to a person is there after a power
    cut; see https://www.sqlite.org/pragma.html for what the settings mean. PostgreSQL does so unless it is told otherwise.
    Raises SQLAlchemy's and Alembic's errors, and `ModuleNotFoundError` where the database's driver is not installed.
    """
    engine = connected(url)
    try:
        with _migrating(engine) as config:
            alembic.upgrade(config, NEWEST)
    except BaseException:
        engine.dispose()
        raise
    return engine


def downgrade_database(url: str, revision: str) -> None:
    """Take the database at URL back to the schema REVISION, such as ``0003``, for an earlier release.

    No service may use it meanwhile. What that release does not know goes; each step says what. Raises as `open_database`.
    """
    engine = connected(url)
    try:
        with _migrating(engine) as config:
            alembic.downgrade(config, revision)
    finally:
        engine.dispose()


def one_writer(connection: Connection) -> None:
    """Wait until no other process writes to the database of CONNECTION, and keep others from it until its transaction ends.

    So that what a transaction reads is still so when it writes, as with SQLite, which has one writer anyway. Whose turn it
    is depends on all builds that wait and run, which locks on single rows could not hold still.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_WRITING)))


def for_reading(engine: Engine) -> Engine:
    """Return ENGINE for transactions of several queries that must see the same moment, and write nothing."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine


def connected(url: str) -> Engine:
    """Return the database at URL, of whatever schema it is.  Raises as `open_database`."""
    # Values of rows are nobody's business in a log, and a server that was restarted is connected to anew.
    engine = create_engine(_with_driver(make_url(url)), hide_parameters=True, pool_pre_ping=True)
    kind = engine.dialect.name
    command = "PRAGMA" if kind == "sqlite" else "SET"
    event.listen(engine, "connect", partial(_prepare, command, _SETTINGS.get(kind, ())))
    return engine


def _with_driver(url: URL) -> URL:
    """Return URL with the driver that this project has as an extra, where none is named."""
    plain = url.drivername in {"postgresql", "postgres"}
    return url.set(drivername="postgresql+psycopg") if plain else url


@contextlib.contextmanager
def _migrating(engine: Engine) -> Iterator[Config]:
    """Give what Alembic needs to change the schema of ENGINE's database, in one transaction and by one process at a time."""
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        one_writer(connection)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.attributes["connection"] = connection
        yield config


@contextlib.contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Have SQLite follow no foreign keys while the context lasts; it must begin and end outside of a transaction.

    SQLite changes a table by making another and dropping the first, upon which all that refers to its rows would go too
    (https://www.sqlite.org/lang_altertable.html#otheralter, which names this very step).
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    _set_foreign_keys(connection, "OFF")
    try:
        yield
    finally:
        _set_foreign_keys(connection, "ON")


def _set_foreign_keys(connection: Connection, value: str) -> None:
    connection.exec_driver_sql(f"PRAGMA foreign_keys={value}")
    connection.rollback()  # the transaction that SQLAlchemy began for it


def _prepare(command: str, settings: Sequence[str], connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    del record
    cursor = connection.cursor()
    for setting in settings:
        cursor.execute(f"{command} {setting}")
    cursor.close()
    connection.commit()
