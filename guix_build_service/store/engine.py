"""Open the database, safe against a power cut, and bring it up to date."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry


def open_database(url: str) -> Engine:
    """Return the database at URL, with all migrations applied.

    SQLite writes ahead and waits for the disk at each commit, so that what was promised to a person is there after a power
    cut; see https://www.sqlite.org/pragma.html for what the settings mean.
    """
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return engine


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


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    del record
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()
