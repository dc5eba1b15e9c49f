"""Whose turn it is to work with a service's folder: one process's at a time.

Two that wrote to one SQLite file, and to the logs and builds beside it, would take each other's builds for forsaken. A
service comes before commands: it says that it wants the folder, and who serves a command alone makes room. Whatever way a
process ends, the kernel lets go of its locks (flock(2)).
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from guix_environment.errors import FolderInUse

SERVICE_SECONDS = 30.0
"""How long a service waits for its folder; who serves a command ends its builds in less."""

LOOK_SECONDS = 0.2
"""How often is looked whether a folder is free, or wanted."""

_HELD, _WANTED = "lock", "wanted"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold FOLDER for a command while the context lasts.

    Raises `FolderInUse` where another process holds it, or a service wants it, and `OSError`.
    """
    with _opened(folder / _HELD) as lock:
        if is_wanted(folder) or not _try(lock):
            raise FolderInUse(f"Another process works with {folder}.", hint="Try again when it has ended.")
        yield


@contextlib.asynccontextmanager
async def service_turn(folder: Path, seconds: float = SERVICE_SECONDS) -> AsyncIterator[None]:
    """Hold FOLDER for a service while the context lasts, within SECONDS.  Raises `FolderInUse` and `OSError`."""
    with _opened(folder / _HELD) as lock:
        with _opened(folder / _WANTED) as wanting:
            try:
                async with asyncio.timeout(seconds):
                    while not (_try(wanting) and _try(lock)):  # noqa: ASYNC110 - the kernel tells nobody
                        await asyncio.sleep(LOOK_SECONDS)
            except TimeoutError:
                raise FolderInUse(
                    f"Another service works with {folder}.", hint="End that one, or give this one a folder of its own."
                ) from None
        yield


async def until_wanted(folder: Path) -> None:
    """Return once a service wants FOLDER."""
    while True:
        with contextlib.suppress(OSError):  # as where too many files are open: it is looked again
            if is_wanted(folder):
                return
        await asyncio.sleep(LOOK_SECONDS)


async def until_succeeded(folder: Path, parent: int) -> None:
    """Return once a service wants FOLDER and PARENT, who started us, is gone.

    A hub that is killed leaves its service behind, and is started again with another. While it is there, it would only start
    us anew, and two hubs with one folder would end each other's services for ever.
    """
    while os.getppid() == parent:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(5 * LOOK_SECONDS)
    await until_wanted(folder)


def is_wanted(folder: Path) -> bool:
    """Tell whether a service waits for FOLDER.  Raises `OSError`."""
    with _opened(folder / _WANTED) as wanting:
        return not _try(wanting, fcntl.LOCK_SH)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        owner = file.parent.stat()
        if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)  # the service is to open it too
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock DESCRIPTOR's file, which may be locked by it already, and return whether that could be done."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
