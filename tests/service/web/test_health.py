"""Whether the service can do its work, asked by anybody and as often as they like."""

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from guix_build_service.model.health import Health
from guix_build_service.store import Store
from guix_environment.errors import StoreUnavailable
from tests.service.web.conftest import Site


async def test_who_watches_is_told_what_keeps_the_service_from_its_work(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(health: Health) -> tuple[int, dict[str, str]]:
        async def found() -> Health:
            return health

        monkeypatch.setattr(site.manager, "health", found)
        answer = await site.ask("GET", "api/v1/health")
        return answer.code, json.loads(answer.body)

    well = {"status": "ok", "store": "", "queue": "", "retention": "", "logins": ""}
    assert json.loads((await site.ask("GET", "api/v1/health")).body) == well
    assert await told(Health(retention="The clock leapt.")) == (HTTPStatus.OK, {**well, "retention": "The clock leapt."})
    assert await told(Health(logins="It may not.")) == (HTTPStatus.OK, {**well, "logins": "It may not."})
    failing = {**well, "status": "failing"}
    unavailable = HTTPStatus.SERVICE_UNAVAILABLE
    assert await told(Health(queue="Waiting for room")) == (unavailable, {**failing, "queue": "Waiting for room"})
    assert await told(Health(store="Gone.")) == (unavailable, {**failing, "store": "Gone."})


async def test_a_database_that_just_answered_is_not_asked_again_and_one_that_failed_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/service.sqlite")
    looks, look = 0, store.look

    async def counted(work: Callable[[Connection], object]) -> object:
        nonlocal looks
        looks += 1
        return await look(work)

    monkeypatch.setattr(store, "look", counted)
    monkeypatch.setattr("guix_build_service.store.database.ANSWERED_SECONDS", 3600.0)
    for _ in range(3):
        await store.check()
    assert looks == 1
    with pytest.raises(StoreUnavailable):
        await store.look(lambda connection: connection.execute(text("SELECT 1 FROM nowhere")))
    await store.check()
    assert looks == 3
    monkeypatch.setattr("guix_build_service.store.database.ANSWERED_SECONDS", -1.0)
    await store.check()
    assert looks == 4
    await store.close()
