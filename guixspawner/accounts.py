"""Whom a person's sessions run as, and the home that they share.

A hub that runs as root gives each person a number of their own, so that the kernel keeps people apart; the owner of the
home is the only record of it.  Any other hub runs everything as itself.
"""

import hashlib
import os
import pwd
import re
import stat
import tempfile
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from guix_environment.errors import SessionFailure
from guix_environment.processes import Account

UNNAMED = "default"
"""What a person's server without a name is called in the names of files."""

_PLAIN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_ALLOCATING = threading.Lock()
"""Two people's first sessions must not get the same number."""

_LOWEST_OF_PEOPLE = 1000
"""Numbers below are the system's own accounts (``login.defs``)."""


def slug(name: str) -> str:
    """Return a name that can stand for NAME in paths and as an account: no two names share one, however they are chosen.

    At most 32 of ``a-z``, ``0-9`` and ``-``, first a letter.  A plain name is its own; any other gets 80 bits of its digest
    after two dashes, which no plain name has.
    """
    if len(name) <= 32 and _PLAIN.fullmatch(name) and name != UNNAMED:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:20]
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    prefix = re.sub(r"[^a-z0-9]+", "-", letters).lstrip("-0123456789")[:10].rstrip("-")
    return f"{prefix or 'x'}--{digest}"


@dataclass(frozen=True, slots=True)
class Person:
    """A person as their sessions know them."""

    name: str
    """The hub's name."""
    account_name: str
    """The name of the one account in their containers, and of their home."""
    home: Path
    account: Account


@dataclass(frozen=True, slots=True)
class Homes:
    """The folder of everybody's homes."""

    folder: Path
    identifiers: range
    """Numbers for people who have none yet, where the hub may give them."""

    def person(self, name: str) -> Person:
        """Return the person NAME with a home, which is made when there is none.

        Blocks for a few system calls.  Raises `SessionFailure` when the home cannot be theirs.
        """
        account_name = slug(name)
        home = self.folder / account_name
        with _ALLOCATING:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            try:
                status = home.lstat()
            except FileNotFoundError:
                return Person(name, account_name, home, self._make(home))
        if not stat.S_ISDIR(status.st_mode):
            raise SessionFailure(f"The home folder of {name} is not a folder.", hint="Tell whoever runs this installation.")
        return Person(name, account_name, home, self._owner(name, status))

    @staticmethod
    def _owner(name: str, status: os.stat_result) -> Account:
        fits = status.st_uid >= _LOWEST_OF_PEOPLE if os.geteuid() == 0 else status.st_uid == os.geteuid()
        if not fits:
            raise SessionFailure(
                f"The home folder of {name} belongs to another account.", hint="Tell whoever runs this installation."
            )
        return Account(status.st_uid, status.st_gid)

    def _make(self, home: Path) -> Account:
        """Make a home that is its owner's from the moment it can be seen."""
        account = self._free_account() if os.geteuid() == 0 else Account(os.geteuid(), os.getegid())
        unfinished = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        try:
            unfinished.chmod(0o700)
            if os.geteuid() == 0:
                os.chown(unfinished, account.uid, account.gid)
            unfinished.rename(home)
        except OSError as error:
            unfinished.rmdir()
            raise SessionFailure(
                "No home folder could be made for this session.", hint="Tell whoever runs this installation."
            ) from error
        return account

    def _free_account(self) -> Account:
        used = {entry.stat(follow_symlinks=False).st_uid for entry in os.scandir(self.folder)}
        used |= {entry.pw_uid for entry in pwd.getpwall()}
        # Beyond the highest rather than the first gap: what somebody who left still owns elsewhere stays theirs.
        highest = max((number for number in used if number in self.identifiers), default=self.identifiers.start - 1)
        if highest + 1 not in self.identifiers:
            raise SessionFailure(
                "This installation has no room for another person.",
                hint="Whoever runs it can widen the range of account numbers.",
            )
        return Account(highest + 1, highest + 1)
