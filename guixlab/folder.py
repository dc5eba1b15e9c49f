"""Where everything of one Guix in a folder lies."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from .errors import LabError

DEFAULT_FOLDER = Path("/var/lib/guixlab")


class Contents(StrEnum):
    """What the hub's daemon downloads: Guix's own substitutes, or the stand-ins of the farm."""

    OFFICIAL = "official"
    STAND_INS = "stand-ins"


@dataclass(frozen=True)
class MachineFolder:
    """The parts of one machine (farm or hub) that take the place of ``/gnu``, ``/var/guix`` and so on."""

    base: Path

    @property
    def gnu(self) -> Path:
        """``/gnu`` of the machine."""
        return self.base / "gnu"

    @property
    def store(self) -> Path:
        """Its store."""
        return self.base / "gnu/store"

    @property
    def state(self) -> Path:
        """``/var/guix``: database, socket, profiles."""
        return self.base / "var"

    @property
    def configuration(self) -> Path:
        """``/etc/guix``: keys and whom to trust."""
        return self.base / "etc"

    @property
    def log(self) -> Path:
        """``/var/log/guix``."""
        return self.base / "log"

    @property
    def socket(self) -> Path:
        """Where its daemon listens."""
        return self.state / "daemon-socket/socket"

    def create(self) -> None:
        """Make the directories, with the permissions that a daemon running as root expects."""
        for directory in (self.base, self.gnu, self.state, self.configuration, self.log):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.store.mkdir(exist_ok=True)


@dataclass(frozen=True)
class Folder:
    """The layout below the folder that ``--folder`` or ``GUIXLAB`` names."""

    path: Path

    @property
    def guix_root(self) -> Path:
        """Root file system with Debian's guix."""
        return self.path / "guix"

    @property
    def debian(self) -> Path:
        """Debian files that stand-ins are made of, and the programs that make them."""
        return self.path / "debian"

    @property
    def farm(self) -> MachineFolder:
        """The machine that holds and publishes the stand-ins."""
        return MachineFolder(self.path / "farm")

    def hub(self, contents: Contents) -> MachineFolder:
        """The hub's machine; official substitutes and stand-ins are never mixed in one store."""
        return MachineFolder(self.path / ("hub" if contents is Contents.STAND_INS else "hub-official"))

    @property
    def wheels(self) -> Path:
        """Downloaded wheels."""
        return self.path / "wheels"

    @property
    def items(self) -> Path:
        """Stand-ins while they are being made."""
        return self.path / "items"

    @property
    def accounts(self) -> Path:
        """The namespaces' passwd and group files."""
        return self.path / "accounts"

    @property
    def hosts(self) -> Path:
        """The hosts file (hosts(5)) of the machine that builds from stand-ins."""
        return self.accounts / "hosts"

    @property
    def commands(self) -> Path:
        """What ``enter`` puts on PATH: the ``guix`` command."""
        return self.path / "bin"

    @property
    def mount_point(self) -> Path:
        """An empty directory on which namespaces are put together."""
        return self.path / "mount"

    @property
    def logs(self) -> Path:
        """What the daemons and provisioning wrote."""
        return self.path / "log"

    @property
    def keeper_record(self) -> Path:
        """Who keeps the daemons up."""
        return self.path / "keeper.json"

    @property
    def provision_stamp(self) -> Path:
        """What the two trees were made from; missing until both are complete."""
        return self.path / "provision.json"

    @property
    def stand_ins_stamp(self) -> Path:
        """Which lists of stand-ins are complete."""
        return self.path / "stand-ins.json"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the folder's lock NAME, so that two commands never change the same thing at once."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def find_folder(option: str | None) -> Folder:
    """The folder that is meant: the option, else the environment's GUIXLAB, else the default."""
    return Folder(Path(option or os.environ.get("GUIXLAB") or DEFAULT_FOLDER).absolute())


def find_mounts(mount_table: str, tree: str) -> list[str]:
    """The mount points at and below TREE, in the text of ``/proc/self/mountinfo``."""
    points = [line.split(" ")[4] for line in mount_table.splitlines() if line]
    # The kernel writes blanks and the like as three octal digits.
    plain = [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point) for point in points]
    return [point for point in plain if point == tree or point.startswith(f"{tree}/")]


def remove_tree(tree: Path) -> None:
    """Remove a directory with all that is in it, read-only directories included; nothing when it is not there.

    Raises LabError, and removes nothing, when something is mounted in it: that is not this folder's to remove.
    """
    if not tree.exists():
        return
    mounts = find_mounts(Path("/proc/self/mountinfo").read_text(), str(tree.resolve()))
    if mounts:
        raise LabError(f"Something is mounted at {mounts[-1]}, so {tree} is not removed; unmount it and try again.")
    for directory, _, _ in os.walk(tree):
        Path(directory).chmod(0o755)
    try:
        shutil.rmtree(tree)
    except OSError as error:
        raise LabError(f"{tree} cannot be removed: {error}") from error


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace PATH by TEXT in one step, so that a reader sees the old or the new and nothing between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in PATH, or an empty one when the file is missing or was cut short."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
