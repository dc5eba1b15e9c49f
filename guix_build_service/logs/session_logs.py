"""What sessions print, as the hub keeps it: one file each, which this service may read where the hub lets its account.

The file's place follows from the names of person and session, and only the person asks for it.  What is in it comes from
whatever ran in the session, so that it is shown like a build's log: without what a terminal or a browser could act on.
"""

import os
import stat
from pathlib import Path

from guix_build_service.logs.build_logs import harmless
from guix_build_service.logs.redaction import without_secrets
from guix_environment.errors import NotFound
from guix_environment.session_names import session_log

LARGEST = 16 * 1024 * 1024
"""Bytes of a log's end that are shown; the hub itself keeps it smaller, now and then."""


class SessionLogs:
    """The logs below one FOLDER, or none where this service is told of no folder.  Its methods block for a short read."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, user: str, server: str) -> str:
        """Return what the session SERVER of USER, as the hub names both, has printed since it was started last.

        Raises `NotFound` where there is no log, or none that this service may read.
        """
        if self._folder is None:
            raise _none()
        log = session_log(self._folder, user, server)
        try:
            folder = os.open(log.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # Not blocking, so that nothing waits for the other end of what is no file.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(log.name, flags, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _none() from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _none()
            content = os.pread(descriptor, LARGEST, max(0, status.st_size - LARGEST))
        finally:
            os.close(descriptor)
        return without_secrets(harmless(content.decode(errors="replace")))


def _none() -> NotFound:
    return NotFound("There is no log of such a session of yours.")
