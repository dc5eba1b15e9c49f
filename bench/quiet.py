"""Wait for a moment in which nobody else uses the machine's processors."""

import os
import time
from collections.abc import Callable
from pathlib import Path

BUSY = 0.15
"""What part of the processors' time others may use."""

LOOK = 0.25
"""Seconds over which that is looked at."""

PATIENCE = 2.0
"""Seconds after which it is measured anyway."""


def until_quiet(used: Callable[[], float] | None = None, pause: Callable[[float], None] = time.sleep) -> bool:
    """Return True once the machine is quiet, or False when it is not for `PATIENCE`.

    USED returns the seconds for which processors did anything, of all together.
    """
    count, looks = used or _used, int(PATIENCE / LOOK)
    before = count()
    for _ in range(looks):
        pause(LOOK)
        now = count()
        if now - before <= BUSY * LOOK * (os.cpu_count() or 1):
            return True
        before = now
    return False


def _used() -> float:
    # proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, and two that the first two include.
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
