"""The database: transitions that name where they start, requests that meet, and what is left after a deletion."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from guix_build_service.model.environments import (
    TRANSITIONS,
    Build,
    BuildState,
    Environment,
    EnvironmentFilter,
    PageRequest,
    Person,
    Progress,
    Version,
    now,
)
from guix_build_service.model.turns import Limits
from guix_build_service.store import Store
from guix_build_service.store.engine import open_database
from guix_build_service.store.tables import metadata
from guix_environment.errors import Conflict, NotFound
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, StorePath, VersionId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl

URL = RepositoryUrl.parse("https://forge.example/ada/plots")
COMMIT = Commit("ab" * 20)
PROFILE = StorePath("/gnu/store/" + "a" * 32 + "-profile")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(database_url, Limits(in_all=10))
    yield opened
    await opened.close()


def environment(name: str = "Plots", owner: str = "ada") -> Environment:
    moment = now()
    return Environment(
        id=EnvironmentId.new(),
        name=name,
        description="",
        repository=URL,
        ref="",
        subdirectory="",
        owner=owner,
        visibility=Visibility.GROUPS,
        groups=("lab", "course"),
        memory=2**40,
        cpu=0.5,
        current=None,
        created=moment,
        updated=moment,
    )


def build(*environments: EnvironmentId, force: bool = False) -> Build:
    return Build(
        id=BuildId.new(),
        environments=environments,
        repository=URL,
        ref="main",
        subdirectory="",
        commit=COMMIT,
        state=BuildState.QUEUED,
        force=force,
        requested_by="ada",
        created=now(),
    )


def version(made_by: Build, of: EnvironmentId, key: str = "key") -> Version:
    return Version(
        id=VersionId.new(),
        environment=of,
        build=made_by.id,
        commit=COMMIT,
        ref="main",
        subdirectory="",
        key=key,
        profile=PROFILE,
        size=7,
        kernels=("Python 3",),
        packages=("python",),
        created=now(),
    )


async def added(store: Store, name: str = "Plots", owner: str = "ada") -> Environment:
    one = environment(name, owner)
    await store.add_environment(one)
    return one


async def built(store: Store, *of: EnvironmentId, key: str = "key") -> list[Version]:
    await store.request_build(build(*of), None)
    running = await store.claim()
    assert running is not None
    for before, after in ((BuildState.RESOLVING, BuildState.FETCHING), (BuildState.FETCHING, BuildState.READING)):
        await store.move(running.id, before, after)
    await store.move(running.id, BuildState.READING, BuildState.BUILDING)
    versions = [version(running, identifier, key) for identifier in of]
    finished = await store.complete(running.id, versions)
    assert finished.build.state is BuildState.READY
    return versions


async def test_what_is_remembered_comes_back_as_it_was(store: Store) -> None:
    one = await added(store)
    detail = await store.environment(one.id)
    assert detail.environment == one
    assert detail.build is None
    joined = await store.request_build(build(one.id), "key")
    assert (await store.environment(one.id)).build == joined.build
    assert joined.build.commit == COMMIT
    assert joined.build.created.tzinfo is not None


async def test_the_migrations_make_the_tables_that_the_code_uses(empty_database_url: str) -> None:
    engine = open_database(empty_database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    # A second start finds it up to date.
    open_database(empty_database_url).dispose()


async def test_a_transition_starts_from_the_state_that_it_names(store: Store) -> None:
    one = await added(store)
    await store.request_build(build(one.id), None)
    running = await store.claim()
    assert running is not None
    await store.move(running.id, BuildState.RESOLVING, BuildState.FETCHING)
    with pytest.raises(Conflict, match="no longer resolving"):
        await store.move(running.id, BuildState.RESOLVING, BuildState.FETCHING)
    with pytest.raises(Conflict, match="cannot become"):
        await store.move(running.id, BuildState.FETCHING, BuildState.READY)
    await store.finish(running.id, BuildState.CANCELLED)
    with pytest.raises(Conflict):
        await store.finish(running.id, BuildState.FAILED, {"code": "build-failed"})
    assert (await store.build(running.id)).state is BuildState.CANCELLED


async def test_of_many_that_end_a_build_one_wins(store: Store) -> None:
    one = await added(store)
    joined = await store.request_build(build(one.id), None)
    results = await asyncio.gather(
        *(store.finish(joined.build.id, BuildState.CANCELLED) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, Build) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19


def test_nothing_follows_a_final_state_and_every_state_can_be_reached() -> None:
    reached = {BuildState.QUEUED}
    for _ in BuildState:
        reached |= {after for state in reached for after in TRANSITIONS[state]}
    assert reached == set(BuildState)
    assert all(not TRANSITIONS[state] for state in BuildState if state.is_final)


async def test_equal_requests_in_flight_are_one_build(store: Store) -> None:
    people = [await added(store, owner=f"person-{number}") for number in range(10)]
    joined = await asyncio.gather(*(store.request_build(build(one.id), "same") for one in people))
    assert len({each.build.id for each in joined}) == 1
    assert sum(each.created for each in joined) == 1
    assert set((await store.build(joined[0].build.id)).environments) == {one.id for one in people}
    assert (await store.request_build(build(people[0].id, force=True), "same")).created
    assert (await store.request_build(build(people[0].id), "other")).created
    await store.finish(joined[0].build.id, BuildState.CANCELLED)
    assert (await store.request_build(build(people[0].id), "same")).created


async def test_the_oldest_is_taken_first_and_once(store: Store) -> None:
    one = await added(store)
    asked = [(await store.request_build(build(one.id), None)).build.id for _ in range(5)]
    taken = await asyncio.gather(*(store.claim() for _ in range(6)))
    assert [each.id for each in taken if each] == asked
    await store.requeue(asked[1])
    again = await store.claim()
    assert again is not None
    assert again.id == asked[1]


async def test_a_build_is_ready_when_all_who_wait_have_a_version(store: Store) -> None:
    one, two = await added(store), await added(store, owner="bob")
    first = build(one.id)
    await store.request_build(first, "same")
    await store.claim()
    await store.move(first.id, BuildState.RESOLVING, BuildState.FETCHING)
    await store.move(first.id, BuildState.FETCHING, BuildState.READING)
    await store.set_progress(first.id, Progress("Downloading", 1, 2))
    await store.move(first.id, BuildState.READING, BuildState.BUILDING)
    await store.request_build(build(two.id), "same")
    versions = [version(first, one.id)]
    assert (await store.complete(first.id, versions)).missing == (two.id,)
    assert (await store.build(first.id)).state is BuildState.BUILDING
    assert (await store.environment(one.id)).version is None
    versions.append(version(first, two.id))
    assert (await store.complete(first.id, versions)).missing == ()
    for identifier, made in zip((one.id, two.id), versions, strict=True):
        assert (await store.environment(identifier)).version == made


async def test_deleting_leaves_a_note_of_what_is_to_go(store: Store) -> None:
    one, two = await added(store), await added(store, owner="bob")
    await built(store, one.id, two.id)
    await built(store, one.id, key="own")
    waiting_together = build(one.id)
    await store.request_build(waiting_together, "same")
    await store.request_build(build(two.id), "same")
    alone = build(one.id)
    await store.request_build(alone, "another")
    assert await store.remove_environment(one.id) == (alone.id,)
    with pytest.raises(NotFound):
        await store.environment(one.id)
    [removal] = await store.removals()
    assert removal.environment == one.id
    assert set(removal.keys) == {"key", "own"}
    assert await store.keys_in_use(removal.keys) == {"key"}
    await store.removed(one.id)
    assert await store.removals() == []
    with pytest.raises(NotFound):
        await store.remove_environment(one.id)


async def test_current_is_one_of_the_environment_s_own_versions(store: Store) -> None:
    one, two = await added(store), await added(store, owner="bob")
    [first, other] = await built(store, one.id, two.id)
    [second] = await built(store, one.id)
    assert [each.id for each in await store.versions(one.id)] == [second.id, first.id]
    await store.set_current(one.id, first.id)
    assert (await store.environment(one.id)).version == first
    with pytest.raises(NotFound):
        await store.set_current(one.id, other.id)


async def test_names_are_in_the_order_of_their_characters_and_found_however_they_are_written(store: Store) -> None:
    for name in ("émile", "b", "Zoe", "a 2", "A10", "ÄHREN", "a_b", "ab%"):
        await added(store, name)
    found: list[str] = []
    page = await store.environments_page(Person("ada"), EnvironmentFilter(), PageRequest(3))
    while True:
        found += [each.environment.name for each in page.items]
        if page.following is None:
            break
        page = await store.environments_page(Person("ada"), EnvironmentFilter(), PageRequest(3, page.following))
    assert found == ["a 2", "A10", "a_b", "ab%", "b", "Zoe", "ÄHREN", "émile"]
    for text, names in {"ähr": ["ÄHREN"], "_": ["a_b"], "%": ["ab%"], "PLOTS": found}.items():
        page = await store.environments_page(Person("ada"), EnvironmentFilter(text=text), PageRequest())
        assert [each.environment.name for each in page.items] == names
