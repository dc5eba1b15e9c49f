"""The kernel's count of programs that it ended because a session's memory was used up."""

import re
from dataclasses import dataclass
from pathlib import Path

_KILLS = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


@dataclass(slots=True)
class MemoryEvents:
    """A cgroup's counter: ``memory.events`` of version 2, ``memory.oom_control`` of version 1; both hold ``oom_kill N``."""

    path: Path | None
    seen: int = 0
    """How many were counted so far."""

    def more(self) -> int:
        """Return how many programs were ended since the last call.  Reads one small file of the kernel's."""
        count = self._count()
        new, self.seen = max(0, count - self.seen), max(self.seen, count)
        return new

    def _count(self) -> int:
        if self.path is None:
            return 0
        try:
            found = _KILLS.search(self.path.read_bytes())
        except OSError:
            # The limits may have gone with the hub's cgroup: nothing is counted any more, and nothing was lost.
            return 0
        return int(found[1]) if found else 0
