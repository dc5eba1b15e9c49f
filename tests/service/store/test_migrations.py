"""The database of every earlier release becomes the one of this release and back, with everything that both know."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, inspect, select

from guix_build_service.model.environments import EnvironmentFilter, PageRequest, Person
from guix_build_service.store import Store
from guix_build_service.store import engine as engine_module
from guix_build_service.store.engine import connected, downgrade_database, open_database
from guix_environment.errors import StoreUnavailable
from guix_environment.identifiers import EnvironmentId

COMMIT = "ab" * 20
PROFILE = f"/gnu/store/{'a' * 32}-profile"
CONTENT = {
    "0001": f"""
INSERT INTO environments VALUES ('eaaaaaaaaaaa', 'Ähren', '', 'https://forge.example/ada/plots', 'main', '', 'ada', 'groups',
 '["lab", "course"]', NULL, 0.5, 'vaaaaaaaaaaa', '2026-01-01 00:00:00.000000', '2026-01-02 00:00:00.000000');
INSERT INTO versions VALUES ('vaaaaaaaaaaa', 'eaaaaaaaaaaa', 'baaaaaaaaaaa', '{COMMIT}', 'main', '',
 'key', '{PROFILE}', 5, '[]', '[]', '2026-01-01 00:00:00.000000');
INSERT INTO builds VALUES ('baaaaaaaaaaa', 'https://forge.example/ada/plots', 'main', '', '{COMMIT}', 'request', 'ready',
 FALSE, 'ada', '2026-01-01 00:00:00.000000', NULL, NULL, NULL, '', 0, 0);
INSERT INTO build_environments VALUES ('baaaaaaaaaaa', 'eaaaaaaaaaaa', '2026-01-01 00:00:00.000000');
INSERT INTO removals VALUES ('ebbbbbbbbbbb', '["key"]');
""",
    "0003": """
INSERT INTO credentials VALUES ('caaaaaaaaaaa', 'ada', 'forge.example', 'key', '1', '2', '2026-01-01 00:00:00.000000',
 NULL, NULL);
""",
    "0004": """
INSERT INTO audit VALUES ('aaaaaaaaaaaa', '2026-01-01 00:00:00.000000', 'ada', 'added', 'eaaaaaaaaaaa', 'ada', NULL, '{}');
""",
    "0005": f"INSERT INTO uses VALUES ('{PROFILE}', '2026-01-01 00:00:00.000000');",
    "0008": "INSERT INTO webhooks VALUES ('eaaaaaaaaaaa', 'key', '1', '2', '2026-01-01 00:00:00.000000', NULL);",
    "0010": "INSERT INTO environment_members VALUES ('eaaaaaaaaaaa', 'user', 'bob', 'editor');",
    "0011": "INSERT INTO services VALUES ('saaaaaaaaaaa', '{}', '2026-01-01 00:00:00.000000');",
}
"""What is put into a database by the release whose schema has that number."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(engine_module.__file__).with_name("migrations")))
    return config


RELEASED = [step.revision for step in reversed(list(ScriptDirectory.from_config(_config()).walk_revisions()))]
"""Every schema that a release had, the first one first; this one's is the last."""

Dump = dict[str, tuple[list[str], list[str]]]
"""Columns and rows of each table."""


def at_revision(url: str, revision: str) -> None:
    """Make a database as the release with REVISION left it, with everything in it that was put in on the way."""
    engine, config = connected(url), _config()
    for each in RELEASED[: RELEASED.index(revision) + 1]:
        # As at a start of that release: SQLite is told to follow no foreign keys outside of a transaction.
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                connection.rollback()
            with connection.begin():
                command.upgrade(config, each)
                for statement in filter(str.strip, CONTENT.get(each, "").split(";")):
                    connection.exec_driver_sql(statement)
    engine.dispose()


def dump(url: str) -> Dump:
    """Return everything in the database at URL but which schema it has."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = _dump(connection)
    engine.dispose()
    return found


def _dump(connection: Connection) -> Dump:
    metadata, inspector = MetaData(), inspect(connection)
    metadata.reflect(connection)
    found: Dump = {}
    for name, table in metadata.tables.items():
        if name == "alembic_version":
            continue
        columns = sorted(table.columns, key=lambda column: column.name)
        described = [f"{column.name} {column.type} {column.nullable} {column.server_default}" for column in columns]
        described += sorted(f"{index['name']} {index['column_names']}" for index in inspector.get_indexes(name))
        described += sorted(
            f"{key['constrained_columns']} {key['referred_table']} {key['options']}"
            for key in inspector.get_foreign_keys(name)
        )
        rows = sorted(repr([_comparable(value) for value in row]) for row in connection.execute(select(*columns)))
        found[name] = (described, rows)
    return found


def _comparable(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize("revision", RELEASED)
def test_from_every_schema_one_can_go_on_and_come_back_with_all_that_it_knows(
    empty_database_url: str, revision: str
) -> None:
    url = empty_database_url
    at_revision(url, revision)
    before = dump(url)
    assert all(rows for _, rows in before.values()), "every table is to have a row, or its loss would not be seen"
    open_database(url).dispose()
    newest = dump(url)
    downgrade_database(url, revision)
    assert dump(url) == before
    open_database(url).dispose()
    assert dump(url) == newest
    downgrade_database(url, "base")
    assert dump(url) == {}


async def test_nothing_is_lost_on_the_way_from_the_first_schema(empty_database_url: str) -> None:
    at_revision(empty_database_url, "0001")
    store = await Store.open(empty_database_url)
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
            found = await store.look(lambda c, setting=setting: c.exec_driver_sql(f"PRAGMA {setting}").scalar())  # type: ignore[misc]
            assert found == value, setting
    finally:
        await store.close()


async def test_a_database_of_a_newer_release_is_left_alone(empty_database_url: str) -> None:
    engine = open_database(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = dump(empty_database_url)
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(empty_database_url)
    assert "a newer release has used it" in refused.value.hint
    assert dump(empty_database_url) == before
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://guix:very-secret@/guix?host=/nowhere",
        "postgresql+unknown://guix:very-secret@host/guix",
        "postgresql://guix:very-secret@host:port/guix",
        "very-secret",
    ],
)
async def test_what_cannot_be_opened_is_told_without_its_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        await Store.open(url)
    assert refused.value.hint
    assert "very-secret" not in f"{refused.value.message} {refused.value.hint} {caplog.text}"
    assert refused.value.__cause__ is None
