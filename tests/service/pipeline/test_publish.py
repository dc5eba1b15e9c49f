"""Publishing with the real Git: a version is there as a whole, or nothing of it is."""

import asyncio
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from guix_build_service.git.git import Git, version_reference
from guix_build_service.logs.build_logs import Logs
from guix_build_service.manifest.canonical import Entry, PackageList
from guix_build_service.model.asked_for import new_environment
from guix_build_service.model.environments import NewEnvironment, Resolved
from guix_build_service.pipeline.job import Job, Made, Profile, ReadManifest
from guix_build_service.pipeline.publish import kept_repositories, publish, withdraw_environment
from guix_environment.errors import NotFound
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, VersionId
from guix_environment.records import Records
from guix_environment.repository_access import RepositoryAccess
from guix_environment.repository_url import RepositoryUrl
from tests.service.installation import ADA
from tests.service.scripted import PROFILE

URL = RepositoryUrl.parse("https://forge.example/ada/plots")
ENVIRONMENT = new_environment(NewEnvironment(str(URL)), ADA)


def fetched(folder: Path) -> tuple[Job, Made]:
    """Return a job that has fetched a commit, and what was made of it."""
    log = Logs(folder / "logs").open(build := BuildId.new())
    job = Job(build, URL, "main", "", None, False, folder / "job", log)

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", f"--git-dir={job.clone}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, input="").stdout.strip()

    git("init", "--quiet", "--bare", str(job.clone))
    commit = Commit(git("commit-tree", "-m", "one", git("mktree")))
    git("update-ref", version_reference(commit), commit)
    manifest = ReadManifest(PackageList((Entry("sed"),)), "manifest.scm", "")
    return job, Made(Resolved(URL, "main", commit), manifest, Profile("key", PROFILE, (PROFILE,), 1, {}))


async def test_a_version_is_whole_before_the_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, (job, made) = Records(tmp_path / "records"), fetched(tmp_path)
    write_environment = Records.write_environment
    seen: list[Path] = []

    def watched(self: Records, record: object) -> None:
        seen.extend(self.environment_folder(ENVIRONMENT.id).glob("versions/*/version.json"))
        write_environment(self, record)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(Records, "write_environment", watched)
    version = await publish(records, Git("git", tmp_path), job, made, ENVIRONMENT)
    assert seen == [records.version_folder(ENVIRONMENT.id, version.id) / "version.json"]
    assert records.read_environment(ENVIRONMENT.id).current == version.id


async def test_sessions_can_read_what_was_published_whatever_our_umask_is(tmp_path: Path) -> None:
    records, (job, made) = Records(tmp_path / "records"), fetched(tmp_path)
    before = os.umask(0o077)
    try:
        await publish(records, Git("git", tmp_path), job, made, ENVIRONMENT)
    finally:
        os.umask(before)
    repository = records.repository(ENVIRONMENT.id)
    found = [repository, *repository.rglob("*")]
    assert len(found) > 5
    assert [path for path in found if not path.stat().st_mode & (0o001 if path.is_dir() else 0o004)] == []


@pytest.mark.parametrize("person", [ADA.name, "bob"])
async def test_a_private_repository_was_read_by_its_owner_only_where_they_asked(tmp_path: Path, person: str) -> None:
    records, (job, made) = Records(tmp_path / "records"), fetched(tmp_path)
    private = replace(made, resolved=replace(made.resolved, private=True))
    await publish(records, Git("git", tmp_path), replace(job, person=person), private, ENVIRONMENT)
    access = records.read_access(ENVIRONMENT.id)
    assert access is not None
    assert (access.read is not None) is (person == ADA.name)


def test_what_is_kept_of_a_private_repository_stands_for_no_other(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    public, private, damaged = (EnvironmentId.new() for _ in range(3))
    records.write_access(private, RepositoryAccess())
    records.write_access(damaged, RepositoryAccess())
    (records.environment_folder(damaged) / "access.json").write_text("{")
    assert kept_repositories(records, (public, private, damaged)) == [records.repository(public)]


def test_an_environment_without_a_current_version_loses_its_record_but_nothing_that_is_being_published(
    tmp_path: Path,
) -> None:
    records = Records(tmp_path / "records")
    folder = records.environment_folder(ENVIRONMENT.id)
    being_published = records.version_folder(ENVIRONMENT.id, VersionId.new())
    being_published.mkdir(parents=True)
    (folder / "environment.json").touch()
    withdraw_environment(records, ENVIRONMENT.id)
    assert list(folder.iterdir()) == [being_published.parent]
    being_published.rmdir()
    withdraw_environment(records, ENVIRONMENT.id)
    assert not folder.exists()


@pytest.mark.parametrize("step", ["write_version", "write_environment"])
async def test_what_is_cancelled_while_it_writes_writes_nothing_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    records, (job, made) = Records(tmp_path / "records"), fetched(tmp_path)
    begun, go, ended, write = threading.Event(), threading.Event(), threading.Event(), getattr(Records, step)

    def slow(*arguments: object) -> None:
        begun.set()
        go.wait()
        write(*arguments)
        ended.set()

    monkeypatch.setattr(Records, step, slow)
    publishing = asyncio.create_task(publish(records, Git("git", tmp_path), job, made, ENVIRONMENT))
    await asyncio.to_thread(begun.wait)
    publishing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert ended.is_set()
    assert list(records.environment_folder(ENVIRONMENT.id).glob("versions/*")) == []


async def test_what_cannot_be_written_leaves_nothing_of_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, (job, made) = Records(tmp_path / "records"), fetched(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Records, "write_environment", full)
    with pytest.raises(OSError, match="No space"):
        await publish(records, Git("git", tmp_path), job, made, ENVIRONMENT)
    assert list(records.environment_folder(ENVIRONMENT.id).glob("versions/*")) == []
    with pytest.raises(NotFound):
        records.read_environment(ENVIRONMENT.id)
