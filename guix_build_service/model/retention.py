"""Which profiles are kept from Guix's collector, and which are let go: decided here from facts, without doing anything.

A profile is kept for all versions that have it, so it is let go for all of them or for none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from guix_environment.identifiers import Commit, EnvironmentId, StorePath, VersionId


@dataclass(frozen=True, slots=True)
class Rules:
    """For how long profiles are kept."""

    unused: timedelta | None = None
    """How long nobody uses a profile before it is let go, where no environment starts from it; None for ever."""
    unused_current: timedelta | None = None
    """The same for profiles that environments start from."""
    begin_below: int = 0
    """Free bytes of the store's disk below which what was used longest ago is let go; 0 for never."""
    stop_at: int = 0
    """Free bytes that are enough then."""


class Reason(StrEnum):
    """Why a profile is let go."""

    UNUSED = "unused"
    """Nobody used it for long, and no environment starts from it."""
    CURRENT_UNUSED = "current-unused"
    """Nobody used it for long, although environments start from it."""
    DISK = "disk"
    """The disk is nearly full, and nobody used it for longer than others."""


class Kept(StrEnum):
    """Why a profile is kept."""

    PINNED = "pinned"
    """Somebody wants that."""
    IN_SESSION = "in-session"
    """A running session holds it."""
    CURRENT = "current"
    """An environment starts from it."""
    USED = "used"
    """It was used not long ago, or there is no rule by which it would go."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A version that has a profile."""

    environment: EnvironmentId
    name: str
    """The environment's."""
    owner: str
    version: VersionId
    commit: Commit
    current: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A profile that is kept."""

    key: str
    """The environment key, which is the name of its root."""
    profile: StorePath
    holders: tuple[Holder, ...]
    used: datetime
    """When a session was last seen to hold it, or the last of its versions was made, whichever was later."""

    @property
    def is_current(self) -> bool:
        """Tell whether any environment starts from it."""
        return any(holder.current for holder in self.holders)

    @property
    def is_pinned(self) -> bool:
        """Tell whether any of its versions is pinned."""
        return any(holder.pinned for holder in self.holders)


@dataclass(frozen=True, slots=True)
class Decision:
    """That a profile is let go."""

    holding: Holding
    reason: Reason
    why: str
    """The reason in a sentence."""
    frees: int | None
    """Bytes that nothing else needs once it and all before it in the plan are gone; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be let go now."""

    decisions: tuple[Decision, ...] = ()
    kept: Mapping[Kept, int] = field(default_factory=dict)
    """How many profiles stay, by why."""
    hindrance: str = ""
    """Why nothing, or nothing by its age, can be decided, in a sentence; empty where it can."""

    @property
    def frees(self) -> int:
        """Bytes that are free once all of it is gone and collected, as far as they are known."""
        return sum(decision.frees or 0 for decision in self.decisions)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the moment of a decision."""

    moment: datetime
    held: frozenset[StorePath]
    """The profiles that running sessions hold."""
    free: int
    """Free bytes of the store's disk."""
    frees: Callable[[Holding], int | None]
    """Counts a profile out and returns the bytes that nothing else needs then; None where they are not known."""


def plan(holdings: Iterable[Holding], rules: Rules, facts: Facts) -> Plan:
    """Return which of HOLDINGS are let go by RULES: first those nobody used for long, then what the disk asks for."""
    decisions: list[Decision] = []
    spare: list[Holding] = []
    kept = dict.fromkeys(Kept, 0)
    for holding in sorted(holdings, key=lambda each: (each.used, each.key)):
        reason, stays = _judged(holding, rules, facts)
        if reason is not None:
            decisions.append(Decision(holding, reason, _not_used(holding, facts.moment), facts.frees(holding)))
        elif stays is Kept.USED:
            spare.append(holding)
        else:
            kept[stays] += 1
    for_room = _for_room(spare, rules, facts, sum(decision.frees or 0 for decision in decisions))
    kept[Kept.USED] = len(spare) - len(for_room)
    return Plan((*decisions, *for_room), kept)


def _judged(holding: Holding, rules: Rules, facts: Facts) -> tuple[Reason | None, Kept]:
    """Return why HOLDING is let go for its age, and else why it stays."""
    if holding.is_pinned:
        return None, Kept.PINNED
    if holding.profile in facts.held:
        return None, Kept.IN_SESSION
    idle = facts.moment - holding.used
    if holding.is_current:
        old = rules.unused_current is not None and idle >= rules.unused_current
        return Reason.CURRENT_UNUSED if old else None, Kept.CURRENT
    old = rules.unused is not None and idle >= rules.unused
    return Reason.UNUSED if old else None, Kept.USED


def _for_room(spare: Sequence[Holding], rules: Rules, facts: Facts, freed: int) -> list[Decision]:
    """Return which of SPARE, those used longest ago first, go until there is room; FREED bytes come free in any case."""
    if facts.free >= rules.begin_below:
        return []
    free, found = facts.free + freed, []
    for holding in spare:
        if free >= rules.stop_at:
            break
        bytes_free = facts.frees(holding)
        why = f"The disk was nearly full, and {_not_used(holding, facts.moment, begin='it')}"
        found.append(Decision(holding, Reason.DISK, why, bytes_free))
        free += bytes_free or 0
    return found


def _not_used(holding: Holding, moment: datetime, begin: str = "It") -> str:
    days = (moment - holding.used).days
    return f"{begin} was not used for {days} day{'' if days == 1 else 's'}."
