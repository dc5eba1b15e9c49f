"""What sessions leave outside of themselves."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guixspawner.configure import roots_folder

_KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


@dataclass(frozen=True, slots=True)
class Traces:
    """By what the sessions of one hub are known, taken while they run."""

    state: Path
    keys: tuple[str, ...]
    """The sessions, as ``PERSON.SERVER``."""
    namespaces: frozenset[str]

    @classmethod
    def of(cls, state: Path, people: list[str], processes: list[int]) -> "Traces":
        """Return the traces of the sessions of PEOPLE, whose PROCESSES these are, of the hub with this STATE."""
        own = set(_namespaces(os.getpid()))
        found = {link for pid in processes for link in _namespaces(pid)} - own
        return cls(state, tuple(f"{name}.default" for name in people), frozenset(found))

    def left(self) -> dict[str, int]:
        """Return how much of each kind is still there."""
        return {
            "processes": sum(1 for _ in self._processes()),
            "namespaces": len({link for pid in _all() for link in _namespaces(pid)} & self.namespaces),
            "mounts": sum(f"{self.state}/run/s/" in line for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            "cgroups": sum(1 for _ in self._cgroups()),
            "sockets": sum(1 for _ in (self.state / "run/s").rglob("*")),
            "files": sum(1 for _ in (self.state / "sessions").glob("*/*.json")),
            "leases": sum(1 for _ in self._leases.glob("*")),
        }

    def _processes(self) -> Iterator[int]:
        return (pid for pid in _all() if self.namespaces & set(_namespaces(pid)))

    def _cgroups(self) -> Iterator[Path]:
        for folder, below, _ in os.walk("/sys/fs/cgroup"):
            yield from (Path(folder, name) for name in below if any(key in name for key in self.keys))

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
