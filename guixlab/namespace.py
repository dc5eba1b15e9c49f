"""Plans of mount namespaces: which path shows what, as pure data.

Two views exist.  The *entered* view is the host as it is, with the hub machine's ``/gnu``, ``/var/guix``,
``/etc/guix`` and ``/var/log/guix`` added and with accounts for the build daemon.  The *Guix* view has Debian's Guix
root file system for ``/usr`` and ``/etc`` and everything else of the caller.  ``mounts.py`` carries a plan out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .folder import Folder, MachineFolder

HOST = "/.host"  # in the entered view: host directories that others are assembled from
GUIX = "/.guix"  # in the entered view: what the `guix` command needs, readable for everybody
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc")
ACCOUNT_FILES = ("passwd", "group")


class Kind(Enum):
    """What a name in a directory is."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True)
class Entry:
    """One name in a directory of the host; DESTINATION is what a symbolic link holds."""

    name: str
    kind: Kind
    destination: str = ""


@dataclass(frozen=True)
class Directory:
    """A plain directory in the new root."""

    target: str


@dataclass(frozen=True)
class Bind:
    """SOURCE (of the namespace that is left) with all that is mounted below it, at TARGET."""

    source: str
    target: str


@dataclass(frozen=True)
class Link:
    """A symbolic link at TARGET."""

    target: str
    destination: str


Step = Directory | Bind | Link
Listing = Mapping[str, Sequence[Entry]]


def list_directory(path: Path) -> tuple[Entry, ...]:
    """The entries of PATH by name, as the planners take them; none when it does not exist."""
    entries = []
    for entry in sorted(path.iterdir()) if path.is_dir() else []:
        if entry.is_symlink():
            entries.append(Entry(entry.name, Kind.LINK, str(entry.readlink())))
        elif entry.is_dir():
            entries.append(Entry(entry.name, Kind.DIRECTORY))
        elif entry.is_file():
            entries.append(Entry(entry.name, Kind.FILE))
    return tuple(entries)


def list_host() -> Listing:
    """The directories of the host that the planners assemble anew."""
    return {path: list_directory(Path(path)) for path in ("/", "/etc", "/var", "/var/log")}


def network_etc() -> dict[str, str]:
    """What any program needs of the caller's ``/etc`` to reach other machines, those of its own house included."""
    names = [name for name in ("resolv.conf", "hosts") if Path("/etc", name).exists()]
    # Certificates that the host trusts, where it has any: a bare system has the directory and nothing in it.
    if Path("/etc/ssl/certs/ca-certificates.crt").exists():
        names.append("ssl")
    return {name: f"/etc/{name}" for name in names}


def _bound(parent: str, entries: Sequence[Entry], without: Sequence[str]) -> list[Step]:
    """Every entry of PARENT at its own place: directories and files bound, links made again."""
    steps: list[Step] = []
    for entry in entries:
        path = f"{parent.rstrip('/')}/{entry.name}"
        if entry.name in without:
            continue
        steps.append(Link(path, entry.destination) if entry.kind is Kind.LINK else Bind(path, path))
    return steps


def _linked(parent: str, entries: Sequence[Entry], without: Sequence[str]) -> list[Step]:
    """Every entry of PARENT as a link to the host's own directory below ``/.host``.

    Links rather than mounts, because these directories have many entries: a long mount table slows every container
    that is started later, and a file that is a mount point cannot be replaced by renaming, as programs do.
    """
    steps: list[Step] = [Directory(parent), Bind(parent, HOST + parent)]
    for entry in entries:
        path = f"{parent}/{entry.name}"
        if entry.name not in without:
            steps.append(Link(path, entry.destination if entry.kind is Kind.LINK else HOST + path))
    return steps


def list_way(path: Path) -> dict[str, tuple[Entry, ...]]:
    """The directories from the top down to the last one above PATH that other accounts may not enter, with their entries.

    None when every account can reach PATH already.
    """
    above = [folder for folder in reversed(path.parents) if folder != Path("/")]
    closed = [number for number, folder in enumerate(above) if not folder.stat().st_mode & 0o001]
    return {str(folder): list_directory(folder) for folder in above[: closed[-1] + 1]} if closed else {}


def _opened(way: Mapping[str, Sequence[Entry]], path: Path) -> list[Step]:
    """Every directory on the WAY to PATH anew and open to everybody; what else lies in it stays as closed as it is."""
    steps: list[Step] = []
    for parent, entries in way.items():
        steps += _linked(parent, entries, without=(path.relative_to(parent).parts[0],))
    if steps:
        last = list(way)[-1]
        reached = f"{last}/{path.relative_to(last).parts[0]}"
        steps.append(Bind(reached, reached))
    return steps


def _machine(machine: MachineFolder) -> list[Step]:
    return [
        Bind(str(machine.gnu), "/gnu"),
        Bind(str(machine.state), "/var/guix"),
        Bind(str(machine.log), "/var/log/guix"),
    ]


def plan_entered(
    host: Listing, folder: Folder, hub: MachineFolder, package: Path, reachable: Path = Path("/"), way: Listing | None = None
) -> tuple[Step, ...]:
    """The view that ``enter`` gives a command; PACKAGE is the directory that holds this Python package.

    WAY, from `list_way`, are directories to open on the way to REACHABLE.
    """
    opened = [Path(parent).parts[1] for parent in way or {}]
    steps = _bound("/", host["/"], without=("etc", "var", "gnu", HOST[1:], GUIX[1:], *opened))
    steps += _opened(way or {}, reachable)
    steps += _linked("/etc", host["/etc"], without=(*ACCOUNT_FILES, "guix"))
    steps += [Bind(str(folder.accounts / name), f"/etc/{name}") for name in ACCOUNT_FILES]
    steps += [Bind(str(hub.configuration), "/etc/guix"), Directory("/var")]
    steps += _bound("/var", host["/var"], without=("guix", "log"))
    steps += _linked("/var/log", host["/var/log"], without=("guix",))
    steps += _machine(hub)
    steps += [
        Bind(str(folder.guix_root), f"{GUIX}/root"),
        Bind(str(folder.commands), f"{GUIX}/bin"),
        Bind(str(package), f"{GUIX}/python/guixlab"),
        Directory(f"{GUIX}/mount"),
    ]
    return tuple(steps)


def plan_root(host: Listing, root: Path, root_entries: Sequence[Entry], etc: Mapping[str, str]) -> tuple[Step, ...]:
    """A view with another root file system's programs and configuration, and everything else of the caller.

    ETC maps names in ``/etc`` to the file or directory shown there; each must exist below ROOT already.
    """
    steps = _bound("/", host["/"], without=SYSTEM)
    for entry in root_entries:
        if entry.name in SYSTEM:
            path = f"/{entry.name}"
            steps.append(Link(path, entry.destination) if entry.kind is Kind.LINK else Bind(f"{root}{path}", path))
    return (*steps, *(Bind(source, f"/etc/{name}") for name, source in etc.items()))


def plan_machine(
    host: Listing, root: Path, root_entries: Sequence[Entry], etc: Mapping[str, str], machine: MachineFolder
) -> tuple[Step, ...]:
    """The same, outside of the entered view: with the ``/gnu`` and ``/var/guix`` of MACHINE."""
    outer = {**host, "/": [entry for entry in host["/"] if entry.name not in ("var", "gnu")]}
    steps = list(plan_root(outer, root, root_entries, {**etc, "guix": str(machine.configuration)}))
    steps += [Directory("/var"), *_bound("/var", host["/var"], without=("guix", "log")), Directory("/var/log")]
    return (*steps, *_machine(machine))
