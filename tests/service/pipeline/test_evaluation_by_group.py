"""Who may have manifests run: the members of groups that the administrator names, by what they ask for themselves."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.manager.policy import Policy
from guix_build_service.manifest.canonical import Entry, PackageList
from guix_build_service.model.environments import BuildState, NewEnvironment, Person
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.read import read
from guix_build_service.settings.evaluation import ManifestEvaluation
from guix_environment.errors import ManifestUnreadable
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import GitServer
from tests.service.client import Client
from tests.service.installation import ADA, ADMIN, CAROL
from tests.service.listing import environments_for
from tests.service.scripted import scripted

URL = "https://forge.example/ada/plots"
DAVE = Person("dave", frozenset({"lab", "course"}))
POLICY = Policy(evaluating_groups=frozenset({"lab", "institute"}))
GUIX = GuixCommand("guix", Path("/nowhere"), "nobody")


class Noted(Evaluation):
    """Notes what would be run, in place of a Guix that runs it."""

    async def packages(self, files: Mapping[str, bytes], manifest: str, marks: Mapping[str, str]) -> PackageList:
        del files, marks
        return PackageList((Entry(f"of {manifest}"),))


@pytest.mark.parametrize(
    ("named", "groups", "allowed"),
    [
        ({"lab"}, {"lab", "course"}, True),
        ({"lab"}, {"course"}, False),
        ({"lab"}, {"laboratory"}, False),
        ({"lab"}, set(), False),
        (set(), {"lab"}, False),
        ({"*"}, {"lab"}, False),
    ],
)
def test_members_of_groups_that_are_named_may(named: set[str], groups: set[str], *, allowed: bool) -> None:
    evaluation = Evaluation(GUIX, groups=frozenset(named))
    assert evaluation.allows(RepositoryUrl.parse(URL), groups) is allowed


def test_nobody_may_unless_the_administrator_says_so() -> None:
    assert ManifestEvaluation().evaluation(GUIX) is None
    evaluation = ManifestEvaluation(groups=["lab"]).evaluation(GUIX)
    assert evaluation is not None
    assert evaluation.repositories == ()
    assert evaluation.groups == {"lab"}
    assert not evaluation.builds(RepositoryUrl.parse(URL), {"lab"})
    building = ManifestEvaluation(building_groups=["lab"]).evaluation(GUIX)
    assert building is not None
    assert building.builds(RepositoryUrl.parse(URL), {"lab"})
    assert Policy().evaluated_for(CAROL) == ()


async def test_a_manifest_is_run_for_a_member_and_for_nobody_else(tmp_path: Path, git_server: GitServer) -> None:
    program = '(use-modules (ice-9 ftw)) (specifications->manifest (scandir "."))'
    commit = Commit(git_server.commit("lab", {"manifest.scm": program}))
    (tmp_path / "client").mkdir()
    client = Client(tmp_path / "client", git_server.host)
    job, _ = await client.fetched(git_server.url("lab"))
    evaluation = Noted(GUIX, groups=frozenset({"lab"}))
    for groups in (frozenset[str](), frozenset({"course"})):
        with pytest.raises(ManifestUnreadable):
            await read(replace(job, groups=groups), client.git, commit, evaluation=evaluation)
    found = await read(replace(job, groups=frozenset({"lab"})), client.git, commit, evaluation=evaluation)
    assert "of manifest.scm" in [entry.name for entry in found.packages.entries]
    assert "was run" in found.remarks[0]


async def test_who_may_and_who_may_not_share_no_build(tmp_path: Path) -> None:
    gate = asyncio.Event()
    seen: dict[str, frozenset[str]] = {}

    async def wait(job: Job) -> None:
        seen[job.person] = job.groups
        await gate.wait()

    async with scripted(tmp_path, policy=POLICY) as (service, pipeline):
        pipeline.steps[BuildState.READING] = wait
        asked = {}
        for person in (ADA, CAROL, DAVE, Person("eve", frozenset({"course"})), ADMIN):
            detail = await service.manager.add_environment(NewEnvironment(URL), person)
            assert detail.build is not None
            asked[person.name] = detail.build.id
        # Neither gets what the other's rights make, and neither loses by them: not even an administrator.
        assert asked["carol"] == asked["dave"]
        assert asked["ada"] == asked["eve"] == asked["admin"]
        assert asked["ada"] != asked["carol"]
        gate.set()
        for build in set(asked.values()):
            assert (await service.finished(await service.store.build(build))).state is BuildState.READY
    assert seen == {"ada": frozenset(), "carol": {"lab"}}


async def test_members_of_groups_that_may_different_things_share_no_build(tmp_path: Path) -> None:
    async with scripted(tmp_path, policy=POLICY, start=False) as (service, _):
        asked = [
            (await service.manager.add_environment(NewEnvironment(URL), Person(name, frozenset(groups)))).build
            for name, groups in (
                ("carol", {"lab"}),
                ("erin", {"institute"}),
                ("frank", {"lab", "institute"}),
                ("gil", {"lab"}),
            )
        ]
        assert len({build.id for build in asked if build is not None}) == 3
        assert asked[0] is not None
        assert asked[3] is not None
        assert asked[0].id == asked[3].id


async def test_it_counts_what_groups_the_person_had_when_they_asked(tmp_path: Path) -> None:
    async with scripted(tmp_path, policy=POLICY, start=False) as (service, _):
        detail = await service.manager.add_environment(NewEnvironment(URL), DAVE)
        assert detail.build is not None
        # What has nothing to do with it is not kept.
        assert (await service.store.build(detail.build.id)).evaluated_for == ("lab",)
        left = await service.manager.start_build(detail.environment.id, Person("dave"))
        assert left.build is not None
        assert left.build.id != detail.build.id
        assert left.build.evaluated_for == ()
    seen: dict[str, frozenset[str]] = {}

    async def note(job: Job) -> None:
        seen[job.build] = job.groups

    async with scripted(tmp_path, start=False) as (service, pipeline):
        pipeline.steps[BuildState.READING] = note
        await service.queue.start()
        for build in (detail.build, left.build):
            assert (await service.finished(build)).state is BuildState.READY
    assert seen == {detail.build.id: {"lab"}, left.build.id: frozenset()}


async def test_what_the_configuration_wants_to_be_there_is_nobodys_request(tmp_path: Path) -> None:
    async with scripted(tmp_path, policy=POLICY) as (service, _):
        await service.manager.add_initial(NewEnvironment(URL), "carol")
        [detail] = await environments_for(CAROL, service.manager)
        assert (await service.finished(detail)).evaluated_for == ()
