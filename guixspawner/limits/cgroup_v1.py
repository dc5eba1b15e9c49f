"""Limits by control groups of version 1: a group for the session in each tree that bounds or counts something."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from guix_environment.process_identity import ProcessIdentity
from guix_environment.threads import uninterrupted
from guixspawner.limits import cgroups
from guixspawner.limits.model import BackendKind, Enforced, Limits, Usage, not_held


class CgroupV1:
    """Holds sessions in ``GROUP/KEY`` below each of TREES, the folders to use by controller."""

    kind = BackendKind.CGROUP_V1

    def __init__(self, trees: Mapping[str, Path], group: str) -> None:
        self._parents = {name: folder / group for name, folder in trees.items()}
        self._making = threading.Lock()
        """The group around all sessions goes with the last of them, and must not do so while one is made."""

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        """See `Backend`."""
        await self.end(key)
        return await uninterrupted(self._hold, key, process, limits)

    def _hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        files = cgroups.files_v1(limits)
        try:
            for name, parent in self._parents.items():
                with self._making:
                    (parent / key).mkdir(parents=True, exist_ok=True)
                for file, value in files.get(name, {}).items():
                    # Without an account of swap there is no such file, and then there is no swap to be bounded.
                    if file != "memory.memsw.limit_in_bytes" or (parent / key / file).exists():
                        cgroups.write(parent / key / file, value)
            for folder in set(self._groups(key)):
                cgroups.write(folder / "cgroup.procs", str(process.pid))
            return cgroups.in_force(process.pid, self.kind)
        except OSError as error:
            raise not_held(error) from error

    async def end(self, key: str) -> None:
        """See `Backend`."""
        await uninterrupted(self._end, key)

    def _end(self, key: str) -> None:
        cgroups.clear(self._groups(key))
        for parent in set(self._parents.values()):
            with self._making, contextlib.suppress(OSError):
                parent.rmdir()

    async def leftovers(self) -> Collection[str]:
        """See `Backend`."""
        return await asyncio.to_thread(self._leftovers)

    def _leftovers(self) -> Collection[str]:
        found: set[str] = set()
        for parent in self._parents.values():
            with contextlib.suppress(FileNotFoundError):
                found |= {entry.name for entry in os.scandir(parent) if entry.is_dir()}
        return found

    async def usage(self, key: str) -> Usage:
        """See `Backend`."""
        groups = {name: parent / key for name, parent in self._parents.items()}
        return await asyncio.to_thread(cgroups.usage_of, groups)

    def describe(self) -> str:
        """See `Backend`."""
        return f"control groups of version 1, in {', '.join(sorted({str(parent) for parent in self._parents.values()}))}"

    def _groups(self, key: str) -> list[Path]:
        return [parent / key for parent in self._parents.values()]


def candidates(group: str) -> list[CgroupV1]:
    """Return what could be used on this machine, best first: beside everything else, or below the hub's own groups.

    Beside, a session is found again by a hub that was restarted into another group; below may be all that an administrator
    gave to the hub.
    """
    trees = {name: tree.mount for tree in cgroups.hierarchies() for name in tree.controllers}
    if "memory" not in trees:
        return []
    own = {name: folder for name, folder in cgroups.folders_of("self").items() if name in trees}
    return [CgroupV1(trees, group)] if own == trees else [CgroupV1(trees, group), CgroupV1(own, group)]
