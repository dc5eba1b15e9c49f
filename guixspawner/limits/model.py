"""What a session may use, what of that the kernel enforces, and what every way of enforcing it can do."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity


class BackendKind(StrEnum):
    """The ways to enforce limits, from the best to none."""

    SYSTEMD = "systemd"
    CGROUP_V2 = "cgroup-v2"
    CGROUP_V1 = "cgroup-v1"
    RLIMITS = "rlimits"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a session may use, None for as much as there is; and the least that it is promised."""

    memory: int | None = None
    """Bytes."""
    cpu: float | None = None
    """Cores."""
    processes: int | None = None
    """Processes and threads together, as the kernel counts them."""
    disk: int | None = None
    """Bytes that the person's files may take, over all of their sessions."""
    memory_guarantee: int | None = None
    """Bytes."""
    cpu_guarantee: float | None = None
    """Cores."""

    def share(self, part: float) -> int | None:
        """Return that PART of the memory, for what is kept in memory; None for as much as there is."""
        return None if self.memory is None else int(self.memory * part)


@dataclass(frozen=True, slots=True)
class Enforced:
    """What is in force for one session, as read back from the kernel; None for what nothing bounds."""

    backend: BackendKind
    memory: int | None = None
    """Bytes; the kernel rounds down to whole pages."""
    cpu: float | None = None
    processes: int | None = None
    disk: int | None = None
    memory_events: Path | None = None
    """The kernel's file that counts, on a line that begins with ``oom_kill``, what was ended for want of memory."""

    @property
    def in_words(self) -> str:
        """What is in force, for the hub's log."""
        found = [
            f"{self.memory / 2**20:.0f} MiB of memory" if self.memory is not None else "",
            f"{self.cpu:g} cores" if self.cpu is not None else "",
            f"{self.processes} processes" if self.processes is not None else "",
            f"{self.disk / 2**20:.0f} MiB of disk space" if self.disk is not None else "",
        ]
        return ", ".join(filter(None, found)) or "nothing"

    def as_json(self) -> dict[str, object]:
        """Return what the session itself is told."""
        return {
            "memory": self.memory,
            "cpu": self.cpu,
            "processes": self.processes,
            "disk": self.disk,
            "enforced_by": self.backend.value,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session uses now; None for what nothing counts."""

    memory: int | None = None
    """Bytes, without the files that the kernel only keeps in memory because there is room."""
    cpu: float | None = None
    """Seconds of computing since the session began, over all cores."""
    processes: int | None = None


class Backend(Protocol):
    """One way to enforce limits.  A session is known by its key, ``PERSON.SERVER``, also to a hub that was restarted."""

    kind: BackendKind

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        """Bound PROCESS, and whatever it will start, by LIMITS, and return what of them is in force.

        What an earlier session of this KEY left is ended first.  Raises `SessionFailure` when the kernel, or systemd,
        refuses; whoever calls it then, or is cancelled meanwhile, calls `end`.
        """
        ...

    async def end(self, key: str) -> None:
        """End whatever is left of the session KEY and forget it; no more than that when there is nothing.

        Raises `SessionFailure` when processes are still there after some seconds, as of a disk that does not answer.
        """
        ...

    async def leftovers(self) -> Collection[str]:
        """Return the keys of the sessions that this back-end still holds something of."""
        ...

    async def usage(self, key: str) -> Usage:
        """Return what the session KEY uses now."""
        ...

    def describe(self) -> str:
        """Return in a few words where and how limits are enforced, for logs and diagnoses."""
        ...


def not_held(reason: object) -> SessionFailure:
    """Return what to raise when a session cannot be held to its limits, which REASON tells more of."""
    return SessionFailure(
        "The limits of this session could not be put in force.",
        hint="Tell whoever runs this installation.",
        details={"reason": str(reason)},
    )
