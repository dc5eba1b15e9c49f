"""What only a PostgreSQL does: it is restarted under a running service, and has more ways to change a table."""

import pytest
from sqlalchemy import text

from guix_build_service.store import Store
from guix_environment.errors import StoreUnavailable
from tests.postgresql import PostgreSQL


async def test_connections_that_the_server_ended_are_made_anew(postgresql: PostgreSQL) -> None:
    store = await Store.open(postgresql.current())
    assert await store.environments() == []
    with postgresql.connected() as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ''"
            " AND pid <> pg_backend_pid() AND datname LIKE 'test%'"
        ).fetchall()
    assert ended
    assert await store.environments() == []
    await store.beat()
    await store.close()


@pytest.mark.parametrize("statement", ["DELETE FROM audit", "UPDATE audit SET who = 'nobody'", "TRUNCATE audit"])
async def test_the_audit_log_is_only_added_to(postgresql: PostgreSQL, statement: str) -> None:
    store = await Store.open(postgresql.current())
    with pytest.raises(StoreUnavailable):
        await store.transaction(lambda c: c.execute(text(statement)))
    await store.close()


async def test_what_only_looks_can_write_nothing(postgresql: PostgreSQL) -> None:
    store = await Store.open(postgresql.current())
    with pytest.raises(StoreUnavailable):
        await store.look(lambda c: c.execute(text("DELETE FROM environments")))
    await store.close()


@pytest.mark.parametrize(("setting", "value"), [("random_page_cost", "1.1"), ("jit", "off"), ("lock_timeout", "30s")])
async def test_each_connection_is_told_how_it_is_to_answer(postgresql: PostgreSQL, setting: str, value: str) -> None:
    store = await Store.open(postgresql.current())
    assert await store.look(lambda c: c.execute(text(f"SHOW {setting}")).scalar()) == value
    await store.close()
