"""Whose manifests are run at all, and running them."""

import asyncio
import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guix_build_service.git.choice import is_named
from guix_build_service.jail.evaluate import evaluate, walls
from guix_build_service.jail.parts import evaluating_guix, place_of
from guix_build_service.jail.plan import Bounds, EvaluatingGuix, Jail
from guix_build_service.manifest.canonical import PackageList
from guix_environment.errors import InvalidInput
from guix_environment.guix_command import GuixCommand
from guix_environment.processes import Account
from guix_environment.repository_url import RepositoryUrl


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Running manifests that are no data, for those repositories and those people that the administrator names."""

    guix: GuixCommand
    repositories: tuple[str, ...] = ()
    """Addresses with ``*`` for anything, or names of hosts."""
    account: str = ""
    """The account to run them as; empty for our own."""
    root: Path = Path("/")
    """The top of the system that Guix is a program of, where it comes from a distribution."""
    bounds: Bounds = field(default_factory=Bounds)
    groups: frozenset[str] = frozenset()
    """Groups whose members have manifests of any repository run."""
    building_repositories: tuple[str, ...] = ()
    """Of which repositories also what their manifests make is built, in the same words."""
    building_groups: frozenset[str] = frozenset()
    """For whose members also what manifests make is built."""
    download_hosts: tuple[str, ...] = ()
    """Whence what manifests make may be downloaded, with ``*`` for anything."""
    _found: dict[str, EvaluatingGuix] = field(default_factory=dict, compare=False, repr=False)

    @property
    def all_groups(self) -> frozenset[str]:
        """The groups that somebody is a member of matters for."""
        return self.groups | self.building_groups

    def allows(self, repository: RepositoryUrl, groups: Collection[str] = ()) -> bool:
        """Tell whether manifests of REPOSITORY are run for a member of GROUPS."""
        return (
            not self.groups.isdisjoint(groups) or is_named(repository, self.repositories) or self.builds(repository, groups)
        )

    def builds(self, repository: RepositoryUrl, groups: Collection[str] = ()) -> bool:
        """Tell whether packages that manifests of REPOSITORY make are built for a member of GROUPS."""
        return not self.building_groups.isdisjoint(groups) or is_named(repository, self.building_repositories)

    async def packages(self, files: Mapping[str, bytes], manifest: str, marks: Mapping[str, str]) -> PackageList:
        """Return the packages that MANIFEST, one of FILES, names when it is run; see `evaluate`."""
        return await evaluate(await self.jail(), files, manifest, marks)

    async def check(self) -> None:
        """Return where the walls that manifests are run within can be put up.

        Takes some milliseconds.  Raises `InvalidInput` for an account that cannot be used, else `SessionFailure`.
        """
        await walls(await asyncio.to_thread(account_for, self.account))

    async def jail(self) -> Jail:
        """Return where manifests are run.  Raises `GuixUnavailable`, `InvalidInput`."""
        account = await asyncio.to_thread(account_for, self.account)
        # A newer Guix is another one, of other files.
        program = await asyncio.to_thread(place_of, self.guix)
        if program not in self._found:
            self._found.clear()
            self._found[program] = await evaluating_guix(self.guix, self.root)
        return Jail(self._found[program], account, self.bounds)


def account_for(name: str) -> Account:
    """Return the account NAME, or our own for an empty one.

    Raises `InvalidInput` for root, for one that is not there, and for one that we cannot become.
    """
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        if name:
            raise InvalidInput(f"There is no account {name} to run manifests as.", hint=_HINT) from None
        uid, gid = os.geteuid(), os.getegid()
    if uid == 0 or gid == 0:
        raise InvalidInput("Manifests are not run as root.", hint=_HINT)
    if os.geteuid() not in {0, uid}:
        raise InvalidInput(f"The service cannot run manifests as {name}, as it is another account itself.", hint=_HINT)
    return Account(uid, gid if os.geteuid() == 0 else os.getegid())


_HINT = (
    "Name an account that owns nothing in c.ManifestEvaluation.account, where the service runs as root; else leave it empty."
)
