"""Attempts at one build by several services: each ends its own, and whoever takes over those of who is gone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guix_build_service.pipeline.job import COPIES, MARK, RUN_BY
from guix_build_service.queue.attempts import Attempts, builds_begun_by
from guix_environment.identifiers import BuildId
from tests.marked_processes import marked_with

HYDRA = """
import os, signal, subprocess, sys

def leave(*_):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    sys.exit()

signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
signal.pause()
"""
"""What starts another process when it is asked to end."""

SERVICES = ("ours", "gone", "there")


@contextmanager
def attempted(folder: Path, build: BuildId, service: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of SERVICE's attempt at BUILD, whose folder is in FOLDER."""
    place = Attempts(service, folder).folder(build)
    place.mkdir()
    (place / "left").touch()
    with subprocess.Popen(["sleep", "600"], env={MARK: build, RUN_BY: service, "PATH": "/usr/bin:/bin"}) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("deed", "running", "folders"),
    [("end", {"gone", "there"}, {"ours", "gone", "there"}), ("clear", {"there"}, {"there"})],
)
async def test_of_several_attempts_at_a_build_only_those_end_that_are_to(
    tmp_path: Path, deed: str, running: set[str], folders: set[str]
) -> None:
    build, attempts = BuildId.new(), Attempts("ours", tmp_path)
    with (
        attempted(tmp_path, build, "ours") as ours,
        attempted(tmp_path, build, "gone") as gone,
        attempted(tmp_path, build, "there") as there,
        attempted(tmp_path, BuildId.new(), "gone") as other,
    ):
        await (attempts.end(build) if deed == "end" else attempts.clear(build, {"there"}))
        processes = zip(SERVICES, (ours, gone, there), strict=True)
        assert {name for name, process in processes if process.poll() is None} == running
        assert other.poll() is None, "another build"
        assert {name for name in SERVICES if Attempts(name, tmp_path).folder(build).exists()} == folders
        assert build in await builds_begun_by("there")
        assert build not in await builds_begun_by("ours")


async def test_what_a_process_starts_while_it_is_being_ended_is_ended_too(tmp_path: Path) -> None:
    build = BuildId.new()
    marks = {MARK: str(build), RUN_BY: "ours", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", HYDRA], env=marks, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        await Attempts("ours", tmp_path).end(build)
        assert marked_with(MARK, str(build)) == []


async def test_what_was_written_is_copied_although_the_copying_had_not_begun(tmp_path: Path) -> None:
    build = BuildId.new()
    marks = {MARK: str(build), RUN_BY: "gone", "PATH": "/usr/bin:/bin"}
    reading, writing = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        copying = subprocess.Popen(
            ["sh", "-c", "sleep 0.2; exec cat"], env={**marks, COPIES: "log"}, stdin=reading, stdout=log
        )
        script = "echo a line; echo written >&2; exec sleep 600"
        at_work = subprocess.Popen(["sh", "-c", script], env=marks, stdout=writing, stderr=subprocess.PIPE)
    os.close(reading)
    os.close(writing)
    with copying, at_work:
        assert at_work.stderr is not None
        assert at_work.stderr.readline() == b"written\n"
        await Attempts("ours", tmp_path).clear(build, {"there"})
        assert (tmp_path / "log").read_text() == "a line\n"
        assert marked_with(MARK, str(build)) == []
