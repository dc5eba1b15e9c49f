"""With whom an environment is shared by name, and what each of them may do with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody is to an environment."""

    VIEWER = "viewer"
    """Sees it, starts it and reads its logs."""
    EDITOR = "editor"
    """Does what viewers do, names and describes it, builds new versions and goes back to earlier ones."""
    OWNER = "owner"
    """May do everything with it, as administrators may: also share, limit, give away and delete it."""


class MemberKind(StrEnum):
    """What a member is."""

    USER = "user"
    """A user of the hub."""
    GROUP = "group"
    """A group of the hub's: everybody who is in it at the moment."""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody an environment is shared with by name."""

    kind: MemberKind
    name: str
    """As the hub has it."""
    role: Role
    """Viewer or editor."""

    def is_(self, name: str, groups: frozenset[str]) -> bool:
        """Tell whether the user NAME, who is in GROUPS, is this member or in it."""
        return self.name == name if self.kind is MemberKind.USER else self.name in groups


def in_order(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return MEMBERS as they are shown: people first, each by name."""
    return tuple(sorted(members, key=lambda member: (member.kind is MemberKind.GROUP, member.name)))


def highest(roles: list[Role]) -> Role | None:
    """Return the one of ROLES that includes all others; None where there is none."""
    return max(roles, key=list(Role).index, default=None)
