"""What is kept, what is let go, in which order, and what can be done about it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from guix_build_service.logs.audit import Action, DeedFilter
from guix_build_service.manager.policy import Policy
from guix_build_service.model.environments import (
    BuildState,
    Changes,
    EnvironmentDetail,
    NewEnvironment,
    PageRequest,
    Version,
    now,
)
from guix_build_service.model.retention import Kept, Rules
from guix_build_service.pipeline.job import Workshop
from guix_build_service.queue.retaining import Schedule
from guix_environment.errors import Conflict, DiskQuotaReached, NotFound, ProfileLetGo, Refused
from guix_environment.files import write_json
from guix_environment.identifiers import Commit, StorePath
from guix_environment.processes import run
from guix_environment.records import LetGo, ServerRecord, Visibility
from guix_environment.roots import Roots
from tests.service.installation import ADA, ADMIN, BOB, Installation
from tests.service.listing import environments_for
from tests.service.queue.killed_letting_go import EVERYTHING_UNUSED, NEW, OLD, STEPS, URL
from tests.service.scripted import PROFILE, ScriptedPipeline, scripted


@pytest.fixture
def leases(tmp_path: Path) -> Roots:
    return Roots(tmp_path / "leases")


@pytest.fixture
async def service(tmp_path: Path, leases: Roots) -> AsyncIterator[tuple[Installation, ScriptedPipeline]]:
    async with scripted(tmp_path, leases=leases) as running:
        yield running


async def two_versions(service: tuple[Installation, ScriptedPipeline]) -> tuple[EnvironmentDetail, Version]:
    """Return an environment, which is at its second version, and its first one."""
    installation, pipeline = service
    pipeline.commits[URL] = OLD
    detail = await installation.manager.add_environment(NewEnvironment(URL), ADA)
    await installation.finished(detail)
    pipeline.commits[URL] = NEW
    await installation.finished(await installation.manager.start_build(detail.environment.id, ADA))
    old = (await installation.manager.versions(detail.environment.id, ADA))[1]
    assert old.commit == OLD
    return await installation.manager.environment(detail.environment.id, ADA), old


def check_gone(installation: Installation, old: Version) -> None:
    """See that OLD, a version as the store has it now, is let go, and that the other one is not."""
    assert old.let_go is not None
    assert installation.records.let_go(old.environment, old.id) == old.let_go
    assert set(installation.roots.held()) == {f"key-{NEW}"}
    assert installation.records.read_version(old.environment, old.id).commit == OLD


async def test_an_old_version_goes_and_its_record_says_so(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    detail, old = await two_versions(service)
    environment = detail.environment.id
    dry = await installation.manager.retention(ADMIN, EVERYTHING_UNUSED)
    assert [decision.holding.key for decision in dry.decisions] == [f"key-{OLD}"]
    assert set(installation.roots.held()) == {f"key-{OLD}", f"key-{NEW}"}
    assert (await installation.manager.retention(ADMIN)).decisions == ()
    done = await installation.manager.let_go(ADMIN, EVERYTHING_UNUSED)
    assert [decision.holding for decision in done.decisions] == [decision.holding for decision in dry.decisions]

    check_gone(installation, await installation.manager.version(environment, old.id, ADA))
    told = await installation.store.deeds_page(DeedFilter(action=Action.LET_GO), PageRequest())
    (deed,) = told.items
    assert (deed.who, deed.environment, deed.owner) == ("admin", environment, "ada")
    assert deed.about == {
        "name": "plots",
        "version": old.id,
        "commit": OLD,
        "why": "It was not used for 0 days.",
    }
    # Nothing more is to go, and what holds nothing is known to.
    assert (await installation.manager.let_go(ADMIN, EVERYTHING_UNUSED)).decisions == ()
    held = {each.version: each.share for each in (await installation.manager.storage(environment, ADA)).versions}
    assert held[old.id] is not None
    assert held[old.id].size == 0  # type: ignore[union-attr] # just seen
    with pytest.raises(ProfileLetGo, match="no longer kept"):
        await installation.manager.rollback(environment, old.id, ADA)
    with pytest.raises(Conflict, match="no earlier version"):
        await installation.manager.rollback(environment, None, ADA)


async def test_what_went_is_built_again_from_its_record_in_one_request(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, pipeline = service
    detail, old = await two_versions(service)
    environment = detail.environment.id
    await installation.manager.let_go(ADMIN, EVERYTHING_UNUSED)
    asked = pipeline.resolved
    building = await installation.manager.start_build(environment, ADA, version=old.id)
    assert pipeline.resolved == asked, "the repository's host is not asked"
    assert (await installation.finished(building)).state is BuildState.READY
    again = await installation.manager.version(environment, old.id, ADA)
    assert again.let_go is None
    while installation.records.let_go(environment, old.id) is not None:  # the record follows the row
        await asyncio.sleep(0.01)
    assert set(installation.roots.held()) == {f"key-{OLD}", f"key-{NEW}"}
    current = (await installation.manager.environment(environment, ADA)).version
    assert current is not None
    assert (current.commit, current.key) == (OLD, old.key)
    # Where it is kept, the same request builds nothing.
    made = pipeline.made
    assert (await installation.manager.start_build(environment, ADA, version=old.id)).state is BuildState.READY
    assert pipeline.made == made


async def test_pins_and_sessions_keep_what_would_go(service: tuple[Installation, ScriptedPipeline], leases: Roots) -> None:
    installation, _ = service
    detail, old = await two_versions(service)
    environment = detail.environment.id
    with pytest.raises(NotFound):
        await installation.manager.pin_version(environment, old.id, BOB, pinned=True)
    assert (await installation.manager.pin_version(environment, old.id, ADA, pinned=True)).pinned
    assert (await installation.manager.pin_version(environment, old.id, ADA, pinned=True)).pinned
    assert (await installation.manager.retention(ADMIN, EVERYTHING_UNUSED)).kept[Kept.PINNED] == 1
    await installation.manager.pin_version(environment, old.id, ADA, pinned=False)
    told = await installation.store.deeds_page(DeedFilter(environment=environment), PageRequest())
    pinning = [deed.action for deed in told.items if deed.action in {Action.PINNED, Action.UNPINNED}]
    assert pinning == [Action.UNPINNED, Action.PINNED], "what is pinned already is not told again"

    await installation.manager.update_environment(environment, Changes(visibility=Visibility.EVERYONE), ADA)
    for refused in (
        installation.manager.pin_version(environment, old.id, BOB, pinned=True),
        installation.manager.delete_version(environment, old.id, BOB),
    ):
        with pytest.raises(Refused):
            await refused

    leases.hold("ada.default.environment", PROFILE)
    assert (await installation.manager.retention(ADMIN, EVERYTHING_UNUSED)).kept[Kept.IN_SESSION] == 2
    leases.release("ada.default.environment")
    assert len((await installation.manager.retention(ADMIN, EVERYTHING_UNUSED)).decisions) == 1
    with pytest.raises(Refused):
        await installation.manager.let_go(ADA, EVERYTHING_UNUSED)
    with pytest.raises(Refused):
        await installation.manager.retention(ADA)


async def test_what_is_pinned_after_it_was_decided_on_stays(service: tuple[Installation, ScriptedPipeline]) -> None:
    installation, _ = service
    detail, old = await two_versions(service)
    (decision,) = (await installation.manager.retention(ADMIN, EVERYTHING_UNUSED)).decisions
    await installation.manager.pin_version(detail.environment.id, old.id, ADA, pinned=True)
    assert not await installation.retainer._let_go(decision, ADMIN.name)
    assert (await installation.manager.version(detail.environment.id, old.id, ADA)).let_go is None


async def test_a_session_that_begins_meanwhile_keeps_its_profile(
    service: tuple[Installation, ScriptedPipeline], leases: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, pipeline = service
    _, old = await two_versions(service)
    note = pipeline.note_let_go

    async def begin_session(versions: list[Version]) -> None:
        # The spawner took hold of it, and read the record, just before that says that it goes.
        leases.hold("ada.default.environment", PROFILE)
        await note(versions)

    monkeypatch.setattr(pipeline, "note_let_go", begin_session)
    assert (await installation.manager.let_go(ADMIN, EVERYTHING_UNUSED)).decisions == ()
    assert (await installation.manager.version(old.environment, old.id, ADA)).let_go is None
    assert installation.records.let_go(old.environment, old.id) is None
    assert set(installation.roots.held()) == {f"key-{OLD}", f"key-{NEW}"}


async def test_who_can_no_longer_see_sessions_keeps_what_was_to_go(
    service: tuple[Installation, ScriptedPipeline], leases: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, pipeline = service
    _, old = await two_versions(service)
    note, held = pipeline.note_let_go, Roots.held

    def closed(self: Roots) -> Mapping[str, StorePath]:
        if self.folder == leases.folder:
            raise PermissionError(13, "Permission denied")
        return held(self)

    async def hide_sessions(versions: list[Version]) -> None:
        monkeypatch.setattr(Roots, "held", closed)
        await note(versions)

    monkeypatch.setattr(pipeline, "note_let_go", hide_sessions)
    assert (await installation.manager.let_go(ADMIN, EVERYTHING_UNUSED)).decisions == ()
    assert (await installation.manager.version(old.environment, old.id, ADA)).let_go is None
    assert set(installation.roots.held()) == {f"key-{OLD}", f"key-{NEW}"}


async def test_a_record_that_says_otherwise_than_its_row_is_put_right(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, _ = service
    _, old = await two_versions(service)
    # As where the service was killed after a session had kept the profile, between the row and the record.
    installation.records.write_let_go(old.environment, old.id, LetGo(now(), "It was not used."))
    await installation.retainer._settle()
    assert installation.records.let_go(old.environment, old.id) is None


async def test_a_build_that_finds_the_profile_meanwhile_keeps_it(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, pipeline = service
    _, old = await two_versions(service)
    reached = asyncio.Event()
    proceed = asyncio.Event()

    async def pause(_job: object) -> None:
        reached.set()
        await proceed.wait()

    pipeline.steps[BuildState.READY] = pause
    pipeline.commits[URL] = OLD
    other = await installation.manager.add_environment(NewEnvironment(URL), BOB)
    await reached.wait()
    assert len((await installation.manager.let_go(ADMIN, EVERYTHING_UNUSED)).decisions) == 1
    assert f"key-{OLD}" in installation.roots.held()
    proceed.set()
    assert (await installation.finished(other)).state is BuildState.READY
    assert f"key-{OLD}" in installation.roots.held()
    assert (await installation.manager.version(old.environment, old.id, ADA)).let_go is None
    assert installation.records.let_go(old.environment, old.id) is None


async def test_what_another_service_comes_to_need_at_that_moment_is_held_again(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, pipeline = service
    await two_versions(service)
    answers = iter([False, True])

    async def in_use(_key: str) -> bool:
        return next(answers)

    await pipeline.forget(f"key-{OLD}", in_use)
    assert installation.roots.held()[f"key-{OLD}"] == PROFILE
    await pipeline.forget(f"key-{OLD}", installation.queue.holdings.in_use)
    assert f"key-{OLD}" in installation.roots.held(), "a version has it"


@pytest.mark.parametrize("step", STEPS)
async def test_a_service_that_is_killed_between_row_and_root_goes_on_where_it_was(tmp_path: Path, step: str) -> None:
    (tmp_path / "leases").mkdir()
    command = [sys.executable, "-m", "tests.service.queue.killed_letting_go", str(tmp_path), step]
    done = await run(command, environment={"PYTHONPATH": ":".join(filter(None, sys.path))}, timeout=60)
    assert done.status == -signal.SIGKILL, done.errors
    leases = Roots(tmp_path / "leases")
    async with scripted(tmp_path, leases=leases) as (installation, _):
        (detail,) = await environments_for(ADA, installation.manager)
        assert set(installation.roots.held()) == {f"key-{NEW}"}
        old = (await installation.manager.versions(detail.environment.id, ADA))[1]
        check_gone(installation, old)


async def test_who_cannot_see_sessions_lets_nothing_go(tmp_path: Path) -> None:
    async with scripted(tmp_path) as service:
        await two_versions(service)
        found = await service[0].manager.let_go(ADMIN, EVERYTHING_UNUSED)
        assert found.decisions == ()
        assert "leases_folder" in found.hindrance


async def test_the_service_looks_by_itself_and_has_guix_collect_when_the_disk_is_full(
    tmp_path: Path, leases: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule(Rules(begin_below=1000, stop_at=2000), seconds=0.01)
    async with scripted(tmp_path, leases=leases, schedule=schedule, free=999) as service:
        monkeypatch.setattr(service[1], "workshop", noting_guix(service[1], tmp_path))
        _, old = await two_versions(service)
        while f"key-{OLD}" in service[0].roots.held():
            await asyncio.sleep(0.01)
        asked = tmp_path / "asked"
        while not (asked.exists() and asked.read_text()):
            await asyncio.sleep(0.01)
        found = await service[0].manager.version(old.environment, old.id, ADA)
        assert found.let_go is not None
        assert found.let_go.why.startswith("The disk was nearly full")
    assert asked.read_text().startswith("gc --free-space=2000\n")


@pytest.mark.parametrize(("free", "wanted", "asked"), [(999, True, True), (1000, True, False), (999, False, False)])
async def test_guix_collects_only_where_room_is_needed_and_the_administrator_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, *, wanted: bool, asked: bool
) -> None:
    schedule = Schedule(Rules(begin_below=1000, stop_at=2000), collect=wanted)
    async with scripted(tmp_path, schedule=schedule, free=free, start=False) as (installation, pipeline):
        monkeypatch.setattr(pipeline, "workshop", noting_guix(pipeline, tmp_path))
        await installation.retainer._collect()
        assert (tmp_path / "asked").exists() is asked


def noting_guix(pipeline: ScriptedPipeline, folder: Path) -> Workshop:
    """Return the workshop of PIPELINE with a Guix that does nothing but note in FOLDER what it is asked for."""
    program = folder / "guix"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    program.chmod(0o755)
    return replace(pipeline.workshop, guix=replace(pipeline.workshop.guix, program=str(program)))


async def test_what_is_shared_is_free_only_when_the_last_that_needs_it_goes(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, pipeline = service
    await two_versions(service)
    other = StorePath(f"/gnu/store/{'b' * 32}-python")
    know(pipeline, OLD, {PROFILE: 5, other: 100})
    know(pipeline, NEW, {other: 100})
    (decision,) = (await installation.manager.retention(ADMIN, EVERYTHING_UNUSED)).decisions
    assert decision.frees == 5
    both = await installation.manager.retention(ADMIN, replace(EVERYTHING_UNUSED, unused_current=timedelta(0)))
    assert [each.frees for each in both.decisions] == [5, 100]
    assert both.frees == 105


def know(pipeline: ScriptedPipeline, commit: Commit, held: Mapping[StorePath, int]) -> None:
    """Write down what is known of the profile of COMMIT, as a build does."""
    value = {"profile": PROFILE, "closure": list(held), "size": 1, "variables": {}, "sizes": list(held.values())}
    write_json(pipeline.workshop.state_folder / "profiles" / f"key-{commit}.json", value)


async def test_a_version_can_be_deleted_unless_it_is_the_current_one(
    service: tuple[Installation, ScriptedPipeline],
) -> None:
    installation, _ = service
    detail, old = await two_versions(service)
    environment = detail.environment.id
    assert detail.version is not None
    with pytest.raises(Conflict, match="starts from"):
        await installation.manager.delete_version(environment, detail.version.id, ADA)
    with pytest.raises(NotFound):
        await installation.manager.delete_version(environment, old.id, BOB)
    await installation.manager.delete_version(environment, old.id, ADA)
    assert [each.id for each in await installation.manager.versions(environment, ADA)] == [detail.version.id]
    assert set(installation.roots.held()) == {f"key-{NEW}"}
    assert not installation.records.version_folder(environment, old.id).exists()
    told = await installation.store.deeds_page(DeedFilter(action=Action.DELETED_VERSION), PageRequest())
    assert told.items[0].about["version"] == old.id


async def test_whose_environments_hold_as_much_as_they_may_gets_nothing_more_built(tmp_path: Path) -> None:
    async with scripted(tmp_path, policy=Policy(disk=106)) as service:
        installation, pipeline = service
        detail, old = await two_versions(service)
        server, python = (StorePath(f"/gnu/store/{letter * 32}-item") for letter in "cd")
        pipeline.workshop.records.write_server(ServerRecord("key", server, (server,), {}, {}))
        know(pipeline, OLD, {PROFILE: 5, python: 100, server: 1000})
        know(pipeline, NEW, {python: 100})
        assert await installation.manager.disk_used("ada") == 105
        assert await installation.manager.disk_used("bob") == 0
        await installation.finished(await installation.manager.start_build(detail.environment.id, ADA, force=True))

        know(pipeline, NEW, {python: 102})
        pipeline.commits["https://forge.example/ada/more"] = Commit("0c" * 20)
        more = NewEnvironment("https://forge.example/ada/more")
        with pytest.raises(DiskQuotaReached, match="Your environments hold") as refused:
            await installation.manager.add_environment(more, ADA)
        assert (refused.value.status, refused.value.details) == (429, {"used": 107, "limit": 106})
        with pytest.raises(DiskQuotaReached):
            await installation.manager.start_build(detail.environment.id, ADA, force=True)
        # What needs no build is given; others are not bound by it, nor administrators; and deleting makes room.
        assert (await installation.manager.start_build(detail.environment.id, ADA)).state is BuildState.READY
        await installation.finished(await installation.manager.add_environment(more, BOB))
        await installation.finished(await installation.manager.start_build(detail.environment.id, ADMIN, force=True))
        await installation.manager.delete_version(detail.environment.id, old.id, ADA)
        know(pipeline, NEW, {python: 100})
        await installation.finished(await installation.manager.add_environment(more, ADA))
