"""What a container is made of, and the arguments by which Bubblewrap makes it.

Everything here is pure: a frozen plan in, words out.  A container sees of the store what is in the plan and nothing else,
has its own processes, users, host name and inter-process communication, and keeps the machine's network.  The words are
handed to ``bwrap --args FD`` so that no variable's value is ever on a command line (bwrap(1)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath

MOST_ARGUMENTS = 9000
"""Words that Bubblewrap reads (``MAX_ARGS`` in its ``bubblewrap.c``)."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the machine that the container sees."""

    source: str
    target: str
    writable: bool = False
    optional: bool = False
    """Leave it out when the machine has none."""


@dataclass(frozen=True, slots=True)
class TemporaryFolder:
    """A writable folder in memory, empty at the start and gone with the container."""

    target: str
    mode: int
    size: int | None = None
    """Most bytes in it; None leaves the kernel's own limit, half of the memory."""


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file that exists in the container alone."""

    target: str
    content: bytes
    mode: int = 0o444


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link in the container."""

    target: str
    points_to: str


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """A container, complete and before anything was done."""

    store_items: tuple[StorePath, ...]
    """What it sees of the store, read-only."""
    command: tuple[str, ...]
    """What it runs as its first process; absolute paths, and visible to everybody on the machine."""
    directory: str
    variables: Mapping[str, str]
    """The whole environment of the command."""
    host_name: str
    mounts: tuple[Mount, ...] = ()
    temporary_folders: tuple[TemporaryFolder, ...] = ()
    files: tuple[PlacedFile, ...] = ()
    links: tuple[Link, ...] = ()
    shared_memory: int | None = field(default=None)
    """Most bytes in ``/dev/shm``."""
    uid: int = 1000
    """The number by which the container's one account knows itself."""
    gid: int = 1000


def bubblewrap_options(plan: ContainerPlan, descriptors: Sequence[int]) -> tuple[str, ...]:
    """Return Bubblewrap's options for PLAN, without the command.

    DESCRIPTORS are open files to read the contents of ``plan.files`` from, in their order.  Raises `InvalidInput` when there
    are more words than Bubblewrap takes or one that cannot be handed over.
    """
    words = [*_isolation(plan), *_file_system(plan, descriptors), *_environment(plan)]
    if any("\0" in word for word in words):
        raise InvalidInput("A part of the container's plan holds a zero byte.")
    if len(words) > MOST_ARGUMENTS:
        raise InvalidInput(
            f"The environment has {len(plan.store_items)} parts, more than a container can be made of.",
            hint="Ask for fewer packages.",
        )
    return tuple(words)


def encode(options: Sequence[str]) -> bytes:
    """Return OPTIONS in the form that ``bwrap --args`` reads."""
    return b"".join(word.encode() + b"\0" for word in options)


def _isolation(plan: ContainerPlan) -> list[str]:
    return [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        # A namespace of its own inside would open the kernel's less tried parts to whatever a notebook runs.
        "--disable-userns",
        *("--uid", str(plan.uid)),
        *("--gid", str(plan.gid)),
        *("--hostname", plan.host_name),
        # Away from the hub's terminal, into which it could otherwise type.
        "--new-session",
        "--as-pid-1",
    ]


def _file_system(plan: ContainerPlan, descriptors: Sequence[int]) -> list[str]:
    """Folders first, then what lies in them, and the root closed last; a later one covers an earlier one."""
    words = ["--proc", "/proc", "--dev", "/dev"]
    if plan.shared_memory is not None:
        words += ["--perms", "1777", "--size", str(plan.shared_memory), "--tmpfs", "/dev/shm"]  # noqa: S108 - the container's own
    for item in plan.store_items:
        words += ["--ro-bind", item, item]
    for folder in plan.temporary_folders:
        size = [] if folder.size is None else ["--size", str(folder.size)]
        words += ["--perms", f"{folder.mode:04o}", *size, "--tmpfs", folder.target]
    for mount in plan.mounts:
        kind = ("--bind" if mount.writable else "--ro-bind") + ("-try" if mount.optional else "")
        words += [kind, mount.source, mount.target]
    for file, descriptor in zip(plan.files, descriptors, strict=True):
        words += ["--perms", f"{file.mode:04o}", "--file", str(descriptor), file.target]
    for link in plan.links:
        words += ["--symlink", link.points_to, link.target]
    return [*words, "--remount-ro", "/", "--chdir", plan.directory]


def _environment(plan: ContainerPlan) -> list[str]:
    words = ["--clearenv"]
    for name, value in sorted(plan.variables.items()):
        words += ["--setenv", name, value]
    return words
