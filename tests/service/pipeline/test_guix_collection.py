"""Guix's collector, asked as the service asks it: it makes the room that is wanted, of what nothing holds.

It has a store and a daemon of its own, on a file system in memory: in a store that others use too, what they need could go.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from guix_build_service.pipeline.disk import free
from guix_environment.guix_command import GuixCommand
from guix_environment.processes import run
from tests.service.web.real_hub import CHECKOUT

pytestmark = [pytest.mark.guix, pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")]

EACH = 4_000_000
ADD = """
(use-modules (guix store))
(with-store store
  (for-each (lambda (file) (format #t "~a~%" (add-to-store store (basename file) #f "sha256" file))) (cdr (command-line))))
"""


@dataclass(frozen=True)
class OwnStore:
    """A store that nobody else uses."""

    folder: Path
    guix: GuixCommand

    @property
    def store(self) -> Path:
        return self.folder / "store"

    async def add(self, number: int) -> list[Path]:
        """Add NUMBER items of `EACH` bytes, which nothing holds, and return them."""
        (self.folder / "add.scm").write_text(ADD)
        files = [self.folder / f"item-{each}" for each in range(number)]
        for file in files:
            file.write_bytes(os.urandom(EACH))
        done = await run(self.guix.script(self.folder / "add.scm", *files), environment=self.guix.environment(), timeout=60)
        assert done.succeeded, done.errors
        return [Path(line) for line in done.output.decode().splitlines()]

    def hold(self, item: Path) -> None:
        """Hold ITEM by a root."""
        (self.folder / "var/gcroots").mkdir(exist_ok=True)
        (self.folder / "var/gcroots" / item.name).symlink_to(item)


def daemon() -> list[str]:
    """Return the command that is Guix's daemon: the machine's, or that of the Guix in a folder, with its own loader."""
    if found := which("guix-daemon"):
        return [found]
    root = Path(os.environ.get("GUIXLAB") or CHECKOUT / ".cache/guix") / "guix"
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    return [f"{root}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries, f"{root}/usr/bin/guix-daemon"]


@contextmanager
def serving(folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    command = [*daemon(), "--disable-chroot", f"--listen={folder}/socket", "--no-substitutes"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=variables, stdout=log, stderr=log) as process:
        try:
            while not (folder / "socket").exists():
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnStore]:
    """Give a store of 64 MiB."""
    guix, path = which("guix"), os.environ["PATH"]
    assert guix is not None
    (tmp_path / "store").mkdir()
    variables = {
        "NIX_STORE_DIR": str(tmp_path / "store"),
        "GUIX_STATE_DIRECTORY": str(tmp_path / "var"),
        "GUIX_DATABASE_DIRECTORY": str(tmp_path / "var/db"),
        "GUIX_LOG_DIRECTORY": str(tmp_path / "logs"),
        "GUIX_DAEMON_SOCKET": str(tmp_path / "socket"),
    }
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,mode=755", "none", f"{tmp_path}/store"], check=True)
    try:
        with serving(tmp_path, {**variables, "GUIX": guix, "PATH": path}):
            yield OwnStore(tmp_path, GuixCommand(guix, tmp_path / "home", "root", path, variables))
    finally:
        subprocess.run(["umount", f"{tmp_path}/store"], check=True)


async def test_it_frees_what_is_asked_for_and_nothing_that_is_held(own: OwnStore) -> None:
    items = await own.add(5)
    for item in items[:2]:
        own.hold(item)
    before = free(own.store)
    done = await run(own.guix.collect(before + EACH + 1), environment=own.guix.environment(), timeout=60)
    assert done.succeeded, done.errors
    assert before + EACH < free(own.store) < before + 3 * EACH
    assert sum(item.exists() for item in items) == 3, "two of five had to go"
    assert all(item.exists() for item in items[:2])


async def test_it_removes_nothing_where_there_is_room(own: OwnStore) -> None:
    items = await own.add(1)
    done = await run(own.guix.collect(free(own.store)), environment=own.guix.environment(), timeout=60)
    assert (done.succeeded, [item.exists() for item in items]) == (True, [True])
