"""What sessions leave outside of themselves."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.memory import shares
from guixspawner.configure import roots_folder
from guixspawner.limits import cgroups

MOMENT = 5.0
"""Seconds."""

_KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


@dataclass(frozen=True, slots=True)
class Traces:
    """By what the sessions of one hub are known, taken while they run."""

    state: Path
    groups: frozenset[Path]
    """The folders of their control groups."""
    namespaces: frozenset[str]

    @classmethod
    def of(cls, state: Path, people: list[str], processes: list[int]) -> "Traces":
        """Return the traces of the sessions of PEOPLE, whose PROCESSES these are, of the hub with this STATE."""
        own = set(_namespaces(os.getpid()))
        found = {link for pid in processes for link in _namespaces(pid)} - own
        # A group has the session's key in its name; others that a process is in are not the session's.
        keys = {f"{name}.default" for name in people}
        folders = {folder for pid in processes for folder in _folders(pid) if any(key in folder.name for key in keys)}
        return cls(state, frozenset(folders), frozenset(found))

    def left(self) -> dict[str, int]:
        """Return how much of each kind is still there, a moment after the sessions: what connects them ends after them."""
        deadline = time.monotonic() + MOMENT
        while any((found := self._found()).values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def names(self) -> list[str]:
        """Return what processes that are left are called."""
        return [share.name for share in shares(list(self._processes()))]

    def _found(self) -> dict[str, int]:
        return {
            "processes": sum(1 for _ in self._processes()),
            "namespaces": len({link for pid in _all() for link in _namespaces(pid)} & self.namespaces),
            "mounts": sum(f"{self.state}/run/s/" in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            "cgroups": sum(folder.exists() for folder in self.groups),
            "sockets": sum(1 for _ in (self.state / "run/s").rglob("*")),
            "files": sum(1 for _ in (self.state / "sessions").glob("*/*.json")),
            "leases": sum(1 for _ in self._leases.glob("*")),
        }

    def _processes(self) -> Iterator[int]:
        return (pid for pid in _all() if self.namespaces & set(_namespaces(pid)))

    @property
    def _leases(self) -> Path:
        installation = hashlib.sha256(str(self.state).encode()).hexdigest()[:12]
        return roots_folder() / "sessions" / installation


def _all() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _namespaces(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return [str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in _KINDS]
    return []


def _folders(pid: int) -> Iterable[Path]:
    with contextlib.suppress(OSError):
        return cgroups.folders_of(pid).values()
    return ()
