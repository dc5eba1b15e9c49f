"""Limits by control groups of version 2, in a part of the tree that was handed to the hub or belongs to nobody else."""

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Collection
from pathlib import Path

from guix_environment.process_identity import ProcessIdentity
from guix_environment.threads import uninterrupted
from guixspawner.limits import cgroups
from guixspawner.limits.model import BackendKind, Enforced, Limits, Usage, not_held

HUB = "hub"
"""The group that the hub itself moves into: one with members cannot bound groups below it (no internal processes)."""

_WANTED = ("memory", "pids", "cpu")


class CgroupV2:
    """Holds sessions in ``GROUP/KEY`` below the folder BASE, which is the hub's to divide."""

    kind = BackendKind.CGROUP_V2

    def __init__(self, base: Path, group: str) -> None:
        self._base = base
        self._parent = base / group
        self._making = threading.Lock()
        """The group around all sessions goes with the last of them, and must not do so while one is made."""

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        """See `Backend`."""
        await self.end(key)
        return await uninterrupted(self._hold, key, process, limits)

    def _hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        group = self._parent / key
        try:
            with self._making:
                # First of all, as the process for warm starts removes the group around it where that is empty.
                group.mkdir(parents=True, exist_ok=True)
                self._open()
            for file, value in cgroups.files_v2(limits).items():
                # A controller that is not ours to use has no files here; what that leaves out, `in_force` tells.
                if (group / file).exists():
                    cgroups.write(group / file, value)
            cgroups.write(group / "cgroup.procs", str(process.pid))
            return cgroups.in_force(process.pid, self.kind)
        except OSError as error:
            raise not_held(error) from error

    def _open(self) -> None:
        """Hand the controllers on to the group of all sessions, and to those below it."""
        try:
            _hand_on(self._base)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._move_out()
            _hand_on(self._base)
        _hand_on(self._parent)
        with contextlib.suppress(OSError):
            # What is promised to a session counts only as far as it is promised to the group around it.
            cgroups.write(self._parent / "memory.low", "max")

    def _move_out(self) -> None:
        """Move what is in the base, the hub and what it started, into a group of its own."""
        (self._base / HUB).mkdir(exist_ok=True)
        for pid in cgroups.members([self._base]):
            with contextlib.suppress(ProcessLookupError):
                cgroups.write(self._base / HUB / "cgroup.procs", str(pid))

    async def end(self, key: str) -> None:
        """See `Backend`."""
        await uninterrupted(self._end, key)

    def _end(self, key: str) -> None:
        cgroups.clear([self._parent / key])
        with self._making, contextlib.suppress(OSError):
            self._parent.rmdir()

    async def leftovers(self) -> Collection[str]:
        """See `Backend`."""
        return await asyncio.to_thread(self._leftovers)

    def _leftovers(self) -> Collection[str]:
        try:
            return {entry.name for entry in os.scandir(self._parent) if entry.is_dir()}
        except FileNotFoundError:
            return ()

    async def usage(self, key: str) -> Usage:
        """See `Backend`."""
        return await asyncio.to_thread(cgroups.usage_of, {"": self._parent / key})

    def describe(self) -> str:
        """See `Backend`."""
        return f"control groups, in {self._parent}"


def _hand_on(group: Path) -> None:
    """Let the groups below GROUP use what it has of the controllers that sessions need."""
    have = (group / "cgroup.controllers").read_text().split()
    given = (group / "cgroup.subtree_control").read_text().split()
    if missing := [f"+{name}" for name in _WANTED if name in have and name not in given]:
        cgroups.write(group / "cgroup.subtree_control", " ".join(missing))


def candidates(group: str, *, systemd: bool) -> list[CgroupV2]:
    """Return what could be used on this machine, best first; with SYSTEMD, which owns the tree, only what it handed over."""
    trees = [tree for tree in cgroups.hierarchies() if tree.version == 2]
    own = cgroups.folders_of("self").get("")
    if not trees or own is None:
        return []
    # A hub that was started into the group for itself, or moved there by the hub before it, divides the one around it.
    own = own.parent if own.name == HUB else own
    if systemd:
        return [CgroupV2(own, group)] if _is_handed_over(own) else []
    bases = [base for base in dict.fromkeys((trees[0].mount, own)) if os.access(base, os.W_OK)]
    # Where the controllers belong to version 1, a tree of version 2 bounds nothing.
    return [CgroupV2(base, group) for base in bases if "memory" in (base / "cgroup.controllers").read_text().split()]


def _is_handed_over(group: Path) -> bool:
    """Tell whether systemd says that GROUP is its unit's own to divide (``Delegate=``, systemd.resource-control(5))."""
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False
