"""The folder of everybody's homes, whose owners are the one record of who has which number.

A number is never given a second time, so that what somebody who left still owns elsewhere never becomes another's: beside
the homes lies the highest number that was ever given.
"""

import contextlib
import os
import pwd
import stat
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from guix_environment.errors import SessionFailure
from guix_environment.files import read_json, write_json
from guix_environment.processes import Account
from guix_environment.session_names import slug
from guixspawner.accounts.person import LOWEST_OF_PEOPLE, TELL, Person, no_room, not_theirs

_ALLOCATING = threading.Lock()
"""Two people's first sessions must not get the same number."""


@dataclass(frozen=True, slots=True)
class Homes:
    """The homes of a hub that gives people numbers itself, as root, or that runs everything as itself."""

    folder: Path
    identifiers: range | None = None
    """Numbers for people who have none yet; without them, and without root's rights, everything runs as the hub itself."""

    def person(self, name: str) -> Person:
        """Return the person NAME with a home, which is made when there is none.

        Blocks for a few system calls.  Raises `SessionFailure` when the home cannot be theirs.
        """
        with _ALLOCATING:
            home, status = find_home(self.folder, name)
            account = self._make(home) if status is None else self._owner(name, status)
        return Person(name, home.name, home, account)

    @property
    def _numbers(self) -> range | None:
        return self.identifiers if os.geteuid() == 0 else None

    def _owner(self, name: str, status: os.stat_result) -> Account:
        if status.st_uid < LOWEST_OF_PEOPLE if self._numbers else status.st_uid != os.geteuid():
            raise not_theirs(name)
        return Account(status.st_uid, status.st_gid)

    def _make(self, home: Path) -> Account:
        """Make a home that is its owner's from the moment it can be seen."""
        numbers = self._numbers
        account = self._free_account(numbers) if numbers else Account(os.geteuid(), os.getegid())
        unfinished = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        try:
            unfinished.chmod(0o700)
            if numbers:
                os.chown(unfinished, account.uid, account.gid)
            unfinished.rename(home)
        except OSError as error:
            unfinished.rmdir()
            raise SessionFailure("No home folder could be made for this session.", hint=TELL) from error
        return account

    def _free_account(self, identifiers: range) -> Account:
        taken = (entry.pw_uid for entry in pwd.getpwall())
        number = next_number(self.folder, identifiers, taken)
        return Account(number, number)


def find_home(folder: Path, name: str) -> tuple[Path, os.stat_result | None]:
    """Return where below FOLDER, which is made where it is missing, the person NAME has their home, and what is there.

    Raises `SessionFailure` when that is no folder.
    """
    home = folder / slug(name)
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    try:
        status = home.lstat()
    except FileNotFoundError:
        return home, None
    if not stat.S_ISDIR(status.st_mode):
        raise SessionFailure(f"The home folder of {name} is not a folder.", hint=TELL)
    return home, status


def next_number(folder: Path, identifiers: range, taken: Iterable[int] = ()) -> int:
    """Return the number among IDENTIFIERS for the next home in FOLDER, and write down that it is given.

    It lies beyond every home's owner, every number TAKEN and every one that was given before.  Call it for one person at a
    time.  Raises `SessionFailure` when none is left.
    """
    record = folder / f".highest-{identifiers.start}.json"
    used = {entry.stat(follow_symlinks=False).st_uid for entry in os.scandir(folder)} | {*taken, _given(record)}
    number = max((number for number in used if number in identifiers), default=identifiers.start - 1) + 1
    if number not in identifiers:
        raise no_room()
    write_json(record, {"highest": number}, mode=0o600)
    return number


def _given(record: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        try:
            return int(str(read_json(record)["highest"]))
        except (ValueError, KeyError) as error:
            raise SessionFailure("The record of given account numbers cannot be read.", hint=TELL) from error
    return -1
