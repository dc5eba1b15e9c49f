"""What the processes of a session take of the machine's memory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NS_GET_PARENT = 0xB702
_SERVER = ("jupyter", "python")
"""How the server's own process is called; what is around it in a container is not."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a process takes: what it shares with others counts for each by the same part (PSS, proc(5))."""

    pid: int
    name: str
    kilobytes: int


def processes_of(first: int) -> list[int]:
    """Return the processes of the session whose FIRST process this is.

    Those below it, and those that share a namespace with it, such as what connects its network: that is in the namespace of
    accounts around the session's own.
    """
    below = _below(first)
    own = {link for pid in below for link in (*_namespaces(pid), _around(pid))} - {"", *_namespaces(os.getpid())}
    return sorted({*below, *(pid for pid in _all() if own & set(_namespaces(pid)))})


def shares(pids: list[int]) -> list[Share]:
    """Return what each of PIDS takes."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            [pss] = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
            found.append(Share(pid, Path(f"/proc/{pid}/comm").read_text().strip(), pss))
    return found


def beside_the_server(found: list[Share]) -> float:
    """Return the megabytes that the session's processes FOUND take, without the server's own, the largest of its name."""
    server = max((share for share in found if share.name.startswith(_SERVER)), key=lambda share: share.kilobytes)
    return sum(share.kilobytes for share in found if share is not server) / 1024


def _all() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())


def _below(first: int) -> set[int]:
    parents = {pid: parent for pid in _all() if (parent := _parent(pid))}
    found = {first}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _namespaces(pid: int) -> list[str]:
    try:
        return [str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("pid", "net", "user")]
    except OSError:
        return []


def _around(pid: int) -> str:
    """Return the user namespace around that of process PID, or nothing where that is not ours to know (ioctl_ns(2))."""
    try:
        with Path(f"/proc/{pid}/ns/user").open("rb") as own:
            parent = fcntl.ioctl(own, _NS_GET_PARENT)
        found = f"user:[{os.fstat(parent).st_ino}]"
        os.close(parent)
    except OSError:
        return ""
    return found
