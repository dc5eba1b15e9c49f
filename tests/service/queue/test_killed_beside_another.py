"""Two processes of the service on one PostgreSQL and the real Guix, one of which is killed while it builds."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from guix_build_service.model.environments import Build, BuildState, NewEnvironment
from guix_build_service.pipeline.job import MARK
from guix_environment.identifiers import BuildId
from guix_environment.process_identity import from_record, send_signal
from tests.git_server import GitServer
from tests.marked_processes import marked_with
from tests.postgresql import PostgreSQL
from tests.service.installation import ADA, Installation, installation

pytestmark = [pytest.mark.guix, pytest.mark.timeout(900)]


@contextlib.contextmanager
def two_services(words: Sequence[str]) -> Iterator[None]:
    """Run two services, which WORDS tell where and with what, until the context ends."""
    with contextlib.ExitStack() as running:
        for _ in range(2):
            process = subprocess.Popen([sys.executable, "-m", "tests.service.serving", *words])
            running.callback(process.wait)
            running.callback(process.kill)
        yield


async def building(service: Installation, build: BuildId) -> Build:
    """Return BUILD once Guix runs for it, with one of its two services at it."""
    while (found := await service.store.build(build)).state is not BuildState.BUILDING or not marked_with(MARK, build):
        assert not found.state.is_final, found.error
        await asyncio.sleep(0.01)
    return found


async def test_the_other_service_takes_the_build_over_and_it_becomes_ready_once(
    git_server: GitServer, postgresql: PostgreSQL, tmp_path: Path, guix_profiles: Path
) -> None:
    git_server.commit("demo", {"manifest.scm": '(specifications->manifest (list "python" "python-pandas"))\n'})
    folder, roots, database = tmp_path / "service", guix_profiles / "environments", postgresql.current()
    words = [str(folder), git_server.host, str(roots), database]
    async with installation(folder, git_server.host, roots=roots, database=database, start=False) as service:
        with two_services(words):
            while len(await service.store.other_services()) < 2:
                await asyncio.sleep(0.05)
            asked = await service.manager.add_environment(NewEnvironment(git_server.url("demo")), ADA)
            assert asked.build is not None
            first = await building(service, asked.build.id)
            serving = {each.id: from_record(each.process) for each in await service.store.other_services()}
            victim = serving.pop(str(first.service))
            assert victim is not None
            assert send_signal(victim, signal.SIGKILL)
            assert not (await service.store.build(first.id)).state.is_final
            finished = await service.finished(asked)
            assert finished.state is BuildState.READY, finished.error
            assert [finished.service] == list(serving)
            assert [each.id for each in await service.store.other_services()] == list(serving)
        assert marked_with(MARK, first.id) == []
        [version] = await service.store.versions(asked.environment.id)
        environment = service.records.read_environment(asked.environment.id)
        assert environment.current == version.id
        assert service.records.read_version(environment.id, version.id).profile == version.profile
        kept = service.records.environment_folder(environment.id) / "versions"
        assert [path.name for path in kept.iterdir()] == [version.id]
        assert service.roots.held() == {version.key: version.profile}
        assert not list((folder / "builds").iterdir())
        assert (Path(version.profile) / "bin/python3").exists()
        assert (await service.log(first.id)).count("Ready.\n") == 1
