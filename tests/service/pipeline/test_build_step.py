"""The build step against a `guix` that hangs, floods its log or goes away: what no real one does on demand."""

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

import pytest

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts
from guix_build_service.logs.build_logs import Logs
from guix_build_service.manifest.canonical import Entry, PackageList
from guix_build_service.model.environments import BuildState, Progress, Resolved
from guix_build_service.pipeline import build as step
from guix_build_service.pipeline import guix, lower, running
from guix_build_service.pipeline.dialogue import Dialogue
from guix_build_service.pipeline.job import MARK, Job, Workshop
from guix_environment.errors import BuildFailure, BuildTimeout, GuixUnavailable, LimitReached
from guix_environment.files import read_json, write_json
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import BuildId, StorePath
from guix_environment.processes import Completed
from guix_environment.records import Records
from guix_environment.repository_url import RepositoryUrl
from guix_environment.roots import Roots
from tests.marked_processes import marked_with

PACKAGES = PackageList((Entry("sed"),))
LOWERED = lower.Lowered(
    StorePath("/gnu/store/" + "b" * 32 + "-profile.drv"), StorePath("/gnu/store/" + "a" * 32 + "-profile")
)


class Reporter:
    def __init__(self) -> None:
        self.progress: list[Progress] = []

    async def entered(self, state: BuildState) -> None:
        pass

    async def resolved(self, resolved: Resolved) -> None:
        pass

    async def progressed(self, progress: Progress) -> None:
        self.progress.append(progress)


def job_with(folder: Path, script: str, seconds: float = 30) -> tuple[Workshop, Job]:
    """Return a job whose `guix` is the Python program SCRIPT."""
    (folder / "bin").mkdir()
    program = folder / "bin/guix"
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{script}\n")
    program.chmod(0o755)
    path = f"{folder}/bin:/usr/bin:/bin"
    workshop = Workshop(
        git=Git("git", folder),
        guix=GuixCommand("guix", folder, "nobody", path),
        hosts=Hosts(),
        records=Records(folder / "records"),
        roots=Roots(folder / "roots"),
        state_folder=folder,
        build_seconds=seconds,
    )
    build = BuildId.new()
    (folder / "job").mkdir()
    log = Logs(folder / "logs").open(build)
    return workshop, Job(build, RepositoryUrl.parse("https://forge.example/a"), "", "", None, False, folder / "job", log)


async def run_step(workshop: Workshop, job: Job, reporter: Reporter | None = None) -> None:
    await step.build(workshop, job, "key", PACKAGES, LOWERED, reporter or Reporter())


async def lowered(workshop: Workshop, job: Job) -> None:
    names = workshop.state_folder / "names"
    async with lower.lowering(workshop.guix, job, PACKAGES, names, build_seconds=workshop.build_seconds):
        pass


async def test_nothing_more_is_waited_for_from_a_script_that_has_ended() -> None:
    ours, theirs = socket.socketpair()
    running: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()
    with os.fdopen(theirs.detach(), "rb", buffering=0) as end:
        streams = await asyncio.open_connection(sock=ours)
        said = asyncio.create_task(Dialogue(running, end, streams, contextlib.AsyncExitStack()).line(600))
        running.set_result(Completed(0, b"", b""))
        for _ in range(100):  # what is to happen takes the loop some rounds and no time; what does not would take for ever
            await asyncio.sleep(0)
        over = said.done()
        said.cancel()
        streams[1].close()
    assert over
    assert said.result() == b""


async def test_the_root_is_there_before_guix_starts_and_gone_after_a_failure(tmp_path: Path) -> None:
    script = f"print(os.readlink('{tmp_path}/roots/key')); print('builder for'); sys.exit(1)"
    workshop, job = job_with(tmp_path, script)
    with pytest.raises(BuildFailure):
        await run_step(workshop, job)
    assert f"{LOWERED.profile}\n" in job.log.path.read_text()
    assert workshop.roots.held() == {}


async def test_the_size_of_each_item_is_kept_with_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "read_variables", lambda _: {})
    other = StorePath("/gnu/store/" + "c" * 32 + "-glibc")
    answers = {"build.scm": f'(("{LOWERED.profile}" 12) ("{other}" 30))', "describe.scm": '""'}
    script = f"""
for name, answer in {answers!r}.items():
    if name in " ".join(sys.argv):
        open(sys.argv[-1], "w").write(answer)
"""
    workshop, job = job_with(tmp_path, script)
    profile = await step.build(workshop, job, "key", PACKAGES, LOWERED, Reporter())
    assert (profile.size, profile.sizes) == (42, (12, 30))
    assert step.known_items(workshop, "key") == {LOWERED.profile: 12, other: 30}
    assert step.known_items(workshop, "another") is None
    file = tmp_path / "profiles" / "key.json"
    earlier = {name: value for name, value in read_json(file).items() if name != "sizes"}
    write_json(file, earlier)
    assert step.known_items(workshop, "key") == {LOWERED.profile: None, other: None}


async def test_a_root_that_was_there_before_stays_after_a_failure(tmp_path: Path) -> None:
    workshop, job = job_with(tmp_path, "sys.exit(1)")
    earlier = StorePath("/gnu/store/" + "c" * 32 + "-profile")
    workshop.roots.hold("key", earlier)
    with pytest.raises(BuildFailure):
        await run_step(workshop, job)
    assert workshop.roots.held() == {"key": earlier}


async def test_a_build_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    workshop, job = job_with(tmp_path, "time.sleep(600)", seconds=0.5)
    with pytest.raises(BuildTimeout, match="longer than"):
        await run_step(workshop, job)
    assert marked_with(MARK, str(job.build)) == []


async def test_a_build_that_floods_its_log_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LARGEST_LOG", 1_000_000)
    workshop, job = job_with(tmp_path, "print('x' * 1_000_001, flush=True); time.sleep(30)")
    with pytest.raises(LimitReached):
        await run_step(workshop, job)
    assert marked_with(MARK, str(job.build)) == []
    assert "[The log ends here" in job.log.path.read_text()[-200:]


async def test_a_daemon_that_does_not_answer_is_told_as_such(tmp_path: Path) -> None:
    said = "guix build: error: failed to connect to `/var/guix/daemon-socket/socket': Connection refused"
    workshop, job = job_with(tmp_path, f"print({said!r}); sys.exit(1)")
    with pytest.raises(GuixUnavailable):
        await run_step(workshop, job)
    with pytest.raises(GuixUnavailable):
        await lowered(workshop, job)


async def test_progress_is_reported_while_it_builds(tmp_path: Path) -> None:
    item = "/gnu/store/" + "d" * 32 + "-sed-4.9"
    script = f"open(sys.argv[-2], 'a').write('to-download {item} 30\\nsubstituter-started {item}\\n'); time.sleep(1.5)"
    workshop, job = job_with(tmp_path, script + "; sys.exit(1)")
    reporter = Reporter()
    with pytest.raises(BuildFailure):
        await run_step(workshop, job, reporter)
    assert Progress("Downloading sed-4.9", 0, 1, 0, 30, "sed-4.9") in reporter.progress


async def test_a_cancelled_build_leaves_no_process_and_no_root(tmp_path: Path) -> None:
    workshop, job = job_with(tmp_path, "time.sleep(600)")
    task = asyncio.create_task(run_step(workshop, job))
    while not marked_with(MARK, str(job.build)):
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marked_with(MARK, str(job.build)) == []
    assert workshop.roots.held() == {}


READY = f'os.write(0, b\'(ready "{LOWERED.derivation}" "{LOWERED.profile}")\\n\')'
"""What a Guix does that has worked out a profile."""


async def build_in_one(workshop: Workshop, job: Job) -> None:
    names = workshop.state_folder / "names"
    async with lower.lowering(workshop.guix, job, PACKAGES, names, build_seconds=workshop.build_seconds) as found:
        assert (found.derivation, found.profile) == (LOWERED.derivation, LOWERED.profile)
        await step.build(workshop, job, "key", PACKAGES, found, Reporter())


async def test_one_guix_works_out_the_profile_and_builds_it_once_its_root_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "read_variables", lambda _: {})
    script = f"""
if "describe.scm" in sys.argv[3]:
    open(sys.argv[-1], "w").write('""')
    sys.exit()
{READY}
told = os.read(0, 10000).decode()
print("told", told, os.readlink('{tmp_path}/roots/key'))
open(told.split('"')[-2], "w").write('(("{LOWERED.profile}" 12))')
"""
    workshop, job = job_with(tmp_path, script)
    await build_in_one(workshop, job)
    said = job.log.path.read_text()
    assert said.count("told (build 3600 30 ") == 1
    assert f" {LOWERED.profile}\n" in said


async def test_a_guix_that_ends_before_it_is_told_to_build_is_a_failure(tmp_path: Path) -> None:
    workshop, job = job_with(tmp_path, f"{READY}; sys.exit(1)")
    with pytest.raises(BuildFailure):
        await build_in_one(workshop, job)
    assert workshop.roots.held() == {}


async def test_a_guix_that_takes_too_long_to_build_what_it_worked_out_is_ended(tmp_path: Path) -> None:
    workshop, job = job_with(tmp_path, f"{READY}; time.sleep(30)", seconds=0.5)
    with pytest.raises(BuildTimeout, match="longer than"):
        await build_in_one(workshop, job)
    assert marked_with(MARK, str(job.build)) == []
    assert workshop.roots.held() == {}


async def test_a_guix_that_is_not_told_to_build_is_ended(tmp_path: Path) -> None:
    workshop, job = job_with(tmp_path, f"{READY}; time.sleep(600)")
    async with lower.lowering(workshop.guix, job, PACKAGES, tmp_path / "names", build_seconds=600):
        assert marked_with(MARK, str(job.build))
    assert marked_with(MARK, str(job.build)) == []


async def test_a_guix_that_gives_no_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower, "QUESTION_SECONDS", 0.5)
    workshop, job = job_with(tmp_path, "time.sleep(600)")
    with pytest.raises(BuildFailure, match="in time"):
        await lowered(workshop, job)
    assert marked_with(MARK, str(job.build)) == []


async def test_no_guix_is_told_as_such(tmp_path: Path) -> None:
    workshop, _ = job_with(tmp_path, "")
    (tmp_path / "bin/guix").unlink()
    command = GuixCommand("guix", tmp_path, "nobody", f"{tmp_path}/bin")
    with pytest.raises(GuixUnavailable, match="finds no Guix"):
        guix.identity(command)
    del workshop


@pytest.mark.parametrize(
    "answer", ["", "(odd)", "(ready 1 2)", '(ready "/etc" "/etc")', "(", "(ready) (ready)", "(unknown x)"]
)
async def test_a_strange_answer_is_a_failure_and_not_a_fault(tmp_path: Path, answer: str) -> None:
    workshop, job = job_with(tmp_path, f"os.write(0, {answer.encode()!r} + b'\\n')")
    with pytest.raises((BuildFailure, GuixUnavailable)):
        await lowered(workshop, job)
