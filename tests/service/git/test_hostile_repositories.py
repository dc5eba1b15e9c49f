"""Hostile repositories by the dozen: nothing of theirs runs or is read, the limits hold, and people are told what to do."""

import stat
from pathlib import Path

import pytest

from guix_build_service.git import git as running
from guix_build_service.pipeline import fetch as fetching
from guix_build_service.pipeline import resolve as resolving
from guix_build_service.pipeline.job import ReadManifest
from guix_build_service.pipeline.read import read
from guix_environment.errors import GuixSpawnerError
from tests.service.client import Client
from tests.service.git.raw_repository import Objects, serve_raw, tripwire
from tests.service.hostile import CASES, READ, Hostile, Traps
from tests.service.providers.addresses import is_told_well

MEGABYTE = 1024 * 1024
LARGEST_PACK, LARGEST_LISTING, LARGEST_MEMORY = 20 * MEGABYTE, 80 * MEGABYTE, 384 * MEGABYTE


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set limits that are reached in a moment, but for those of time, which a busy machine reaches too."""
    monkeypatch.setattr(resolving, "LISTING_SECONDS", 500.0)
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 500.0)
    monkeypatch.setattr(running, "PROCESSOR_SECONDS", 500)
    for place in (running, fetching):
        monkeypatch.setattr(place, "LARGEST_PACK", LARGEST_PACK)
    monkeypatch.setattr(running, "LARGEST_MEMORY", LARGEST_MEMORY)
    monkeypatch.setattr(resolving, "LARGEST_LISTING", LARGEST_LISTING)


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 80


async def made_of(client: Client, port: int) -> tuple[str, ReadManifest | None, str]:
    """Return the code of what became of the repository at PORT, what was read of it, and all that a person is told."""
    try:
        job, resolved = await client.fetched(f"http://127.0.0.1:{port}/a.git")
        found = await read(job, client.git, resolved.commit)
    except GuixSpawnerError as error:
        return error.code if is_told_well(error) else f"{error.code}, without a word of help", None, str(error.as_json())
    return READ, found, repr(found)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
async def test_nothing_of_it_is_done(case: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine").mkdir()
    secret = tmp_path / "machine/kept"
    secret.write_text("SECRET")
    folder = tmp_path / "client"
    folder.mkdir()
    with tripwire() as (port, came):
        traps = Traps(tmp_path / "CANARY", secret, port)
        with serve_raw(case.build(Objects(), traps)) as served:
            code, found, told = await made_of(Client(folder, f"127.0.0.1:{served}"), served)
    assert (code, told) == (case.outcome, told)
    if found is not None:
        assert found.packages.specifications() == ("sed",) or found.packages.added
        assert found.notebook.isprintable()
    assert "SECRET" not in told
    assert "\x1b" not in told
    assert came == []
    assert not (tmp_path / "CANARY").exists()
    look_at_what_is_left(folder)


def look_at_what_is_left(folder: Path) -> None:
    """Fail where there is more below FOLDER than bare repositories of the service's own, or more than the limits allow."""
    size = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        assert not stat.S_ISLNK(status.st_mode), path
        if not stat.S_ISREG(status.st_mode):
            continue
        size += status.st_size
        assert not status.st_mode & stat.S_IXUSR or path.parent.name == "pack", path
        assert "hooks" not in path.parts
        assert path.name not in {"manifest.scm", ".gitmodules", "index", "alternates", "grafts", "shallow.lock"}
        if path.name == "config":
            assert "remote" not in path.read_text()
            assert "127.0.0.1" not in path.read_text()
        if status.st_size < MEGABYTE:
            assert b"SECRET" not in path.read_bytes()
    assert size <= LARGEST_PACK + MEGABYTE
