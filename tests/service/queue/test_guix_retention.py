"""Retention with the real Guix: what is let go is really collected, and comes back as the same item of the store."""

import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from guix_build_service.model.environments import BuildState, NewEnvironment
from guix_build_service.model.retention import Rules
from guix_environment.roots import Roots
from tests.git_server import GitServer
from tests.service.installation import ADA, ADMIN, Installation, installation

pytestmark = [pytest.mark.guix, pytest.mark.timeout(900)]

FIRST = '(specifications->manifest (list "python" "python-pandas"))\n'
SECOND = '(specifications->manifest (list "python"))\n'


@pytest.fixture
async def service(tmp_path: Path, git_server: GitServer, guix_profiles: Path) -> AsyncIterator[Installation]:
    """A service on the real Guix, whose roots and leases are where the collector looks."""
    roots, leases = guix_profiles / "environments", Roots(guix_profiles / "sessions")
    async with installation(tmp_path / "service", git_server.host, roots=roots, leases=leases) as running:
        yield running


def kept_because(item: str) -> str:
    """Have Guix's collector remove ITEM alone, and return what it says where it does not."""
    done = subprocess.run(["guix", "gc", "--delete", item], check=False, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


async def test_what_is_let_go_is_collected_and_comes_back_the_same_from_the_record_alone(
    service: Installation, git_server: GitServer, tmp_path: Path
) -> None:
    git_server.commit("plots", {"manifest.scm": FIRST})
    asked = await service.manager.add_environment(NewEnvironment(git_server.url("plots")), ADA)
    assert (await service.finished(asked)).state is BuildState.READY
    environment = asked.environment.id
    (old,) = await service.manager.versions(environment, ADA)
    git_server.commit("plots", {"manifest.scm": SECOND})
    assert (await service.finished(await service.manager.start_build(environment, ADA))).state is BuildState.READY

    export = await service.manager.export(environment, old.id, ADA)
    record = service.records.read_version(environment, old.id)
    before = {path.name for path in (service.folder / "logs").iterdir()}
    leases = Roots(service.roots.folder.parent / "sessions")
    assert "still alive" in kept_because(old.profile), "its root holds it"
    leases.hold("ada.default.environment", old.profile)
    assert (await service.manager.let_go(ADMIN, Rules(unused=timedelta(0)))).decisions == (), "a session holds it"
    leases.release("ada.default.environment")

    (decision,) = (await service.manager.let_go(ADMIN, Rules(unused=timedelta(0)))).decisions
    assert decision.holding.profile == old.profile
    assert decision.frees is not None
    assert decision.frees > 0
    assert kept_because(old.profile) == "", "nothing holds it any more"
    assert not Path(old.profile).exists()
    # What it is made of stays known.
    assert await service.manager.export(environment, old.id, ADA) == export
    assert service.records.read_version(environment, old.id) == record
    assert {path.name for path in (service.folder / "logs").iterdir()} == before
    assert (await service.manager.version(environment, old.id, ADA)).let_go is not None
    assert not await service.manager.is_whole(old)

    # The repository itself is not needed for it.
    git_server.folder.rename(tmp_path / "gone")
    building = await service.manager.start_build(environment, ADA, version=old.id)
    build = await service.finished(building)
    assert build.state is BuildState.READY, build.error
    again = await service.manager.version(environment, old.id, ADA)
    assert (again.let_go, again.profile, again.key) == (None, old.profile, old.key)
    assert Path(old.profile, "bin/python3").exists()
    assert service.roots.held()[old.key] == old.profile
    assert "still alive" in kept_because(old.profile)
    assert await service.manager.is_whole(old)
