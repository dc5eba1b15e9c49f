"""Numbers that a hub without root's rights may give away: one for each person, from ``/etc/subuid`` and ``/etc/subgid``.

The administrator assigns the hub's account a range of them (subuid(5)); ``newuidmap`` and ``newgidmap``, which are
set-user-ID programs of the package ``uidmap``, let a process in a user namespace of its own be one of them.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_environment import process_identity, processes
from guix_environment.container import INSIDE
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guix_environment.threads import uninterrupted
from guixspawner.accounts import handing_over
from guixspawner.accounts.homes import find_home, next_number
from guixspawner.accounts.person import LOWEST_OF_PEOPLE, TELL, Person, not_theirs

_MAPPING_SECONDS = 20.0
_PROGRAMS = ("newuidmap", "newgidmap")

_allocating = asyncio.Lock()
"""Two people's first sessions must not get the same number."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """One number inside of a user namespace, and what it is outside."""

    inside: int
    outside: int


@dataclass(frozen=True, slots=True)
class Ranges:
    """The numbers that an account may give away."""

    users: tuple[range, ...]
    groups: tuple[range, ...]

    @property
    def usable(self) -> bool:
        """Tell whether there is at least one person's number in both."""
        return bool(self.users and self.groups)

    def holds(self, account: Account) -> bool:
        """Tell whether both numbers of ACCOUNT are among them."""
        return any(account.uid in one for one in self.users) and any(account.gid in one for one in self.groups)

    @property
    def pair(self) -> tuple[range, range]:
        """The largest range of each, of the same length: the n-th person gets the n-th number of both."""
        users, groups = max(self.users, key=len), max(self.groups, key=len)
        length = min(len(users), len(groups))
        return users[:length], groups[:length]


def parse_ranges(text: str, account: str, uid: int) -> tuple[range, ...]:
    """Return the ranges that TEXT, a file as of subuid(5), assigns to ACCOUNT, by its name or its number UID.

    Lines that are not of that form are passed over, as ``newuidmap`` does; numbers of the machine's own accounts, too.
    """
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in {account, str(uid)} and fields[1].isdecimal() and fields[2].isdecimal():
            first = int(fields[1])
            if first > LOWEST_OF_PEOPLE and int(fields[2]):
                found.append(range(first, first + int(fields[2])))
    return tuple(found)


def own_ranges(users: Path = Path("/etc/subuid"), groups: Path = Path("/etc/subgid")) -> Ranges:
    """Return what the account that we run as may give away; nothing where it has no name or the files say nothing."""
    uid = os.geteuid()
    try:
        account = pwd.getpwuid(uid).pw_name
    except KeyError:
        return Ranges((), ())
    read = [path.read_text(errors="replace") if path.exists() else "" for path in (users, groups)]
    return Ranges(parse_ranges(read[0], account, uid), parse_ranges(read[1], account, uid))


def mapping_commands(
    programs: Sequence[str], pid: int, users: Sequence[Mapped], groups: Sequence[Mapped]
) -> tuple[list[str], list[str]]:
    """Return the commands that give the process PID its numbers (newuidmap(1), newgidmap(1)), PROGRAMS being those two."""

    def command(program: str, numbers: Sequence[Mapped]) -> list[str]:
        return [program, str(pid), *(str(word) for one in numbers for word in (one.inside, one.outside, 1))]

    return command(programs[0], users), command(programs[1], groups)


def find_programs() -> tuple[str, str]:
    """Return the paths of ``newuidmap`` and ``newgidmap``.  Raises `SessionFailure` with what to install."""
    found = [shutil.which(program) for program in _PROGRAMS]
    if found[0] is None or found[1] is None:
        raise SessionFailure(
            "This machine lacks the programs that give people numbers of their own.",
            hint="Whoever runs it can install them: apt-get install uidmap",
        )
    return found[0], found[1]


async def map_identifiers(process: ProcessIdentity, account: Account, *, inside: int = INSIDE) -> None:
    """Let PROCESS, which is in a user namespace of its own and waits, be ACCOUNT under the number INSIDE.

    Takes some milliseconds.  Raises `SessionFailure`; then PROCESS has no numbers and is of no use.
    """
    await _map(process, [Mapped(inside, account.uid)], [Mapped(inside, account.gid)])


async def _map(process: ProcessIdentity, users: Sequence[Mapped], groups: Sequence[Mapped]) -> None:
    for command in mapping_commands(find_programs(), process.pid, users, groups):
        if not process_identity.is_running(process):
            raise SessionFailure("The session's container could not be made.", hint=TELL)
        done = await processes.run(command, environment={}, timeout=_MAPPING_SECONDS, directory=Path("/"))
        if not done.succeeded:
            raise SessionFailure(
                "This machine does not let sessions run under numbers of their own.",
                hint="Whoever runs it can look at /etc/subuid and /etc/subgid; the hub's log says what was refused.",
                details={"reason": done.errors.decode(errors="replace").strip()[-500:]},
            )


async def hand_over(folder: Path, account: Account) -> None:
    """Make FOLDER, which is ours, ACCOUNT's: one of the numbers that we may give away.

    A small process does it that is both us and ACCOUNT, in a user namespace.  Raises `SessionFailure`.
    """
    ours, theirs = socket.socketpair()
    with contextlib.closing(ours), contextlib.ExitStack() as open_files:
        ours.setblocking(False)
        open_files.enter_context(contextlib.closing(theirs))
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        open_files.callback(os.close, nowhere)
        child = await processes.start(
            [sys.executable, "-I", "-S", handing_over.__file__, str(theirs.fileno()), str(folder)],
            environment={},
            output=nowhere,
            directory=Path("/"),
            pass_descriptors=[theirs.fileno()],
        )
        open_files.close()
        try:
            done = await _while_it_waits(ours, child.pid, account)
        finally:
            # Closed, so that it ends wherever it is.
            ours.close()
            await child.wait()
    if not done:
        raise SessionFailure("No home folder could be made for this session.", hint=TELL)


async def _while_it_waits(channel: socket.socket, pid: int, account: Account) -> bool:
    """Give the process PID at the other end of CHANNEL its numbers; return whether it then did its work."""
    loop = asyncio.get_running_loop()
    process = process_identity.identify(pid)
    if await loop.sock_recv(channel, 1) != handing_over.WAITING or process is None:
        return False
    users = [Mapped(handing_over.OURS, os.geteuid()), Mapped(handing_over.THEIRS, account.uid)]
    groups = [Mapped(handing_over.OURS, os.getegid()), Mapped(handing_over.THEIRS, account.gid)]
    await _map(process, users, groups)
    await loop.sock_sendall(channel, handing_over.MAPPED)
    return await loop.sock_recv(channel, 1) == handing_over.DONE


@dataclass(frozen=True, slots=True)
class SubordinateHomes:
    """The homes of a hub that gives people numbers from ``/etc/subuid``."""

    folder: Path
    ranges: Ranges

    async def person(self, name: str) -> Person:
        """Return the person NAME with a home, which is made when there is none.

        Raises `SessionFailure` when the home cannot be theirs or there are no numbers.
        """
        if not self.ranges.usable:
            raise SessionFailure(
                "The hub has no numbers that it could give to people.",
                hint="Whoever runs it can assign some to its account: usermod --add-subuids 100000-165535 "
                "--add-subgids 100000-165535 ACCOUNT",
            )
        async with _allocating:
            home, status = await asyncio.to_thread(find_home, self.folder, name)
            if status is None:
                account = await self._make(home)
            else:
                account = Account(status.st_uid, status.st_gid, subordinate=True)
                if not self.ranges.holds(account):
                    raise not_theirs(name)
        return Person(name, home.name, home, account)

    async def _make(self, home: Path) -> Account:
        users, groups = self.ranges.pair
        number = await uninterrupted(next_number, self.folder, users)
        account = Account(number, groups[users.index(number)], subordinate=True)
        unfinished = await uninterrupted(tempfile.mkdtemp, prefix=".new-", dir=self.folder)
        try:
            await hand_over(Path(unfinished), account)
            await uninterrupted(os.rename, unfinished, home)
        except BaseException:
            # A folder that is another's already can still be removed from ours, as long as it is empty.
            with contextlib.suppress(OSError):
                await uninterrupted(os.rmdir, unfinished)
            raise
        return account
