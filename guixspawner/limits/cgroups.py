"""What the kernel's control groups look like in files, of either version: where they are, what is in force, what is left.

Facts: cgroups(7), and the kernel's ``Documentation/admin-guide/cgroup-v2.rst`` and ``cgroup-v1/``.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_environment import process_identity
from guix_environment.errors import SessionFailure
from guixspawner.limits.model import BackendKind, Enforced, Limits, Usage

PERIOD = 100_000
"""Microseconds over which computing time is bounded; the kernel's own choice."""

PATIENCE = 10.0
"""Seconds that processes get to be gone after the kernel ended them."""

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
"""What of version 1 a session is put under."""

_NO_LIMIT = 1 << 60
"""Version 1 says "no limit" by the highest number of bytes that it can count."""

_SHARES_OF_A_CORE = 10240
_SHARES_WITHOUT_GUARANTEE = 102
"""Computing time is shared out by these numbers where there is too little: a guarantee outweighs a hundred without one."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted tree of control groups."""

    version: int
    mount: Path
    root: str
    """Which group the mounted folder is, as ``/proc/PID/cgroup`` calls it."""
    controllers: frozenset[str] = frozenset()
    """Of version 1, which always has its own; of version 2 each group says which it has."""

    def folder(self, group: str) -> Path | None:
        """Return the folder of GROUP, as ``/proc/PID/cgroup`` calls it, or None when it lies outside of what is mounted."""
        if self.root != "/" and group != self.root and not group.startswith(f"{self.root}/"):
            return None
        below = group if self.root == "/" else group.removeprefix(self.root)
        return None if ".." in below.split("/") else self.mount / below.lstrip("/")


def parse_hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Return the trees of control groups in MOUNTINFO, the text of ``/proc/self/mountinfo`` (proc(5))."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        root, mount = fields.split()[3:5]
        kind, _, options = tail.split()[:3]
        if kind == "cgroup2":
            found.append(Hierarchy(2, Path(mount), root))
        elif kind == "cgroup":
            names = frozenset(options.split(",")) & frozenset(CONTROLLERS)
            if names:
                found.append(Hierarchy(1, Path(mount), root, names))
    return found


def hierarchies() -> list[Hierarchy]:
    """Return the trees of control groups that this process sees."""
    return parse_hierarchies(Path("/proc/self/mountinfo").read_text())


def parse_membership(text: str) -> Mapping[str, str]:
    """Return from TEXT, that of ``/proc/PID/cgroup``, the group under each controller; that of version 2 under ``""``."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, group = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), group)
    return groups


def folders_of(pid: int | str) -> Mapping[str, Path]:
    """Return the folder of the group that process PID is in, by controller; that of version 2 is under ``""``.

    Raises `OSError` when there is no such process.
    """
    groups = parse_membership(Path(f"/proc/{pid}/cgroup").read_text())
    found: dict[str, Path] = {}
    for tree in hierarchies():
        for name in tree.controllers if tree.version == 1 else ("",):
            folder = tree.folder(groups[name]) if name in groups else None
            if folder is not None:
                found.setdefault(name, folder)
    return found


def files_v2(limits: Limits) -> dict[str, str]:
    """Return what to write into the files of a group of version 2 for LIMITS."""
    files = {"memory.oom.group": "0", "cpu.weight": str(weight(limits))}
    if limits.memory:
        files |= {"memory.swap.max": "0", "memory.max": str(limits.memory)}
    if limits.memory_guarantee:
        files["memory.low"] = str(limits.memory_guarantee)
    if limits.processes:
        files["pids.max"] = str(limits.processes)
    if limits.cpu:
        files["cpu.max"] = f"{quota(limits.cpu)} {PERIOD}"
    return files


def files_v1(limits: Limits) -> dict[str, dict[str, str]]:
    """Return, by controller, what to write into the files of a group of version 1 for LIMITS."""
    memory: dict[str, str] = {}
    if limits.memory:
        # The second cannot be lower than the first is.
        memory = {"memory.limit_in_bytes": str(limits.memory), "memory.memsw.limit_in_bytes": str(limits.memory)}
    if limits.memory_guarantee:
        memory["memory.soft_limit_in_bytes"] = str(limits.memory_guarantee)
    cpu = {"cpu.shares": str(_shares(limits))}
    if limits.cpu:
        cpu |= {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota(limits.cpu))}
    return {"memory": memory, "pids": {"pids.max": str(limits.processes)} if limits.processes else {}, "cpu": cpu}


def quota(cores: float) -> int:
    """Return the microseconds of each period that CORES are; the kernel takes no less than a thousand."""
    return max(1000, round(cores * PERIOD))


def _shares(limits: Limits) -> int:
    return max(2, round(limits.cpu_guarantee * _SHARES_OF_A_CORE)) if limits.cpu_guarantee else _SHARES_WITHOUT_GUARANTEE


def weight(limits: Limits) -> int:
    """Return the weight of version 2 and of systemd, from 1 to 10000, by which computing time is shared out."""
    return min(10000, max(1, _shares(limits) // 10))


def in_force(pid: int, kind: BackendKind) -> Enforced:
    """Return what the kernel enforces on process PID by the groups that it is in; read from the kernel, not remembered.

    Only what its own groups say, not those around them, so it is only to be asked of a process in groups of its own.
    Raises `OSError` when there is no such process.
    """
    folders = folders_of(pid)
    if "memory" not in folders and "" in folders:
        return _in_force_v2(folders[""], kind)
    memory, pids, cpu = (folders.get(name, Path("/nonexistent")) for name in ("memory", "pids", "cpu"))
    most = read_number(memory / "memory.limit_in_bytes")
    time_each = read_number(cpu / "cpu.cfs_quota_us")
    period = read_number(cpu / "cpu.cfs_period_us")
    events = memory / "memory.oom_control"
    return Enforced(
        kind,
        memory=most if most is not None and most < _NO_LIMIT else None,
        cpu=time_each / period if time_each and period and time_each > 0 else None,
        processes=read_number(pids / "pids.max"),
        memory_events=events if events.exists() else None,
    )


def _in_force_v2(folder: Path, kind: BackendKind) -> Enforced:
    time_each, _, period = _read(folder / "cpu.max").partition(" ")
    events = folder / "memory.events"
    return Enforced(
        kind,
        memory=read_number(folder / "memory.max"),
        cpu=int(time_each) / int(period) if time_each.isdecimal() else None,
        processes=read_number(folder / "pids.max"),
        memory_events=events if events.exists() else None,
    )


def usage_of(folders: Mapping[str, Path]) -> Usage:
    """Return what is used in the groups in FOLDERS, which are by controller as `folders_of` has them."""
    if "memory" not in folders and "" in folders:
        group = folders[""]
        micro = _statistics(group / "cpu.stat").get("usage_usec")
        return Usage(
            memory=_without_cache(read_number(group / "memory.current"), group / "memory.stat", "inactive_file"),
            cpu=None if micro is None else micro / 1e6,
            processes=read_number(group / "pids.current"),
        )
    memory, pids, time_used = (folders.get(name, Path("/nonexistent")) for name in ("memory", "pids", "cpuacct"))
    nano = read_number(time_used / "cpuacct.usage")
    return Usage(
        memory=_without_cache(read_number(memory / "memory.usage_in_bytes"), memory / "memory.stat", "total_inactive_file"),
        cpu=None if nano is None else nano / 1e9,
        processes=read_number(pids / "pids.current"),
    )


def ended_for_memory(enforced: Enforced) -> int:
    """Return how many programs the kernel ended for want of the memory that is ENFORCED; 0 where nothing tells any more.

    Blocks for a small file of the kernel's, which is there until the group is removed.
    """
    return _statistics(enforced.memory_events).get("oom_kill", 0) if enforced.memory_events else 0


def _without_cache(used: int | None, statistics: Path, name: str) -> int | None:
    return None if used is None else max(0, used - _statistics(statistics).get(name, 0))


def _statistics(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in _read(path).splitlines())}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """Return the number in the file PATH, or None when there is no such file, or "max" stands in it."""
    text = _read(path)
    return int(text) if text.lstrip("-").isdecimal() else None


def write(path: Path, value: str) -> None:
    """Write VALUE, as one piece, into a file that is there; the kernel makes these files."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def clear(groups: Sequence[Path]) -> None:
    """End every process in GROUPS, the folders of one session in all trees, and remove them.

    Blocks for as long as that takes.  Raises `SessionFailure` when processes are still there after `PATIENCE` seconds.
    """
    deadline, pause = time.monotonic() + PATIENCE, 0.005
    while remaining := [group for group in groups if group.exists()]:
        for group in remaining:
            _kill(group)
        for group in remaining:
            _remove(group)
        if time.monotonic() > deadline:
            raise SessionFailure(
                "Programs of this session could not be ended.",
                hint="Whoever runs this machine can look at what they wait for.",
            )
        if any(group.exists() for group in remaining):
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)


def _kill(group: Path) -> None:
    """Have the kernel end what is in GROUP; what started in this very moment is left for the next time."""
    with contextlib.suppress(OSError):
        # Nothing new from here on, so that what starts faster than it is found comes to its end too.
        write(group / "pids.max", "0")
    try:
        write(group / "cgroup.kill", "1")
    except OSError:
        for pid in members([group]):
            process = process_identity.identify(pid)
            # Looked up again once it is known who bears the number: it may be somebody else's by now.
            if process and pid != os.getpid() and pid in members([group]):
                process_identity.send_signal(process, signal.SIGKILL)


def members(groups: Iterable[Path]) -> set[int]:
    """Return the processes that are in GROUPS; none for groups that are not there."""
    return {int(line) for group in groups for line in _read(group / "cgroup.procs").splitlines()}


def _remove(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):  # still in use, or gone by now
            Path(folder).rmdir()
