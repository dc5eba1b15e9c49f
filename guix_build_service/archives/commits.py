"""Make a commit of files that are no repository: of the same files the same commit, on every machine."""

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.git.git import LARGEST_PACK, Git, version_reference
from guix_environment.errors import LimitReached, RepositoryTooLarge, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.processes import Completed, run

UNPACK = Path(__file__).with_name("unpack.py")
"""The program that reads archives."""

UNPACK_SECONDS = 120.0
_MEMORY = 1024 * 1024 * 1024
"""Bytes of addresses that the program may have."""

_LARGEST_FILE = LARGEST_PACK + 64 * 1024 * 1024
"""Bytes of what it writes: the content, and what stands between the files."""

_IMPORT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Authorship:
    """What a commit says beside its files."""

    name: str
    email: str
    moment: int
    """Seconds since 1970."""
    message: str


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was downloaded, and what becomes of it."""

    file: Path
    name: str
    """Its own path in the commit."""
    unpack: bool = False
    """Whether it is an archive, whose files are in the commit in its place."""


def commit_of_tree(tree: str, says: Authorship) -> Commit:
    """Return the commit without parents that has TREE and SAYS the rest, computed as Git does (gitformat-pack(5))."""
    who = f"{says.name} <{says.email}> {says.moment} +0000"
    content = f"tree {tree}\nauthor {who}\ncommitter {who}\n\n{says.message}".encode()
    return Commit(hashlib.sha1(b"commit %d\0" % len(content) + content, usedforsecurity=False).hexdigest())


async def commit_files(git: Git, folder: Path, sources: Sequence[Source], says: Authorship, within: str = "") -> Commit:
    """Make a bare repository at FOLDER with one commit of SOURCES, and return that commit.

    An archive's files all lie in the folder WITHIN, where it is given, and else perhaps in one folder, which is left out.
    Raises `RepositoryUnavailable` for what must not become a commit.
    """
    stream = folder.with_name("stream")
    files = [{"from": str(source.file), "to": source.name, "unpack": source.unpack} for source in sources]
    asked = {"name": says.name, "email": says.email, "moment": says.moment, "message": says.message}
    await _unpacked(git, {"do": "tree", "stream": str(stream), "files": files, "within": within, **asked})
    await _make(git, folder)
    with stream.open("rb") as content:
        words = ("fast-import", "--quiet", "--date-format=raw")
        _check(await git.run(*words, folder=folder, given=content, timeout=_IMPORT_SECONDS))
    await asyncio.to_thread(stream.unlink)
    found = await git.run("rev-parse", "--verify", "refs/heads/main^{commit}", folder=folder)
    _check(found)
    commit = Commit(found.output.decode().strip())
    _check(await git.run("update-ref", version_reference(commit), commit, folder=folder))
    return commit


async def take_packs(git: Git, folder: Path, archive: Path, commit: Commit) -> None:
    """Make a bare repository at FOLDER of the packs of the one in ARCHIVE, a tar file, in which COMMIT must be.

    Git names each object anew by what is in it. Raises `RepositoryUnavailable`.
    """
    await _make(git, folder)
    packs = folder.with_name("packs")
    await asyncio.to_thread(packs.mkdir)
    number = await _unpacked(git, {"do": "packs", "from": str(archive), "folder": str(packs)})
    for each in range(1, number + 1):
        with (packs / f"{each}.pack").open("rb") as content:
            words = ("index-pack", "--stdin", "--fix-thin", "--strict")
            _check(await git.run(*words, folder=folder, given=content, timeout=_IMPORT_SECONDS))
    await asyncio.to_thread(shutil.rmtree, packs)
    done = await git.run("update-ref", version_reference(commit), commit, folder=folder)
    if not done.succeeded:
        raise RepositoryUnavailable("What the archive sent is not what was asked for.", hint="Try again later.")


async def _unpacked(git: Git, asked: Mapping[str, object]) -> int:
    """Have the program do what is ASKED, and return how many files came of it."""
    limits = (f"--fsize={_LARGEST_FILE}", f"--as={_MEMORY}", f"--cpu={int(UNPACK_SECONDS)}")
    done = await run(
        ("prlimit", *limits, "--", sys.executable, "-I", UNPACK),
        environment={"PATH": git.search_path, "LC_ALL": "C.UTF-8", **(git.marks or {})},
        timeout=UNPACK_SECONDS,
        given=json.dumps(asked).encode(),
    )
    if not done.succeeded:
        raise RepositoryTooLarge("The archive takes more to unpack than this hub gives.", hint="Publish a smaller one.")
    answer = json.loads(done.output)
    if "refused" in answer:
        raise RepositoryUnavailable(answer["refused"], hint="Whoever published it may publish another version.")
    return int(answer["files"])


async def _make(git: Git, folder: Path) -> None:
    _check(await git.run("init", "--quiet", "--bare", "--template=", folder=folder))


def _check(done: Completed) -> None:
    if done.succeeded:
        return
    if b"No space left on device" in done.errors:
        raise LimitReached("The disk of this hub is full.", hint="Try again later, or tell the administrator.")
    raise RepositoryUnavailable(
        "Git refuses what is in this archive: it is damaged, or made to harm whoever reads it.",
        hint="Whoever published it may publish another version.",
    )
