"""How a service was started last, written down in its folder: commands serve with the same settings while none runs.

Its words hold no secret, which everybody on the machine could read in its command line; of its variables only some are kept.
"""

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from guix_environment.errors import RecordInvalid
from guix_environment.files import read_json, write_json

KEYS = "JUPYTERHUB_CRYPT_KEY"
"""The variable with the keys of people's credentials, which is not written down."""

READY = b"ready\n"
"""What is printed by the process that serves a command alone, once it answers."""

BUSY = 75
"""Its exit status where another process works with the folder (sysexits.h, ``EX_TEMPFAIL``)."""

_KEPT = ("GUIX_BUILD_OPTIONS", "GUIX_DAEMON_SOCKET", "GUIX_LOCPATH", "HOME", "JUPYTERHUB_SERVICE_PREFIX", "LOGNAME", "PATH")
_KEPT_TOO = ("SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "USER", "XDG_CACHE_HOME")
_OUR_OWN = ("PYTHONPATH", KEYS)
"""What whoever starts it passes on of their own variables: where this program is, and what is to be found nowhere else."""

_FILE = "started.json"


class Work(StrEnum):
    """What a command is about, and so how much has to be done where no service runs."""

    LOOK = "look"
    """Nothing is changed."""
    CHANGE = "change"
    """Rows and files are changed, for which what an earlier service left is put in order first."""
    BUILD = "build"
    """Builds are done too."""


class Started(BaseModel):
    """How a service was started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    """The number of this form."""
    words: tuple[str, ...]
    """Its settings, as they stood in its command line."""
    directory: Path
    variables: Mapping[str, str]
    given_keys: bool
    """Whether the keys of people's credentials were in one of its variables."""

    @classmethod
    def now(cls, words: Sequence[str]) -> "Started":
        """Return how this process was started with WORDS."""
        kept = {name: os.environ[name] for name in (*_KEPT, *_KEPT_TOO) if name in os.environ}
        return cls(words=tuple(words), directory=Path.cwd(), variables=kept, given_keys=bool(os.environ.get(KEYS)))

    def write(self, folder: Path) -> None:
        """Write it down in FOLDER.  Blocks.  Raises `OSError`."""
        write_json(folder / _FILE, self.model_dump(mode="json"), mode=0o600)

    @classmethod
    def read(cls, folder: Path) -> "Started":
        """Return what is written down in FOLDER.

        Raises `FileNotFoundError` where no service was started with it, other `OSError`, and `RecordInvalid` for what is
        damaged, of a newer release, or could have been written by somebody else than the folder's owner.
        """
        for path in (folder, folder / _FILE):
            found = path.lstat()
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or found.st_uid not in {0, folder.stat().st_uid}:
                raise RecordInvalid(f"{path} can be changed by others than its owner.", hint=f"chmod go-w {path}")
        try:
            return cls.model_validate(read_json(folder / _FILE))
        except ValueError as error:
            raise RecordInvalid(f"{folder / _FILE} is damaged, or of another release.", hint="Start the service.") from error

    def command(self, work: Work) -> tuple[str, ...]:
        """Return the command that serves in its place, for a command about WORK alone.

        ``-P``, as what lies in the folder that somebody is in is not to be taken for a part of this program.
        """
        return (sys.executable, "-P", "-m", "guix_build_service.program.alone", work.value, *self.words)

    def environment(self) -> dict[str, str]:
        """Return that command's variables."""
        return {**self.variables, **{name: os.environ[name] for name in _OUR_OWN if name in os.environ}}
