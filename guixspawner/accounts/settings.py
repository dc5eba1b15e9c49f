"""Whom people's sessions run as, by the administrator's choice."""

import asyncio
import enum
import os
from pathlib import Path

from traitlets import Bool, CaselessStrEnum, Integer, List, Unicode
from traitlets.config import Configurable

from guix_environment import processes
from guix_environment.errors import SessionFailure
from guix_environment.threads import uninterrupted
from guixspawner.accounts.homes import Homes
from guixspawner.accounts.person import TELL, Person
from guixspawner.accounts.subordinate import Ranges, SubordinateHomes, own_ranges
from guixspawner.accounts.unix import ASK, account_name, command_for, look_up, unix_person

_COMMAND_SECONDS = 60.0
"""How long the administrator's command may take to make an account."""


class Kind(enum.StrEnum):
    """Whom sessions run as."""

    AUTO = "auto"
    NUMBERS = "numbers"
    UNIX = "unix"
    SUBORDINATE = "subordinate"
    HUB = "hub"


def resolved(kind: Kind, *, root: bool) -> Kind:
    """Return what KIND means to a hub that runs as ROOT, or not.  Raises `SessionFailure` for what such a hub cannot do."""
    if kind is Kind.AUTO:
        return Kind.NUMBERS if root else Kind.HUB
    if kind in {Kind.NUMBERS, Kind.UNIX} and not root:
        raise SessionFailure(
            "The hub has not the rights that its configuration needs.",
            hint=f"Whoever runs it can run it as root, or set c.SessionAccounts.accounts to something else than {kind}.",
        )
    if kind in {Kind.SUBORDINATE, Kind.HUB} and root:
        raise SessionFailure(
            "The hub runs as root, and sessions never do.",
            hint="Whoever runs it can run it as an account of its own, or set c.SessionAccounts.accounts to something else "
            f"than {kind}.",
        )
    return kind


class SessionAccounts(Configurable):
    """Whom people's sessions run as, and where their homes are."""

    accounts = CaselessStrEnum(
        [kind.value for kind in Kind],
        default_value=Kind.AUTO.value,
        help="""
        Whom sessions run as.

        `numbers`: each person has a number of their own, and no account; the hub must run as root. `unix`: each person's
        own Unix account, with its home; the hub must run as root. `subordinate`: a number of each person's own, of those
        that `/etc/subuid` and `/etc/subgid` assign to the hub's account; the hub must not run as root, and needs `newuidmap`
        (package `uidmap`). `hub`: everybody's sessions run as the hub's own account, and only their containers keep them
        apart; the hub must not run as root. `auto`: `numbers` where the hub runs as root, `hub` where it does not.
        """,
    ).tag(config=True)

    first_uid = Integer(
        70000,
        min=1000,
        help="""
        The first of the numbers under which people's sessions run, with `numbers`.

        Each person gets one, and keeps it as the owner of their home. The default lies between Debian's accounts and the
        ranges that its `adduser` gives to containers. No number is ever given twice.
        """,
    ).tag(config=True)

    most_people = Integer(30000, min=1, help="How many numbers there are from `first_uid` on.").tag(config=True)

    account_template = Unicode(
        "{name}",
        help="""
        What a person's Unix account is called, with `unix`; `{name}` stands for their name at the hub.

        `jupyter-{name}`, as The Littlest JupyterHub has it, lets nobody's name at the hub be that of another account.
        """,
    ).tag(config=True)

    account_command = List(
        Unicode(),
        help="""
        The command that makes a Unix account which is missing, as a list of words, with `unix`.

        `{account}` and `{name}` in its words stand for the account and for the person's name at the hub. It runs as root:
        `["useradd", "--create-home", "--shell", "/bin/bash", "{account}"]`. Without it, who has no account has no session.
        """,
    ).tag(config=True)

    supplementary_groups = Bool(
        False,
        help="""
        Whether sessions are also in the other groups of their person's Unix account, with `unix`.

        Those of numbers below 1000, and others whose members can become root such as `docker`, are left out.
        """,
    ).tag(config=True)

    async def person(self, name: str, homes: Path) -> Person:
        """Return the person NAME with a home, which is made below the folder HOMES when there is none.

        Raises `SessionFailure` when there is no account for them, or the home cannot be theirs.
        """
        match resolved(Kind(self.accounts), root=os.geteuid() == 0):
            case Kind.UNIX:
                return await self._unix_person(name)
            case Kind.SUBORDINATE:
                return await SubordinateHomes(homes, await asyncio.to_thread(self._ranges)).person(name)
            case Kind.NUMBERS:
                identifiers = range(self.first_uid, self.first_uid + self.most_people)
                return await uninterrupted(Homes(homes, identifiers).person, name)
            case _:
                return await uninterrupted(Homes(homes).person, name)

    @staticmethod
    def _ranges() -> Ranges:
        return own_ranges()

    async def _unix_person(self, name: str) -> Person:
        account = account_name(self.account_template, name)
        entry = await asyncio.to_thread(look_up, account)
        if entry is None and self.account_command:
            await self._make_account(account, name)
            entry = await asyncio.to_thread(look_up, account)
        if entry is None:
            raise SessionFailure("You have no account on this machine.", hint=ASK)
        return await asyncio.to_thread(unix_person, name, entry, supplementary=self.supplementary_groups)

    async def _make_account(self, account: str, name: str) -> None:
        command = command_for(self.account_command, account, name)
        variables = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        try:
            made = await processes.run(command, environment=variables, timeout=_COMMAND_SECONDS, directory=Path("/"))
        except OSError as error:
            raise _no_account(str(error)) from error
        if not made.succeeded:
            raise _no_account(made.errors.decode(errors="replace").strip()[-500:])


def _no_account(reason: str) -> SessionFailure:
    return SessionFailure("No account could be made for you on this machine.", hint=TELL, details={"reason": reason})
