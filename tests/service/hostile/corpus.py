"""The corpus and what its repositories are put together with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.service.git.raw_repository import Objects, Raw

MANIFEST = b'(specifications->manifest (list "sed"))\n'
FILE, PROGRAM, LINK, FOLDER, SUBMODULE = "100644", "100755", "120000", "40000", "160000"
READ = "read"
"""It is read like any other, and what it tries is simply not done."""

DAMAGED = "repository-unavailable"
LARGE = "repository-too-large"
UNREADABLE = "manifest-unreadable"
ABSENT = "1234567890" * 4


@dataclass(frozen=True)
class Traps:
    """What must never be touched."""

    canary: Path
    """A file that commands in repositories would make."""
    secret: Path
    """A file of the machine that holds the word SECRET."""
    port: int
    """A port that nothing may connect to."""

    @property
    def command(self) -> str:
        return f"touch {self.canary}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


Build = Callable[[Objects, Traps], Raw]


@dataclass(frozen=True)
class Hostile:
    """One repository, and the code of what a person is told, or `READ`."""

    name: str
    outcome: str
    build: Build


CASES: list[Hostile] = []


def hostile(outcome: str) -> Callable[[Build], Build]:
    """Add the repository that the function builds to the corpus."""

    def add(build: Build) -> Build:
        CASES.append(Hostile(build.__name__, outcome, build))
        return build

    return add


def served(objects: Objects, commit: str) -> Raw:
    return Raw(commit, objects.pack)


def files(objects: Objects, contents: Mapping[bytes, bytes | tuple[str, bytes]]) -> Raw:
    """Return a repository with a good manifest and the files CONTENTS."""
    all_files = {b"manifest.scm": (FILE, MANIFEST)}
    all_files |= {name: body if isinstance(body, tuple) else (FILE, body) for name, body in contents.items()}
    return served(objects, objects.of_files(all_files))


def with_entries(objects: Objects, *entries: tuple[str, bytes, str], sort: bool = True) -> Raw:
    """Return a repository with a good manifest and the lines ENTRIES in its tree, however wrong."""
    manifest = (FILE, b"manifest.scm", objects.blob(MANIFEST))
    return served(objects, objects.commit(objects.tree([manifest, *entries], sort=sort)))
