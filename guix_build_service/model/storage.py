"""What environments hold of the disk: how much alone, how much together with others, and what a deletion would free.

Items of the store are shared by whatever needs them, so sizes of profiles do not add up.  Here each item counts once, for
whoever holds it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from guix_build_service.model.environments import Version
from guix_environment.identifiers import EnvironmentId, StorePath, VersionId

Items = Mapping[StorePath, int]
"""The items of a profile's closure, with the bytes of each."""


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes of what somebody holds."""

    size: int
    """Of all of it."""
    alone: int
    """Of what no other version of any environment holds, nor the server that every session has."""
    frees: int
    """Of what of that no running session holds: at most so much is free once it is deleted and Guix has collected it."""

    @property
    def shared(self) -> int:
        """Bytes that others hold too."""
        return self.size - self.alone


@dataclass(frozen=True, slots=True)
class VersionStorage:
    """What one version holds."""

    version: VersionId
    share: Share | None
    """None where the sizes of its items were not noted when it was built."""
    in_session: bool | None
    """Whether a running session holds its profile, which other versions may have too; None where that is not known."""
    used: datetime | None
    """When a session was last seen to hold its profile; None since that is looked at."""


@dataclass(frozen=True, slots=True)
class EnvironmentStorage:
    """What an environment with all its versions holds."""

    environment: EnvironmentId
    share: Share | None
    """None where that of one of its versions is."""
    versions: tuple[VersionStorage, ...]

    @property
    def in_session(self) -> bool | None:
        """Whether a running session holds the profile of any of its versions; None where that is not known."""
        known = [version.in_session for version in self.versions]
        return None if None in known else any(known)

    @property
    def used(self) -> datetime | None:
        """When a session was last seen to hold the profile of any of its versions."""
        return max((version.used for version in self.versions if version.used is not None), default=None)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is held by others than the environment in question."""

    closures: Iterable[Collection[StorePath]]
    """Of the profiles of other environments and of the server; each is looked at once, and none is kept."""
    sessions: Sequence[Collection[StorePath]]
    """Closures of the profiles that running sessions hold."""
    held: frozenset[StorePath] | None
    """The profiles that running sessions hold; None where that is not known."""


def storage(
    environment: EnvironmentId,
    versions: Sequence[Version],
    items: Mapping[str, Items],
    elsewhere: Elsewhere,
    used: Mapping[StorePath, datetime],
) -> EnvironmentStorage:
    """Return what ENVIRONMENT holds by its VERSIONS.

    ITEMS are those of their profiles, by environment key, as far as that is known; USED says when profiles were used last.
    """
    # What was let go holds nothing, although another version may have the same key and another profile.
    items_of = {version.id: {} if version.let_go else items.get(version.key) for version in versions}
    own: dict[StorePath, int] = {}
    for known in items_of.values():
        own.update(known or {})
    alone = set(own)
    for closure in elsewhere.closures:
        alone.difference_update(closure)
    busy = set[StorePath]().union(*elsewhere.sessions)
    holders = Counter(item for version in versions for item in items_of[version.id] or ())

    def share_of(held: Items, mine: Collection[StorePath]) -> Share:
        sizes = {item: held[item] for item in held if item in mine}
        return Share(sum(held.values()), sum(sizes.values()), sum(size for item, size in sizes.items() if item not in busy))

    def of_version(version: Version) -> VersionStorage:
        known = items_of[version.id]
        share = None if known is None else share_of(known, {item for item in known if item in alone and holders[item] == 1})
        in_session = None if elsewhere.held is None else version.profile in elsewhere.held
        return VersionStorage(version.id, share, in_session, used.get(version.profile))

    whole = None not in items_of.values()
    return EnvironmentStorage(
        environment, share_of(own, alone) if whole else None, tuple(of_version(version) for version in versions)
    )
