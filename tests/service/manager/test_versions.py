"""What is found and what is new: versions, the way back, and the records that say the same."""

import pytest

from guix_build_service.model.environments import (
    RECIPE_VERSION,
    BuildState,
    Changes,
    NewEnvironment,
)
from guix_environment.errors import Conflict, InvalidInput
from guix_environment.identifiers import Commit
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl
from tests.service.installation import ADA, BOB
from tests.service.listing import environments_for
from tests.service.manager.asking import URL, Service, ready


async def test_a_new_commit_is_a_new_version_and_one_can_go_back(service: Service) -> None:
    installation, pipeline = service
    manager = installation.manager
    first = await ready(installation)
    assert first.environment.name == "plots"
    pipeline.commits[str(RepositoryUrl.parse(URL))] = Commit("cd" * 20)
    second = await ready(installation)
    assert second.environment.id == first.environment.id
    assert first.version is not None
    assert second.version is not None
    assert [version.id for version in await manager.versions(first.environment.id, ADA)] == [
        second.version.id,
        first.version.id,
    ]
    back = await manager.rollback(first.environment.id, None, ADA)
    assert back.version == first.version
    assert installation.records.read_environment(first.environment.id).current == first.version.id
    with pytest.raises(Conflict):
        await manager.rollback(first.environment.id, None, ADA)
    # What the branch stands for is there already: it is taken, and nothing is built.
    assert (await manager.start_build(first.environment.id, ADA)).version == second.version
    assert pipeline.made == 2
    forced = await manager.start_build(first.environment.id, ADA, force=True)
    assert (await installation.finished(forced)).state is BuildState.READY
    assert pipeline.made == 3


async def test_a_version_of_which_parts_are_gone_is_built_again(service: Service) -> None:
    installation, pipeline = service
    manager = installation.manager
    first = await ready(installation)
    assert first.version is not None
    pipeline.incomplete.add(first.version.id)
    assert not await manager.is_whole(first.version)
    again = await manager.start_build(first.environment.id, ADA)
    assert not again.state.is_final
    assert (await installation.finished(again)).state is BuildState.READY
    assert pipeline.made == 2
    current = (await manager.environment(first.environment.id, ADA)).version
    assert current is not None
    assert current.id != first.version.id
    assert (await manager.start_build(first.environment.id, ADA)).version == current
    assert pipeline.made == 2


async def test_a_release_that_makes_something_else_of_a_commit_builds_it_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, pipeline = service
    asked = await ready(installation)
    assert (await installation.manager.start_build(asked.environment.id, ADA)).state is BuildState.READY
    assert pipeline.made == 1
    monkeypatch.setattr("guix_build_service.queue.reports.RECIPE_VERSION", RECIPE_VERSION + 1)
    await installation.finished(await installation.manager.start_build(asked.environment.id, ADA))
    assert pipeline.made == 2
    assert (await installation.manager.start_build(asked.environment.id, ADA)).state is BuildState.READY
    assert pipeline.made == 2


async def test_another_name_is_another_environment(service: Service) -> None:
    installation, _ = service
    first = await ready(installation)
    assert (await ready(installation, name="plots")).environment.id == first.environment.id
    assert (await ready(installation, name="Other")).environment.id != first.environment.id
    assert (await ready(installation, subdirectory="work")).environment.id != first.environment.id


async def test_initial_environments_are_resolved_in_their_turn(service: Service) -> None:
    installation, _ = service
    request = NewEnvironment(URL, name="Example", visibility=Visibility.EVERYONE)
    await installation.manager.add_initial(request, "admin")
    await installation.manager.add_initial(request, "admin")
    [detail] = await environments_for(BOB, installation.manager)
    build = await installation.finished(detail)
    assert build.state is BuildState.READY
    assert build.commit == "ab" * 20
    assert build.ref == "main"


async def test_what_people_change_is_in_the_record_that_sessions_start_from(service: Service) -> None:
    installation, _ = service
    detail = await ready(installation)
    changes = Changes(
        name=" My  plots ", description="Plots.", memory=2**30, cpu=2, visibility=Visibility.GROUPS, groups=("lab", "lab")
    )
    await installation.manager.update_environment(detail.environment.id, changes, ADA)
    record = installation.records.read_environment(detail.environment.id)
    assert (record.name, record.description, record.memory, record.cpu) == ("My plots", "Plots.", 2**30, 2.0)
    assert (record.visibility, record.groups) == (Visibility.GROUPS, ("lab",))
    assert record.current == detail.environment.current
    with pytest.raises(InvalidInput):
        await installation.manager.update_environment(detail.environment.id, Changes(groups=()), ADA)


async def test_a_record_is_written_where_it_does_not_say_what_the_store_says(service: Service) -> None:
    installation, _ = service
    known = (await ready(installation)).environment
    file = installation.records.environment_folder(known.id) / "environment.json"
    content, written = file.read_text(), file.stat().st_ino
    await installation.queue.holdings.write_record(known.id)
    assert file.stat().st_ino == written  # whatever is written is a new file
    for damaged in (content.replace('"plots"', '"other"'), "{", ""):
        file.write_text(damaged)
        await installation.queue.holdings.write_record(known.id)
        assert file.read_text() == content
    file.unlink()
    await installation.queue.holdings.write_record(known.id)
    assert file.read_text() == content
