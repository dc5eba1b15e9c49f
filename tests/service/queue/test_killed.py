"""A service that is killed at any moment, again and again: nothing is left running, lost or half done."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from guix_build_service.model.environments import BuildState, Person
from guix_build_service.pipeline.job import MARK
from tests.marked_processes import marked_with
from tests.service.installation import Installation
from tests.service.listing import environments_for
from tests.service.scripted import scripted

TIMES = int(os.environ.get("GUIX_SERVICE_KILLS", "5"))
"""How often the service is killed."""


def killed_at_work(folder: Path, seconds: float) -> None:
    """Have a service work in FOLDER and kill it SECONDS after it began."""
    command = [sys.executable, "-m", "tests.service.queue.killed", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "at work\n"
        try:
            victim.wait(seconds)
        except subprocess.TimeoutExpired:
            victim.send_signal(signal.SIGKILL)
        assert "failed" not in victim.stdout.read()
        assert victim.wait() == -signal.SIGKILL


async def check(service: Installation, folder: Path) -> int:
    """See that all is as if nobody had killed anything, and return how many builds there are by now."""
    kept = await service.store.everything_kept()
    builds = await service.store.builds_in(BuildState)
    for build in builds:
        assert build.state in {BuildState.READY, BuildState.CANCELLED}, build
        assert marked_with(MARK, str(build.id)) == []
        # What was cancelled at the moment at which it began has none.
        file = folder / "logs" / f"{build.id}.log"
        log = file.read_text() if file.exists() else ""
        witness = folder / "witnesses" / build.id
        # What a process says that it has written is there, each line once and in order.
        for line in witness.read_text().split("\n")[:-1] if witness.exists() else ():
            assert log.count(f"{line}\n") == 1, (build.id, line)
    for environment, versions in kept.items():
        detail = await service.store.environment(environment)
        folders = {path.name for path in (service.records.environment_folder(environment) / "versions").glob("*")}
        assert folders == set(versions)
        if detail.environment.current is not None:
            assert service.records.read_environment(environment).current == detail.environment.current
            service.records.read_version(environment, detail.environment.current)
        else:
            assert not (service.records.environment_folder(environment) / "environment.json").exists()
    assert {path.name for path in (folder / "records/environments").glob("*")} <= set(kept)
    assert set(service.roots.held()) == {key for versions in kept.values() for key in versions.values()}
    assert not list((folder / "builds").iterdir())
    return len(builds)


async def test_whatever_a_killed_service_was_at_is_done_or_done_again(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    built = 0
    for _ in range(TIMES):
        await asyncio.to_thread(killed_at_work, tmp_path, moments.uniform(0, 1.5))
        async with scripted(tmp_path) as (service, _pipeline):
            for build in await service.store.builds_in([state for state in BuildState if not state.is_final]):
                assert (await service.finished(build)).state is BuildState.READY
            for detail in await environments_for(Person("root", admin=True), service.manager):
                assert detail.version is not None
            built = await check(service, tmp_path)
    assert built
