"""The service of a folder on this machine, without a hub and without a token: the one that runs, or one while we need it.

Either way the answers come from the same API at the socket in the folder, so that nothing is done in two ways. Where no
service runs, a process of the account to which the folder belongs serves this one command (`program.alone`); root starts it
as that account, and writes nothing there itself. A service that is started meanwhile gets the folder, and the command goes
on with that one.
"""

import contextlib
import os
import pwd
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from guix_build_service.commands.outcomes import CommandMisused, NotOurs, ServiceUnreachable
from guix_build_service.local.door import connected
from guix_build_service.local.started import BUSY, READY, Started, Work
from guix_environment.processes import Account, Companion, beside

ENDING_SECONDS = 15.0
"""How long what serves us may take to end, which it has begun with."""

MOST_SECONDS = 60.0
"""How long another may have the folder without answering, as at its start and end."""

_AS_WHOM = "Be root, or the account that the service runs as, on its machine; elsewhere give --service and a token."


class LocalService:
    """The service of FOLDER, for a command that is about WORK.  Use it as a context."""

    def __init__(self, folder: Path, work: Work, seconds: float = MOST_SECONDS) -> None:
        self._folder = folder
        self._work = work
        self._seconds = seconds
        self._ours = contextlib.ExitStack()
        self._server: Companion | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what serves us alone."""
        self._ours.close()

    @property
    def ends_with_us(self) -> bool:
        """Whether what answered last serves this command alone, so that builds stop when it ends."""
        return self._server is not None and self._server.status() is None

    def connect(self, seconds: float) -> socket.socket:
        """Return a connection that waits SECONDS for each answer, to a service that is started where none runs.

        Raises `NotOurs`, `CommandMisused` and `ServiceUnreachable`.
        """
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                return connected(self._folder, seconds)
            except (FileNotFoundError, ConnectionRefusedError):
                self._provide()
            except PermissionError as error:
                raise NotOurs(f"{self._folder} is not open to this account.", hint=_AS_WHOM) from error
            except OSError as error:
                raise ServiceUnreachable(f"The service of {self._folder} cannot be reached: {error.strerror}.") from error
            if time.monotonic() > deadline:
                raise ServiceUnreachable(
                    f"Another process works with {self._folder}, and does not answer.",
                    hint="Wait until it has ended, such as a service that is being started, or a backup.",
                )

    def _provide(self) -> None:
        """Have somebody serve us, unless another process has the folder: then wait for a moment."""
        self._ours.close()
        account, started = self._account(), self._started()
        errors = self._ours.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is closed with the others
        self._server = self._ours.enter_context(
            beside(
                started.command(self._work),
                environment=started.environment(),
                errors=errors.fileno(),
                directory=started.directory if started.directory.is_dir() else Path("/"),
                account=account,
            )
        )
        if self._server.line() == READY:
            return
        status = self._server.end(ENDING_SECONDS)
        if status == BUSY:
            time.sleep(0.2)
            return
        errors.seek(0)
        said = errors.read(65536).decode(errors="replace").strip().splitlines() or [f"It ended with status {status}."]
        why = said[-1].removeprefix("guix-build-service: ")
        raise ServiceUnreachable(f"No service runs with {self._folder}, and none could be started for this.", hint=why)

    def _account(self) -> Account:
        """Return the account to which the folder belongs.  Raises `NotOurs` and `CommandMisused`."""
        try:
            owner = self._folder.stat()
        except OSError as error:
            raise CommandMisused(f"There is no folder of a service at {self._folder}: {error.strerror}.") from error
        if os.geteuid() not in {0, owner.st_uid}:
            raise NotOurs(f"{self._folder} belongs to another account.", hint=_AS_WHOM)
        try:
            entry = pwd.getpwuid(owner.st_uid)
        except KeyError:
            return Account(owner.st_uid, owner.st_gid)
        return Account(owner.st_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    def _started(self) -> Started:
        try:
            return Started.read(self._folder)
        except FileNotFoundError as error:
            raise CommandMisused(
                f"No service was ever started with {self._folder}, whose settings could be used.",
                hint="Start the hub once, or name the hub's state folder, or the service's own, by --folder.",
            ) from error
        except OSError as error:
            raise NotOurs(f"{self._folder} cannot be read: {error.strerror}.", hint=_AS_WHOM) from error
