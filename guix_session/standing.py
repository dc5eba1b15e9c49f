"""How a working copy stands to the version that a session was started from, and what may be done about it.  Pure."""

from dataclasses import dataclass
from enum import StrEnum

MOST_NAMED = 10
"""Files that a message names; of the rest it gives the number."""


class Order(StrEnum):
    """Which came first: the version's commit, or the one that the working copy is based on."""

    SAME = "same"
    BEHIND = "behind"
    """The version is newer."""
    AHEAD = "ahead"
    """The working copy is newer."""
    UNKNOWN = "unknown"
    """Nothing that is here tells."""


class State(StrEnum):
    """What is to be said to the person."""

    NONE = "none"
    """Nothing: there is no working copy, or it is at the version, or ahead of it."""
    UPDATE = "update"
    """The working copy can be brought to the version."""
    UNFINISHED = "unfinished"
    """An update was ended in the middle, and can be brought to its end."""
    BLOCKED = "blocked"
    """A newer version is there, and something of the person's is in its way."""
    DONE = "done"
    """The working copy has just been brought to the version."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What Git tells of a working copy."""

    head: str
    """The commit that is checked out."""
    branch: str
    """The branch that is checked out; empty for none."""
    follows: str
    """The branch that the environment follows; empty where that was not written down."""
    target: str
    """The version's commit."""
    order: Order
    own: int
    """How many commits there are that no version of the environment has."""
    changed: tuple[str, ...] = ()
    """Files that differ from what was committed."""
    in_the_way: tuple[str, ...] = ()
    """Files that were never committed and that the version has, too."""
    underway: str = ""
    """What Git was left in the middle of, such as ``merge``."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer to a person."""

    state: State
    message: str = ""
    reasons: tuple[str, ...] = ()
    target: str = ""
    head: str = ""

    def told(self) -> dict[str, object]:
        """Return it as the browser gets it."""
        return {
            "state": self.state.value,
            "message": self.message,
            "reasons": list(self.reasons),
            "target": self.target,
            "head": self.head,
        }


def judge(facts: Facts, folder: str) -> Standing:
    """Return what is to be said of FACTS about the working copy FOLDER.

    It may be updated when that moves the branch forward and nothing else: no commit, no change and no file of the person's
    is left behind or written over.
    """
    if facts.order in {Order.SAME, Order.AHEAD}:
        return Standing(State.NONE, target=facts.target, head=facts.head)
    target = facts.target[:7]
    reasons = _reasons(facts)
    if not reasons:
        return Standing(
            State.UPDATE,
            f"A newer version of {folder} is there. Your working copy can be brought from {facts.head[:7]} to {target}.",
            target=facts.target,
            head=facts.head,
        )
    return Standing(
        State.BLOCKED,
        f"A newer version of {folder} is there ({target}). Your working copy was left as it is: something of yours is in "
        "the way.",
        reasons,
        facts.target,
        facts.head,
    )


def _reasons(facts: Facts) -> tuple[str, ...]:
    found = []
    if facts.underway:
        found.append(f"a {facts.underway} was begun and not finished")
    if not facts.branch:
        found.append("no branch is checked out, but a single commit")
    elif facts.follows and facts.branch != facts.follows:
        found.append(f"the branch {facts.branch} is checked out, and the version is of {facts.follows}")
    if facts.order is Order.UNKNOWN:
        found.append("its history is not known here: how it stands to the version, “git fetch” could tell")
    elif facts.own:
        found.append("a commit of your own" if facts.own == 1 else f"{facts.own} commits of your own")
    if facts.changed:
        found.append(f"changed files: {named(facts.changed)}")
    if facts.in_the_way:
        found.append(f"files that were never committed, and that the version has, too: {named(facts.in_the_way)}")
    return tuple(found)


def named(paths: tuple[str, ...]) -> str:
    """Return PATHS as a sentence names them; what cannot be shown is replaced."""
    shown = ["".join(letter if letter.isprintable() else "�" for letter in path) for path in paths[:MOST_NAMED]]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
