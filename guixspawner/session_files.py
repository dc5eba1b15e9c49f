"""What a session leaves outside of its container: its log, the links that keep its store items, and which process it is."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from guix_environment.files import read_json, write_json
from guix_environment.identifiers import StorePath
from guix_environment.process_identity import ProcessIdentity, from_record, to_record
from guix_environment.roots import Roots
from guixspawner.session_key import SessionKey


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """The files of one person's one server.  Every call blocks for a few system calls."""

    key: SessionKey
    folder: Path
    """Where logs are, a folder for each person; for the hub's eyes, and of the logs the service's."""
    leases: Roots

    @classmethod
    def of(cls, user_name: str, server_name: str, folder: Path, leases: Path) -> "SessionFiles":
        """Return the files of the server SERVER_NAME of the person USER_NAME, as the hub names both."""
        return cls(SessionKey.of(user_name, server_name), folder, Roots(leases))

    @property
    def log(self) -> Path:
        """What the session printed."""
        return self.folder / self.key.person / f"{self.key.server}.log"

    @property
    def last_log(self) -> Path:
        """What the session before it printed."""
        return self.log.with_name(f"{self.log.name}.1")

    def open_log(self) -> int:
        """Begin a new log, keep the last one, and return the new one's open descriptor.

        The group of the folder, which is the service's where there is one, may read it.
        """
        self._make_folder()
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.last_log)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.log, flags, 0o600)
        os.fchmod(descriptor, 0o640)
        return descriptor

    def last_lines(self, *, lines: int = 30, limit: int = 16384) -> list[str]:
        """Return the end of the log: at most LINES lines of at most LIMIT bytes together."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except OSError:
            return []

    def hold(self, profiles: dict[str, StorePath]) -> None:
        """Keep PROFILES from the garbage collector, each under its kind."""
        for kind, profile in profiles.items():
            self.leases.hold(self._lease(kind), profile)

    def release(self) -> None:
        """Let go of everything that this session kept, and forget its process."""
        for name in self.leases.held():
            if name.startswith(self._lease("")):
                self.leases.release(name)
        self._identity.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove everything that is left of a server that is deleted: its logs too, but nothing that its person made."""
        self.release()
        for log in (self.log, self.last_log):
            log.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.log.parent.rmdir()

    def move_logs(self, other: "SessionFiles") -> None:
        """Let the logs be those of OTHER, under whose name a server that does not run goes on."""
        for old, new in ((self.log, other.log), (self.last_log, other.last_log)):
            with contextlib.suppress(FileNotFoundError):
                old.replace(new)

    def remember(self, process: ProcessIdentity) -> None:
        """Write down which process the session is: the hub itself only does so once a start is over."""
        self._make_folder()
        write_json(self._identity, to_record(process), mode=0o600)

    def remembered(self) -> ProcessIdentity | None:
        """Return the process that was written down since the machine started, or None."""
        try:
            return from_record(read_json(self._identity))
        except (OSError, ValueError):
            return None

    def _make_folder(self) -> None:
        """Make the person's folder, whose files get the group of the folder of all logs."""
        with contextlib.suppress(FileExistsError):
            self.log.parent.mkdir(mode=0o700, parents=True)
            self.log.parent.chmod(0o2750)

    @property
    def _identity(self) -> Path:
        return self.folder / self.key.person / f"{self.key.server}.json"

    def _lease(self, kind: str) -> str:
        return f"{self.key}.{kind}"
