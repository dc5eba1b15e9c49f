"""What is around a manifest while it is run: Guix, the repository's files, and nothing else.

There is no network but an empty one, no daemon, no file of the machine's but Guix's own, nobody's home, no secret; nothing
can be written but a small folder in memory; and there is room for one process.  All of this is pure.
"""

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from guix_environment.container import ContainerPlan, Link, Mount, Network, PlacedFile, TemporaryFolder
from guix_environment.identifiers import StorePath
from guix_environment.processes import Account

REPOSITORY = "/repository"
"""Where the repository's files are."""

HOME = "/home"

MOST_FILES = 500
MOST_BYTES = 4 * 1024 * 1024
_LONGEST_NAME = 1000

EVALUATE = Path(__file__).with_name("scheme") / "evaluate.scm"
"""Our own program that says which packages a manifest names."""

_PROGRAMS = "/evaluation"
_SHARED = EVALUATE.with_name("meanings.scm")
_FOLDER_SIZE = 8 * 1024 * 1024
_OPEN_FILES = 128
_THREADS = 64


@dataclass(frozen=True, slots=True)
class EvaluatingGuix:
    """What Guix consists of, as far as it evaluates."""

    program: str
    """The ``guix`` command, as it is called inside."""
    store_items: tuple[StorePath, ...] = ()
    mounts: tuple[Mount, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one evaluation may use."""

    seconds: float = 120.0
    """Of a clock on the wall."""
    memory: int = 2 * 1024**3
    """Bytes of addresses; it is one process alone."""
    output: int = 1024 * 1024
    """Bytes that it may print, the answer included."""


@dataclass(frozen=True, slots=True)
class Jail:
    """Where manifests are run, and as whom."""

    guix: EvaluatingGuix
    account: Account
    bounds: Bounds = field(default_factory=Bounds)


def chosen(files: Mapping[str, int]) -> list[str]:
    """Return which of a repository's FILES, names with their sizes, a manifest may read: Scheme first, then the smallest."""
    usable = sorted(
        (not name.endswith(".scm"), size, name)
        for name, size in files.items()
        if name.isprintable() and len(name) <= _LONGEST_NAME and not {"", ".", ".."} & set(name.split("/"))
    )[:MOST_FILES]
    sums = accumulate(size for _, size, _ in usable)
    return [name for (_, _, name), total in zip(usable, sums, strict=True) if total <= MOST_BYTES]


def plan(
    jail: Jail,
    files: Mapping[str, bytes],
    manifest: str,
    marks: Mapping[str, str],
    seccomp: bytes,
    program: Path = EVALUATE,
) -> ContainerPlan:
    """Return the container in which MANIFEST, one of the repository's FILES, is run by our own PROGRAM.

    MARKS are variables by which its process is found; SECCOMP is the filter for its system calls.
    """
    guix = jail.guix
    return ContainerPlan(
        store_items=guix.store_items,
        command=(guix.program, "repl", "--", f"{_PROGRAMS}/{program.name}", f"{REPOSITORY}/{manifest}"),
        directory=REPOSITORY,
        variables={
            "PATH": str(Path(guix.program).parent),
            "HOME": HOME,
            "XDG_CACHE_HOME": f"{HOME}/.cache",
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "GUILE_AUTO_COMPILE": "0",
            # One thread collects garbage, on as many processors as there may be.
            "GC_MARKERS": "1",
            **marks,
        },
        host_name="evaluation",
        network=Network.OWN,
        mounts=guix.mounts,
        links=guix.links,
        temporary_folders=(TemporaryFolder(HOME, 0o700, _FOLDER_SIZE),),
        files=(
            *(PlacedFile(f"{_PROGRAMS}/{script.name}", script.read_bytes()) for script in (program, _SHARED)),
            *(PlacedFile(f"{REPOSITORY}/{name}", content) for name, content in files.items()),
        ),
        shared_memory=_FOLDER_SIZE,
        sharing=("/tmp",),  # noqa: S108 - the container's own  # nosec B108
        filter=seccomp,
    )


def limits(bounds: Bounds) -> Mapping[int, int]:
    """Return the limits for BOUNDS by the numbers of setrlimit(2)."""
    return {
        resource.RLIMIT_AS: bounds.memory,
        # Reached only where nobody is left to look at the clock.
        resource.RLIMIT_CPU: int(3 * bounds.seconds) + 1,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _FOLDER_SIZE,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_NPROC: _THREADS,
        resource.RLIMIT_MEMLOCK: 0,
    }
