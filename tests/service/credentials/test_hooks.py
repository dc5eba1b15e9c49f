"""Secrets of webhooks at rest: bound to their environment, and sealed anew when the keys change."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import update

from guix_build_service.credentials.keys import Key, parse_keys
from guix_build_service.model.asked_for import new_environment
from guix_build_service.model.environments import Environment, NewEnvironment, Person
from guix_build_service.store import Store
from guix_build_service.store.tables import webhooks
from guix_build_service.store.webhooks import WebhookRows
from guix_build_service.vault.hooks import Hooks
from guix_build_service.webhooks.deliveries import Delivery, Forge
from guix_environment.identifiers import EnvironmentId

OLD, NEW = "0123456789abcdef" * 4, "fedcba9876543210" * 4


class Source:
    """Keys that somebody changes."""

    text = OLD

    def keys(self) -> Sequence[Key]:
        return parse_keys(self.text)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/service.sqlite")
    yield store
    await store.close()


async def environment(store: Store, name: str) -> Environment:
    made = new_environment(NewEnvironment(f"https://git.example/a/{name}"), Person("ada"))
    await store.add_environment(made)
    return made


def with_token(secret: str) -> Delivery:
    return Delivery(Forge.GITLAB, {"X-Gitlab-Token": secret}, b"")


async def test_the_keys_change_and_the_secret_stays(store: Store) -> None:
    source, rows = Source(), WebhookRows(store)
    hooks = Hooks(rows, source)
    plots = await environment(store, "plots")
    _, secret = await hooks.make(plots, "ada")
    source.text = f"{NEW};{OLD}"
    await hooks.begin()
    assert await rows.sealed_otherwise(parse_keys(NEW)[0].identifier) == []
    source.text = NEW
    assert await hooks.prove(plots.id, with_token(secret))
    source.text = OLD  # the wrong one: nothing opens, and nothing is lost
    assert not await hooks.prove(plots.id, with_token(secret))
    source.text = NEW
    assert await hooks.prove(plots.id, with_token(secret))


async def test_a_secret_that_was_moved_opens_nothing(store: Store) -> None:
    hooks = Hooks(WebhookRows(store), Source())
    one, other = await environment(store, "one"), await environment(store, "other")
    _, secret = await hooks.make(one, "ada")
    query = update(webhooks).where(webhooks.c.environment == one.id).values(environment=str(other.id))
    await store.transaction(lambda c: c.execute(query))
    assert not await hooks.prove(other.id, with_token(secret))
    assert not await hooks.prove(one.id, with_token(secret))
    assert not await hooks.prove(EnvironmentId.new(), with_token(""))
