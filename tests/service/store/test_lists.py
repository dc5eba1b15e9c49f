"""Lists are made by the database, and what they show is what the model's own rules say of each environment."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from guix_build_service.model.environments import (
    BuildState,
    Environment,
    EnvironmentDetail,
    EnvironmentFilter,
    PageRequest,
    Person,
)
from guix_build_service.model.members import Member, MemberKind, Role
from guix_build_service.store import Store
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl
from tests.service.store.test_store import build, built, environment

OTHER = RepositoryUrl.parse("https://forge.example/eve/other")
PEOPLE = (
    Person("ada"),
    Person("bob"),
    Person("carol", frozenset({"lab"})),
    Person("dan", frozenset({"readers", "nobody's"})),
    Person("eve"),
    Person("root", admin=True),
)
WANTED: dict[EnvironmentFilter, Callable[[EnvironmentDetail], bool]] = {
    EnvironmentFilter(): lambda _: True,
    EnvironmentFilter(owner="eve"): lambda each: each.environment.owner == "eve",
    EnvironmentFilter(text="of ada's"): lambda each: "of ada's" in each.environment.description,
    EnvironmentFilter(repository=OTHER): lambda each: each.environment.repository == OTHER,
    EnvironmentFilter(visibility=Visibility.GROUPS): lambda each: each.environment.visibility is Visibility.GROUPS,
    EnvironmentFilter(startable=True): lambda each: each.version is not None,
    **{
        EnvironmentFilter(state=state): lambda each, state=state: each.state is state  # type: ignore[misc] # of this turn
        for state in BuildState
    },
}


def some_environments() -> list[Environment]:
    """Return environments that are shared in every way there is."""
    private = replace(environment(), visibility=Visibility.PRIVATE, groups=())
    known = [
        replace(private, name="hers", description="One of ada's."),
        replace(private, name="with bob", members=(Member(MemberKind.USER, "bob", Role.EDITOR),)),
        replace(private, name="with readers", members=(Member(MemberKind.GROUP, "readers", Role.VIEWER),)),
        # Who has the name of a group is not of that group, nor is a group who has its name.
        replace(private, name="crossed", members=(Member(MemberKind.GROUP, "bob", Role.VIEWER),)),
        replace(private, name="the lab's", visibility=Visibility.GROUPS, groups=("lab", "course")),
        # Groups that were named once do not count where it is private again.
        replace(private, name="no longer the lab's", groups=("lab",)),
        replace(private, name="everyone's", visibility=Visibility.EVERYONE, repository=OTHER),
        replace(private, name="eve's", owner="eve", repository=OTHER),
        replace(private, name="eve's for all", owner="eve", visibility=Visibility.EVERYONE, description="Not of ada's."),
    ]
    return [replace(each, id=environment().id) for each in known]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store with environments in many states."""
    opened = await Store.open(database_url)
    known = some_environments()
    for each in known:
        await opened.add_environment(each)
    await built(opened, *(each.id for each in known[3:7]))
    for each, state in zip(known[:5], (BuildState.FAILED, BuildState.CANCELLED, None, BuildState.FAILED, None), strict=True):
        asked = await opened.request_build(build(each.id), None)
        if state is not None:
            await opened.finish(asked.build.id, state)
    await opened.request_build(build(known[0].id), None)  # it failed before, and waits again
    yield opened
    await opened.close()


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
async def test_a_list_shows_what_the_rules_say_of_each(store: Store, person: Person) -> None:
    everything = [await store.environment(each.id) for each in await store.environments()]
    by_name = sorted(everything, key=lambda each: (each.environment.name, each.environment.id))
    for wanted, fits in WANTED.items():
        page = await store.environments_page(person, wanted, PageRequest())
        expected = [each for each in by_name if each.environment.may_be_seen_by(person) and fits(each)]
        assert list(page.items) == expected, wanted


async def test_the_environments_are_in_every_state_that_makes_a_difference(store: Store) -> None:
    everything = [await store.environment(each.id) for each in await store.environments()]
    states = {each.environment.name: (each.state, each.version is not None, each.build is not None) for each in everything}
    assert states == {
        "hers": (BuildState.QUEUED, False, True),
        "with bob": (BuildState.CANCELLED, False, True),
        "with readers": (BuildState.QUEUED, False, True),
        "crossed": (BuildState.FAILED, True, True),
        "the lab's": (BuildState.QUEUED, True, True),
        "no longer the lab's": (BuildState.READY, True, True),
        "everyone's": (BuildState.READY, True, True),
        "eve's": (BuildState.QUEUED, False, False),
        "eve's for all": (BuildState.QUEUED, False, False),
    }
