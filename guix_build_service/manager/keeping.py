"""What people decide about the disk: which versions are kept, which are deleted, and what is let go.

Every method names the person who asks, as in `lookups`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from guix_build_service.logs import audit
from guix_build_service.logs.audit import Action
from guix_build_service.manager.lookups import Lookups
from guix_build_service.model.environments import Environment, Person, Version
from guix_build_service.model.health import Health
from guix_build_service.model.retention import Plan, Rules
from guix_build_service.queue.retaining import Retainer
from guix_environment.errors import NotFound, ProfileLetGo, Refused
from guix_environment.identifiers import EnvironmentId, VersionId


class Keeping(Lookups):
    """Pins, deletions of versions, and retention."""

    _retainer: Retainer | None = None

    @property
    def retainer(self) -> Retainer:
        """Who lets go of profiles.  Raises `NotFound` where nobody does."""
        if self._retainer is None:
            raise NotFound("Profiles are not let go here.")
        return self._retainer

    async def health(self) -> Health:
        """Return what `Lookups.health` does, and why nothing is let go for its age where that is so."""
        found = await super().health()
        return replace(found, retention=self._retainer.doubt) if self._retainer is not None else found

    async def disk_used(self, owner: str) -> int:
        """Return the bytes that OWNER's environments hold: all they need, each item of the store once.

        What others need too counts, or one's use would grow when others delete theirs; what every session has does not,
        nor what was let go.
        """
        return await self._queue.holdings.needed_bytes(await self.retainer.rows.profiles_of(owner))

    @property
    def disk_limit(self) -> int | None:
        """The bytes that a person's environments may hold; None for any number."""
        return self._policy.disk

    async def uses(self, versions: Sequence[Version]) -> Mapping[VersionId, datetime]:
        """Return when the profiles of VERSIONS, which the caller may change, were last used, as far as that was seen."""
        used = await self._store.uses({version.profile for version in versions})
        return {version.id: used[version.profile] for version in versions if version.profile in used}

    async def pin_version(self, environment: EnvironmentId, version: VersionId, person: Person, *, pinned: bool) -> Version:
        """Have a version be PINNED, so that its profile is kept, or not.  Raises `NotFound`, `Refused`."""
        known = (await self._owned(environment, person)).environment
        found = await self._store.version(environment, version)
        deed = audit.version_deed(person.name, Action.PINNED if pinned else Action.UNPINNED, known, found)
        return await self.retainer.rows.pin(environment, version, pinned=pinned, deed=deed)

    async def delete_version(self, environment: EnvironmentId, version: VersionId, person: Person) -> None:
        """Forget a version that is not the current one, its record and its root; sessions in it go on.

        Raises `NotFound`, `Refused`, and `Conflict` for the current one.
        """
        known = (await self._owned(environment, person)).environment
        found = await self._store.version(environment, version)
        deed = audit.version_deed(person.name, Action.DELETED_VERSION, known, found)
        await self.retainer.rows.remove_version(environment, version, deed)
        await self._queue.holdings.remove_version(found)

    async def retention(self, person: Person, rules: Rules | None = None) -> Plan:
        """Return what would be let go by RULES, the configured ones unless given.  Raises `Refused`."""
        _check_administrator(person)
        return await self.retainer.plan(rules)

    async def let_go(self, person: Person, rules: Rules | None = None) -> Plan:
        """Let go of what is to be by RULES, the configured ones unless given, and return what went.  Raises `Refused`."""
        _check_administrator(person)
        return await self.retainer.let_go(rules, person.name)


def check_kept(environment: Environment, version: Version) -> None:
    """Return where sessions of ENVIRONMENT can start from VERSION.  Raises `ProfileLetGo` where its profile is not kept."""
    if version.let_go is not None:
        raise ProfileLetGo(
            f"The packages of {environment.name} at {version.commit.short} are no longer kept on this machine. "
            f"{version.let_go.why}",
            hint="Build it again, which its owner can do with one click: the same commit, from what is kept of it.",
            details={"environment": environment.id, "version": version.id, "since": version.let_go.since.isoformat()},
        )


def _check_administrator(person: Person) -> None:
    if not person.admin:
        raise Refused("Only administrators decide what is kept.", hint="A version that you need can be pinned.")
