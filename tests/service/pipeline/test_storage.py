"""What environments hold of the disk: shared items count for nobody alone, and what sessions hold is not free."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from guix_build_service.model.environments import NewEnvironment, Version, now
from guix_build_service.model.storage import Elsewhere, Share, storage
from guix_build_service.pipeline.job import Workshop
from guix_environment.errors import NotFound, Refused
from guix_environment.files import write_json
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, StorePath, VersionId
from guix_environment.records import ServerRecord, Visibility
from guix_environment.roots import Roots
from tests.service.installation import ADA, ADMIN, BOB, Installation
from tests.service.scripted import PROFILE, ScriptedPipeline, scripted

ONE = EnvironmentId("eaaaaaaaaaaa")
SIZES = {"python": 100, "numpy": 30, "glibc": 7, "git": 5, "jupyter": 50}


def item(name: str) -> StorePath:
    return StorePath(f"/gnu/store/{'a' * 32}-{name}")


def items(*names: str) -> dict[StorePath, int]:
    return {item(name): SIZES[name] for name in names}


def version(key: str, profile: StorePath | None = None) -> Version:
    return Version(
        id=VersionId.new(),
        environment=ONE,
        build=BuildId.new(),
        commit=Commit("ab" * 20),
        ref="main",
        subdirectory="",
        key=key,
        profile=profile or item(key),
        size=1,
        kernels=(),
        packages=(),
        created=now(),
    )


NOWHERE = Elsewhere((), (), frozenset())


def shares(
    versions: Sequence[Version], known: Mapping[str, Mapping[StorePath, int]], elsewhere: Elsewhere = NOWHERE
) -> tuple[Share | None, ...]:
    """Return what the versions hold together, then each of them."""
    found = storage(ONE, versions, known, elsewhere, {})
    return found.share, *(each.share for each in found.versions)


def test_what_nobody_else_needs_is_held_alone() -> None:
    (all_of_it, one) = shares([version("k")], {"k": items("python", "glibc")})
    assert all_of_it == one == Share(107, 107, 107)
    assert one is not None
    assert one.shared == 0


def test_what_other_environments_need_is_freed_by_none_of_them() -> None:
    elsewhere = Elsewhere(iter([items("glibc", "git"), items("numpy")]), (), frozenset())
    (all_of_it, one) = shares([version("k")], {"k": items("python", "numpy", "glibc")}, elsewhere)
    assert all_of_it == one == Share(137, 100, 100)
    assert one is not None
    assert one.shared == 37


def test_versions_of_one_environment_share_and_free_together_what_none_does_alone() -> None:
    known = {"old": items("python", "glibc"), "new": items("python", "glibc", "numpy")}
    (all_of_it, old, new) = shares([version("old"), version("new")], known)
    assert all_of_it == Share(137, 137, 137)
    assert old == Share(107, 0, 0)
    assert new == Share(137, 30, 30)


def test_versions_with_the_same_packages_hold_nothing_alone_and_count_once() -> None:
    (all_of_it, *each) = shares([version("k"), version("k")], {"k": items("python")})
    assert all_of_it == Share(100, 100, 100)
    assert each == [Share(100, 0, 0), Share(100, 0, 0)]


def test_the_same_profile_in_another_environment_leaves_nothing_to_free() -> None:
    elsewhere = Elsewhere([items("python", "glibc")], (), frozenset())
    assert shares([version("k")], {"k": items("python", "glibc")}, elsewhere) == (Share(107, 0, 0), Share(107, 0, 0))


def test_what_a_session_holds_is_not_freed_though_nobody_else_needs_it() -> None:
    elsewhere = Elsewhere((), [items("python", "jupyter")], frozenset({item("k")}))
    found = storage(ONE, [version("k"), version("other")], {"k": items("python", "git"), "other": {}}, elsewhere, {})
    assert found.share == Share(105, 105, 5)
    assert [each.in_session for each in found.versions] == [True, False]
    assert found.in_session is True


def test_what_is_not_known_is_not_guessed() -> None:
    moment = now()
    versions = [version("known"), version("unknown")]
    elsewhere = Elsewhere((), (), None)
    found = storage(ONE, versions, {"known": items("git")}, elsewhere, {versions[0].profile: moment})
    assert found.share is None
    assert [each.share for each in found.versions] == [Share(5, 5, 5), None]
    assert found.in_session is None
    assert [each.used for each in found.versions] == [moment, None]
    assert found.used == moment


def test_an_environment_without_versions_holds_nothing() -> None:
    found = storage(ONE, [], {}, NOWHERE, {})
    assert (found.share, found.in_session, found.used) == (Share(0, 0, 0), False, None)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[tuple[Installation, ScriptedPipeline]]:
    async with scripted(tmp_path) as running:
        yield running


def know(workshop: Workshop, key: str, held: Mapping[StorePath, int], *, sizes: bool = True) -> None:
    """Write down what is known of the profile of KEY, as a build does, or as it did before SIZES were noted."""
    value: dict[str, object] = {"profile": PROFILE, "closure": list(held), "size": sum(held.values()), "variables": {}}
    write_json(
        workshop.state_folder / "profiles" / f"{key}.json", {**value, **({"sizes": list(held.values())} if sizes else {})}
    )


async def test_an_installation_tells_what_its_environments_share(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, pipeline = service
    pipeline.commits = {f"https://forge.example/ada/{name}": Commit(digit * 40) for name, digit in (("a", "1"), ("b", "2"))}
    details = [
        await installation.manager.add_environment(NewEnvironment(f"https://forge.example/ada/{name}"), ADA) for name in "ab"
    ]
    for detail in details:
        await installation.finished(detail)
    first, second = (detail.environment.id for detail in details)
    (key,) = {each.key for each in await installation.manager.versions(first, ADA)}
    (other,) = {each.key for each in await installation.manager.versions(second, ADA)}
    assert key != other
    know(pipeline.workshop, key, items("python", "glibc", "jupyter"))
    know(pipeline.workshop, other, items("glibc"), sizes=False)
    server = ServerRecord("key", item("server"), tuple(items("jupyter")), {}, {})
    pipeline.workshop.records.write_server(server)

    found = await installation.manager.storage(first, ADA)
    assert found.share == Share(157, 100, 100)
    assert found.in_session is None
    assert (await installation.manager.storage(second, ADMIN)).share is None
    await installation.manager.delete_environment(second, ADA)
    after = await installation.manager.storage(first, ADA)
    assert after.share == Share(157, 107, 107)


async def test_only_who_may_delete_is_told(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    for visibility, refused in ((Visibility.EVERYONE, Refused), (Visibility.PRIVATE, NotFound)):
        request = NewEnvironment(f"https://forge.example/ada/{visibility.value}", visibility=visibility)
        detail = await installation.manager.add_environment(request, ADA)
        with pytest.raises(refused):
            await installation.manager.storage(detail.environment.id, BOB)


async def test_a_session_is_seen_by_what_it_holds_and_remembered_when_it_has_ended(tmp_path: Path) -> None:
    leases = Roots(tmp_path / "leases")
    async with scripted(tmp_path, leases=leases) as (installation, pipeline):
        detail = await installation.manager.add_environment(NewEnvironment("https://forge.example/ada/a"), ADA)
        await installation.finished(detail)
        one = detail.environment.id
        (made,) = await installation.manager.versions(one, ADA)
        know(pipeline.workshop, made.key, items("python"))
        before = await installation.manager.storage(one, ADA)
        assert (before.in_session, before.used, before.share) == (False, None, Share(100, 100, 100))

        leases.hold("ada.default.environment", made.profile)
        during = await installation.manager.storage(one, ADA)
        assert (during.in_session, during.share) == (True, Share(100, 100, 0))
        assert during.used is not None

        leases.release("ada.default.environment")
        after = await installation.manager.storage(one, ADA)
        assert (after.in_session, after.used, after.share) == (False, during.used, Share(100, 100, 100))

        # Noted no more exactly than needed, and forgotten with the last version that has the profile.
        await installation.store.note_uses({PROFILE}, during.used + timedelta(seconds=1))
        assert await installation.store.uses({PROFILE}) == {PROFILE: during.used}
        later = during.used + timedelta(hours=1)
        await installation.store.note_uses({PROFILE, item("unknown")}, later)
        assert await installation.store.uses({PROFILE, item("unknown")}) == {PROFILE: later}
        await installation.manager.delete_environment(one, ADA)
        assert await installation.store.uses({PROFILE}) == {}


async def test_the_queue_sees_sessions_without_being_asked(tmp_path: Path) -> None:
    leases = Roots(tmp_path / "leases")
    leases.hold("ada.default.environment", PROFILE)
    async with scripted(tmp_path, leases=leases) as (installation, _):
        detail = await installation.manager.add_environment(NewEnvironment("https://forge.example/ada/a"), ADA)
        await installation.finished(detail)
        while not await installation.store.uses({PROFILE}):
            installation.queue.notice()
