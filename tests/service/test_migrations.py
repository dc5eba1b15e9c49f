"""The database of every earlier release becomes the one of this release, with everything in it."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from guix_build_service.model import EnvironmentFilter, PageRequest, Person
from guix_build_service.store import Store
from guix_build_service.store import engine as engine_module
from guix_environment.identifiers import EnvironmentId

COMMIT = "ab" * 20
PROFILE = f"/gnu/store/{'a' * 32}-profile"
FIRST = f"""
INSERT INTO environments VALUES ('eaaaaaaaaaaa', 'Ähren', '', 'https://forge.example/ada/plots', 'main', '', 'ada', 'groups',
 '["lab", "course"]', NULL, 0.5, 'vaaaaaaaaaaa', '2026-01-01 00:00:00.000000', '2026-01-02 00:00:00.000000');
INSERT INTO versions VALUES ('vaaaaaaaaaaa', 'eaaaaaaaaaaa', 'baaaaaaaaaaa', '{COMMIT}', 'main', '',
 'key', '{PROFILE}', 5, '[]', '[]', '2026-01-01 00:00:00.000000');
INSERT INTO builds VALUES ('baaaaaaaaaaa', 'https://forge.example/ada/plots', 'main', '', '{COMMIT}', 'request', 'ready', 0,
 'ada', '2026-01-01 00:00:00.000000', NULL, NULL, NULL, '', 0, 0);
INSERT INTO build_environments VALUES ('baaaaaaaaaaa', 'eaaaaaaaaaaa', '2026-01-01 00:00:00.000000');
"""


def at_revision(file: Path, revision: str, script: str) -> None:
    """Make a database as the release with REVISION left it, and run SCRIPT in it."""
    config = Config()
    config.set_main_option("script_location", str(Path(engine_module.__file__).with_name("migrations")))
    with create_engine(f"sqlite:///{file}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    with sqlite3.connect(file) as database:
        database.executescript(script)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Give a database of the first schema with something in every table."""
    at_revision(tmp_path / "service.sqlite", "0001", FIRST)
    return tmp_path / "service.sqlite"


async def test_nothing_is_lost_on_the_way_from_the_first_schema(first: Path) -> None:
    store = await Store.open(f"sqlite:///{first}")
    try:
        detail = await store.environment(EnvironmentId("eaaaaaaaaaaa"))
        assert detail.environment.groups == ("lab", "course")
        assert detail.environment.name == "Ähren"
        assert detail.version is not None
        assert detail.build is not None
        assert detail.build.environments == (detail.environment.id,)
        assert detail.build.evaluated_for == ()
        member = Person("bob", frozenset({"course"}))
        page = await store.environments_page(member, EnvironmentFilter(text="ähren"), PageRequest())
        assert [each.environment.id for each in page.items] == [detail.environment.id]
        assert (await store.environments_page(Person("eve"), EnvironmentFilter(), PageRequest())).items == ()
    finally:
        await store.close()


async def test_a_database_that_waits_for_the_disk_and_keeps_what_refers_to_it_together(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/service.sqlite")
    try:
        for setting, value in {"synchronous": 2, "foreign_keys": 1, "journal_mode": "wal"}.items():
            found = await store._transaction(lambda c, setting=setting: c.exec_driver_sql(f"PRAGMA {setting}").scalar())  # type: ignore[misc]
            assert found == value, setting
    finally:
        await store.close()
