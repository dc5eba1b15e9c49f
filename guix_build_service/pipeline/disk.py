"""Whether there is room for builds: below a limit none is begun, and those that run are ended one by one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Disk:
    """The places that builds fill, and how much must stay free there."""

    folders: Sequence[Path] = ()
    least: int = 0
    """Bytes."""

    def is_short(self) -> bool:
        """Tell whether one of the places has too little room left.  Blocks for a system call each."""
        return any(free(folder) < self.least for folder in self.folders)


def free(folder: Path) -> int:
    """Return how many bytes an account without rights of its own may still use where FOLDER is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
