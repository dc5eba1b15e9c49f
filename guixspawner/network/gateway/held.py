"""What is kept open for exactly as long as a session lives.

The program that connects a session to the outside ends when a certain pipe is closed.  Nobody but this process holds the
other end, so the program outlives neither the session nor this process, however either of them ends.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator

from guix_environment import process_identity
from guix_environment.process_identity import ProcessIdentity


class Held:
    """Open files, each with the process for whose life it is kept open."""

    def __init__(self) -> None:
        self._kept: dict[ProcessIdentity, tuple[int, list[int]]] = {}

    def __iter__(self) -> Iterator[tuple[ProcessIdentity, int]]:
        """Yield each process with each file that is kept open for it."""
        for process, (_, files) in self._kept.items():
            for file in files:
                yield process, file

    def keep(self, process: ProcessIdentity, file: int) -> None:
        """Keep the open FILE until PROCESS ends, which may be now."""
        if process in self._kept:
            self._kept[process][1].append(file)
            return
        try:
            watched = os.pidfd_open(process.pid)
        except OSError:
            os.close(file)
            return
        if not process_identity.is_running(process):
            os.close(watched)
            os.close(file)
            return
        self._kept[process] = (watched, [file])
        asyncio.get_running_loop().add_reader(watched, self._ended, process)

    def close(self) -> None:
        """Let go of everything."""
        for process in tuple(self._kept):
            self._ended(process)

    def _ended(self, process: ProcessIdentity) -> None:
        watched, files = self._kept.pop(process)
        asyncio.get_running_loop().remove_reader(watched)
        for file in (watched, *files):
            with contextlib.suppress(OSError):
                os.close(file)
