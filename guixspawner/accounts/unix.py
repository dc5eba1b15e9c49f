"""People's Unix accounts: which the hub, as root, may run sessions as.

Everything that could make a session more than an ordinary person's is refused here, whatever a hub's authenticator lets
people be called.
"""

import grp
import os
import pwd
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from guix_environment.errors import SessionFailure
from guix_environment.processes import Account
from guixspawner.accounts.person import LOWEST_OF_PEOPLE, TELL, Person

PRIVILEGED_GROUPS = frozenset(
    {
        *("root", "wheel", "sudo", "admin", "adm", "shadow", "disk", "kmem", "tty", "staff", "utmp", "systemd-journal"),
        *("docker", "podman", "lxd", "incus", "incus-admin", "libvirt", "kvm", "qemu", "vboxusers", "wireshark", "sshd"),
        *("guixbuild", "guix-daemon", "guix-build-service", "nixbld", "jupyterhub", "jupyterhub-admins"),
    }
)
"""Groups whose members can become root, read what is not theirs, or reach this installation's own files."""

_LOWEST_GROUP = 1000
"""Groups below are the system's own (``GID_MIN`` of login.defs(5))."""

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""What Debian's ``adduser`` lets an account be called, and no more than useradd(8) takes."""

ASK = "Ask whoever runs this installation for an account."


def account_name(template: str, name: str) -> str:
    """Return what the account of the person NAME is called by TEMPLATE, where ``{name}`` stands for the hub's name.

    Raises `SessionFailure` for a name that no account may have: it could be an option, a path, or somebody else's.
    """
    wanted = template.replace("{name}", name)
    if "{name}" not in template or not _ACCOUNT.fullmatch(wanted):
        raise SessionFailure("Your name cannot be that of an account on this machine.", hint=ASK)
    return wanted


def command_for(words: Sequence[str], account: str, name: str) -> list[str]:
    """Return the administrator's command WORDS, which makes ACCOUNT for the person NAME."""
    return [word.replace("{account}", account).replace("{name}", name) for word in words]


def may_run(entry: pwd.struct_passwd, primary: grp.struct_group | None, *, own: int) -> None:
    """Return when sessions may run as ENTRY with the group PRIMARY, the hub being number OWN.  Raises `SessionFailure`."""
    if entry.pw_uid in {0, own} or entry.pw_uid < LOWEST_OF_PEOPLE:
        raise SessionFailure("Sessions do not run as this machine's own accounts.", hint=ASK)
    if entry.pw_gid == 0 or (primary is not None and primary.gr_name in PRIVILEGED_GROUPS):
        raise SessionFailure("Your account belongs to a group that sessions may not have.", hint=ASK)


def ordinary_groups(groups: Iterable[grp.struct_group], primary: int) -> tuple[int, ...]:
    """Return the numbers of those GROUPS beside PRIMARY that give no more than access to people's shared files."""
    return tuple(
        sorted(
            group.gr_gid
            for group in groups
            if group.gr_gid >= _LOWEST_GROUP and group.gr_gid != primary and group.gr_name not in PRIVILEGED_GROUPS
        )
    )


def look_up(account: str) -> pwd.struct_passwd | None:
    """Return the entry of ACCOUNT in the password database, or None when there is none of exactly this name.  Blocks."""
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        return None
    # A directory service may find names however they are written.
    return entry if entry.pw_name == account else None


def unix_person(name: str, entry: pwd.struct_passwd, *, supplementary: bool) -> Person:
    """Return the person NAME as the account ENTRY; with SUPPLEMENTARY also with its further ordinary groups.

    Blocks for the group database and the home.  Raises `SessionFailure`.
    """
    may_run(entry, _group(entry.pw_gid), own=os.geteuid())
    groups = [_group(number) for number in os.getgrouplist(entry.pw_name, entry.pw_gid)] if supplementary else []
    ordinary = ordinary_groups([group for group in groups if group is not None], entry.pw_gid)
    return Person(name, entry.pw_name, home_of(entry), Account(entry.pw_uid, entry.pw_gid, ordinary))


def home_of(entry: pwd.struct_passwd) -> Path:
    """Return the home of the account ENTRY, without links on the way.  Raises `SessionFailure` when it has none."""
    try:
        home = Path(entry.pw_dir).resolve(strict=True)
        status = home.stat()
    except (OSError, RuntimeError) as error:
        raise SessionFailure("Your account has no home folder on this machine.", hint=TELL) from error
    if not Path(entry.pw_dir).is_absolute() or not stat.S_ISDIR(status.st_mode) or status.st_uid != entry.pw_uid:
        raise SessionFailure("The home folder of your account is not its own.", hint=TELL)
    return home


def _group(number: int) -> grp.struct_group | None:
    try:
        return grp.getgrgid(number)
    except KeyError:
        return None
