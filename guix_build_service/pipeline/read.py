"""Find the manifest of a commit and read it as data, or have it run where the administrator allows that."""

import asyncio
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.git.git import Git
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.jail.plan import MOST_BYTES, chosen
from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.manifest.canonical import PackageList
from guix_build_service.manifest.channels import read_channels
from guix_build_service.manifest.grammar import EXAMPLE, NeighbourNeeded, Reading, read_manifest
from guix_build_service.manifest.kernels import with_kernels
from guix_build_service.manifest.pinned_channels import PinnedChannel, pinned
from guix_build_service.manifest.reader import LARGEST_TEXT
from guix_build_service.pipeline.definitions import definitions
from guix_build_service.pipeline.guix import system
from guix_build_service.pipeline.job import Job, ReadManifest
from guix_environment.errors import (
    ChannelsUnreadable,
    ManifestMissing,
    ManifestUnreadable,
    PackagesDefined,
    RepositoryUnavailable,
)
from guix_environment.identifiers import Commit

_PLACES = ("manifest.scm", ".guix/manifest.scm", "guix/manifest.scm")
_REGULAR = frozenset({"100644", "100755"})
_LINK = "120000"
_LONGEST_LISTING = 8 * 1024 * 1024
_HINT = f"Add a file manifest.scm that names the packages, such as:\n{EXAMPLE}"


@dataclass(frozen=True, slots=True)
class _File:
    """One line of ``git ls-tree --long``."""

    mode: str
    kind: str
    name: str
    size: int
    path: str


async def read(
    job: Job,
    git: Git,
    commit: Commit,
    *,
    evaluation: Evaluation | None = None,
    allowed_channels: Sequence[AllowedChannel] = (),
) -> ReadManifest:
    """Return what COMMIT asks for, kernels included; EVALUATION runs a manifest that is no data, where it may.

    Where the repository pins channels, no manifest is run: the Guix that would run it is not the one that it is meant for.
    Raises `ManifestMissing`, `ManifestUnreadable`, `ChannelsUnreadable`, `ChannelsRefused`, `ChannelsFailure`, and where it
    is run what `Evaluation.packages` and `definitions` raise.
    """
    file = await _manifest(job, git, commit)
    channels = await _channels(job, git, commit, file.path, allowed_channels)
    packages, remarks, additions = await _packages(evaluation, job, git, commit, file, pins=bool(channels))
    notebook = await _notebook(job, git, commit)
    return ReadManifest(with_kernels(packages), file.path, notebook, remarks, additions, channels)


async def _packages(
    evaluation: Evaluation | None, job: Job, git: Git, commit: Commit, file: _File, *, pins: bool
) -> tuple[PackageList, tuple[str, ...], Path | None]:
    """Return what FILE names, what to say of how that was found out, and the index of what must be added to the store.

    PINS tells that channels are pinned for it.
    """
    try:
        return (await _understood(job, git, commit, file)).packages, (), None
    except ManifestUnreadable as error:
        if evaluation is None or not evaluation.allows(job.repository, job.groups):
            raise
        if pins:
            hint = "Beside channels.scm, a manifest is not run on this hub, only read. Write it as a list of packages."
            raise ManifestUnreadable(error.message, hint=hint, details=error.details) from error
        await job.log.say(f"{error.message} Running it, without network and with nothing of this hub.")
        remark = f"{file.path} was run to know what it names: {error.message}"
    files = await _files(job, git, commit)
    try:
        return await evaluation.packages(files, file.path, job.marks), (remark,), None
    except PackagesDefined as error:
        if not evaluation.builds(job.repository, job.groups):
            raise
        await job.log.say(f"{error.message} Finding out what these are built of.")
    found = await definitions(evaluation, files, file.path, job.folder, job.marks)
    alone = f"{file.path} alone has {', '.join(found.own)}, which get none of Guix's urgent corrections (grafts)."
    return found.packages, (remark, alone), found.additions


def places(subdirectory: str) -> tuple[str, ...]:
    """Return where a manifest is looked for, in order."""
    inside = tuple(f"{subdirectory}/{place}" for place in _PLACES) if subdirectory else ()
    return (*inside, *(place for place in _PLACES if not subdirectory or "/" in place))


async def _manifest(job: Job, git: Git, commit: Commit) -> _File:
    wanted = places(job.subdirectory)
    found = {file.path: file for file in await _list(job, git, commit, *wanted)}
    for path in wanted:
        file = found.get(path)
        if file is None or file.kind == "tree":
            continue
        if file.mode == _LINK:
            raise ManifestUnreadable(
                f"{path} is a symbolic link, and links in repositories are not followed.",
                hint="Put the manifest itself there.",
                details={"file": path},
            )
        if file.mode not in _REGULAR:
            continue
        return file
    where = f"the folder {job.subdirectory} of the repository" if job.subdirectory else "the repository"
    raise ManifestMissing(f"There is no manifest.scm in {where}.", hint=_HINT, details={"looked_for": list(wanted)})


async def _understood(job: Job, git: Git, commit: Commit, file: _File) -> Reading:
    """Return what FILE says, with the files of COMMIT that it loads, however often it must be begun for them."""
    text = await _content(job, git, file)
    files: dict[str, str | None] = {}
    while True:
        try:
            return await asyncio.to_thread(read_manifest, text, file=file.path, files=files, system=system())
        except NeighbourNeeded as needed:
            files[needed.path] = await _neighbour(job, git, commit, needed.path)


async def _files(job: Job, git: Git, commit: Commit) -> dict[str, bytes]:
    """Return the files of COMMIT that a manifest may read when it is run."""
    listed = await _list(job, git, commit, below=True, limit=_LONGEST_LISTING)
    usable = {file.path: file for file in listed if file.mode in _REGULAR and file.size <= LARGEST_TEXT}
    files = [usable[path] for path in chosen({file.path: file.size for file in usable.values()})]
    given = "".join(f"{file.name}\n" for file in files).encode()
    done = await git.run("cat-file", "--batch", folder=job.clone, given=given, limit=2 * MOST_BYTES)
    if not done.succeeded:
        raise _unexpected()
    return _contents(files, done.output)


def _contents(files: Sequence[_File], output: bytes) -> dict[str, bytes]:
    """Return the contents of FILES from the OUTPUT of ``cat-file --batch``."""
    contents, position = {}, 0
    for file in files:
        begin = output.index(b"\n", position) + 1
        contents[file.path] = output[begin : begin + file.size]
        position = begin + file.size + 1
    return contents


async def _channels(
    job: Job, git: Git, commit: Commit, manifest: str, allowed: Sequence[AllowedChannel]
) -> tuple[PinnedChannel, ...]:
    """Return the channels of the channels file that lies beside MANIFEST; none where there is no such file."""
    path = posixpath.join(posixpath.dirname(manifest), "channels.scm")
    files: dict[str, str | None] = {}
    try:
        text = await _neighbour(job, git, commit, path)
        if text is None:
            return ()
        while True:
            try:
                reading = await asyncio.to_thread(read_channels, text, file=path, files=files)
                return pinned(reading.channels, allowed, path)
            except NeighbourNeeded as needed:
                files[needed.path] = await _neighbour(job, git, commit, needed.path)
    except ManifestUnreadable as error:
        raise ChannelsUnreadable(error.message, hint=error.hint, details=error.details) from error


async def _neighbour(job: Job, git: Git, commit: Commit, path: str) -> str | None:
    """Return the text of another file of COMMIT, or None where PATH is none: a folder, a link, or nothing."""
    for file in await _list(job, git, commit, path):
        if file.path == path and file.kind == "blob" and file.mode in _REGULAR:
            return await _content(job, git, file)
    return None


async def _content(job: Job, git: Git, file: _File) -> str:
    if file.size > LARGEST_TEXT:
        raise ManifestUnreadable(
            f"{file.path} is larger than {LARGEST_TEXT // 1024} KiB.",
            hint="A manifest names packages, and needs a few lines.",
            details={"file": file.path},
        )
    done = await git.run("cat-file", "blob", file.name, folder=job.clone, limit=LARGEST_TEXT + 1)
    if not done.succeeded:
        raise _unexpected()
    try:
        return done.output.decode()
    except UnicodeDecodeError:
        raise ManifestUnreadable(
            f"{file.path} is not text in UTF-8.", hint="Save it in that encoding.", details={"file": file.path}
        ) from None


async def _notebook(job: Job, git: Git, commit: Commit) -> str:
    """Return the notebook that people see first: ``index.ipynb``, else the first by name."""
    prefix = f"{job.subdirectory}/" if job.subdirectory else ""
    files = await _list(job, git, commit, *([prefix] if prefix else []))
    names = sorted(
        file.path.removeprefix(prefix) for file in files if file.mode in _REGULAR and file.path.endswith(".ipynb")
    )
    return "index.ipynb" if "index.ipynb" in names else next((name for name in names if _is_plain(name)), "")


def _is_plain(name: str) -> bool:
    """Tell whether NAME can stand in an address and a record without surprises."""
    return len(name) <= 200 and name.isprintable() and "\\" not in name


async def _list(
    job: Job, git: Git, commit: Commit, *paths: str, below: bool = False, limit: int = 1024 * 1024
) -> list[_File]:
    """Return what COMMIT has at PATHS, or at its top; with BELOW also in all folders."""
    words = ("ls-tree", "-z", "--long", "--full-tree", *(("-r",) if below else ()), commit, "--", *paths)
    done = await git.run(*words, folder=job.clone, limit=limit)
    if not done.succeeded:
        raise _unexpected()
    files = []
    # The last piece is empty, or was cut where the listing is endless.
    for line in done.output.decode(errors="replace").split("\0")[:-1]:
        description, _, path = line.partition("\t")
        mode, kind, name, size = description.split()
        files.append(_File(mode, kind, name, int(size) if size.isdecimal() else 0, path))
    return files


def _unexpected() -> RepositoryUnavailable:
    return RepositoryUnavailable("The repository could not be read after it was fetched.", hint="Build it again.")
