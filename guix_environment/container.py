"""What a container is made of, and the order by which the launcher makes it.

Everything here is pure: a frozen plan in, words out.  A container sees of the store what is in the plan and nothing else,
and has its own processes, users, host name, inter-process communication and, unless the plan says otherwise, network.
The words go over a socket, so that no variable's value is ever on a command line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath
from guix_environment.launcher import messages

STORE = "/gnu/store"

SECRETS = "GUIX_SESSION_SECRETS"
"""The variable that tells a command where its secrets are."""

INSIDE = 1000
"""The number of a container's one account and of its group, as seen from within."""

_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_STANDARD = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_NAMESPACES = ("ipc", "mount", "pid", "user", "uts")
_OUTSIDE = b"outside"
"""What an order says of the network for a command that gets no container."""


class Network(Enum):
    """Which network a container sees."""

    OWN = "own"
    """One of its own, with a loopback interface and what is added to it."""
    HOST = "host"
    """The machine's, with all that listens on its loopback."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the machine that the container sees."""

    source: str
    target: str
    writable: bool = False
    optional: bool = False
    """Leave it out when the machine has none."""
    sealed: bool = False
    """It lies in a folder that is closed to the container's account, and is opened with the hub's rights."""


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
    """The environment of the command."""
    host_name: str
    network: Network = Network.OWN
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that are in no process's environment, for others to read: they are in a pipe, whose descriptor's number the
    command finds in the variable `SECRETS`, each as ``NAME=VALUE`` with a zero byte behind it."""
    mounts: tuple[Mount, ...] = ()
    temporary_folders: tuple[TemporaryFolder, ...] = ()
    files: tuple[PlacedFile, ...] = ()
    links: tuple[Link, ...] = ()
    shared_memory: int | None = field(default=None)
    """Most bytes in ``/dev/shm`` and the `sharing` folders together."""
    sharing: tuple[str, ...] = ()
    """Further folders that everybody may write to, in the same memory as ``/dev/shm``: filled one by one, several bounds of
    their own would add up to all that the container may use."""
    filter: bytes = b""
    """A seccomp program for everything in it (`guix_environment.system_call_filter`), or nothing."""


def division(network: Network, groups: tuple[int, ...] = ()) -> bytes:
    """Return the request for a first process in namespaces of its own.

    GROUPS are the machine's numbers of the groups that the account has beside its own, for a hub that may give any.
    """
    namespaces = (*_NAMESPACES, "network") if network is Network.OWN else _NAMESPACES
    return messages.message(messages.join(b"%d" % group for group in groups), *map(str.encode, namespaces))


def plain_division(groups: tuple[int, ...] = ()) -> bytes:
    """Return the request for a process that waits in the machine's own namespaces."""
    return messages.message(messages.join(b"%d" % group for group in groups))


def order(plan: ContainerPlan) -> bytes:
    """Return the order that turns a first process into PLAN's container.

    Raises `InvalidInput` for a part that cannot be handed over.
    """
    words = [[_bytes(word) for word in operation] for operation in operations(plan)]
    settings = (f"{INSIDE}", f"{INSIDE}", plan.host_name, plan.directory, plan.network.value)
    return messages.message(
        messages.join((*map(_bytes, settings), plan.filter)),
        messages.join(map(_bytes, plan.command)),
        _pairs(plan.variables),
        _pairs(plan.secrets),
        *map(messages.join, words),
    )


def plain_order(
    command: Sequence[str], variables: Mapping[str, str], secrets: Mapping[str, str], uid: int, gid: int
) -> bytes:
    """Return the order that turns a process in the machine's namespaces into COMMAND, as the account UID, GID.

    VARIABLES and SECRETS are as in `ContainerPlan`.
    """
    return messages.message(
        messages.join((_bytes(f"{uid}"), _bytes(f"{gid}"), b"", b"/", _OUTSIDE, b"")),
        messages.join(map(_bytes, command)),
        _pairs(variables),
        _pairs(secrets),
    )


def _pairs(variables: Mapping[str, str]) -> bytes:
    return messages.join(word for pair in sorted(variables.items()) for word in map(_bytes, pair))


def operations(plan: ContainerPlan) -> Iterator[tuple[str | bytes, ...]]:
    """Yield what makes PLAN's file system, in the words of `guix_environment.launcher.file_system`.

    Folders first, then what lies in them, and the root closed last; a later one covers an earlier one.
    """
    yield "proc", "/proc", ""
    if plan.network is Network.OWN:
        # The kernel shows its devices to whoever owns the network, and to nobody else.
        yield "sysfs", "/sys", ""
    yield "memory", _options(0o755, plan.shared_memory)
    yield from _devices()
    yield "items", STORE, *plan.store_items
    for target in plan.sharing:
        yield "part", target, "1777"
    for folder in plan.temporary_folders:
        yield "tmpfs", folder.target, _options(folder.mode, folder.size)
    for mount in plan.mounts:
        kind = "sealed" if mount.sealed else "bind"
        yield kind, mount.source, mount.target, "rw" if mount.writable else "ro", "optional" if mount.optional else ""
    for file in plan.files:
        yield "file", file.target, f"{file.mode:o}", file.content
    for link in plan.links:
        yield "link", link.target, link.points_to
    yield "close", "/"


def _devices() -> Iterator[tuple[str, ...]]:
    yield "tmpfs", "/dev", _options(0o755, None)
    for name in _DEVICES:
        yield "device", f"/dev/{name}"
    for name, points_to in _STANDARD.items():
        yield "link", f"/dev/{name}", points_to
    yield "devpts", "/dev/pts"
    yield "link", "/dev/ptmx", "pts/ptmx"
    yield "part", "/dev/shm", "1777"  # noqa: S108 - the container's own  # nosec B108
    yield "mqueue", "/dev/mqueue", ""
    yield "close", "/dev"


def _options(mode: int, size: int | None) -> str:
    return f"mode={mode:o}" if size is None else f"mode={mode:o},size={size}"


def _bytes(word: str | bytes) -> bytes:
    if isinstance(word, bytes):
        return word
    if "\0" in word:
        raise InvalidInput("A part of the container's plan holds a zero byte.")
    return word.encode()
