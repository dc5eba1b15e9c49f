"""Whose turn it is: a fair order of what waits, worked out from what runs and who was served last.

Among people, first comes whoever has the fewest builds running, then whoever was served longest ago; so a person who asks
for a hundred builds delays another by one of them, not by a hundred.  Among one person's builds it is the same between
repositories, and then first come, first served: whoever asks for a hundred builds of one repository gets the one of another
next.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from guix_environment.identifiers import BuildId


@dataclass(frozen=True, slots=True)
class Limits:
    """How many builds run at the same time."""

    in_all: int = 2
    per_person: int | None = None
    per_repository: int | None = None
    per_host: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A build as far as its turn depends on it."""

    build: BuildId
    person: str
    repository: str

    @property
    def host(self) -> str:
        """Where the repository is, with the port; empty for a folder of this machine."""
        return urlsplit(self.repository).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Served:
    """When something began last, as far as that is known."""

    people: Mapping[str, datetime] = field(default_factory=dict)
    """A build that this person had asked for."""
    repositories: Mapping[str, datetime] = field(default_factory=dict)
    """A build of this repository."""


def turns(
    waiting: Sequence[Request], running: Sequence[Request], served: Served, limits: Limits
) -> tuple[list[BuildId], list[BuildId]]:
    """Return the builds WAITING, oldest first, in two lists: those whose turn it is now, and the others in their order.

    SERVED says who was served last.  The order of the others is what is to be expected when nothing new
    comes and builds end as they began.
    """
    line = _Line(running, served, limits)
    left, now, later = list(waiting), list[BuildId](), list[BuildId]()
    while left and (chosen := line.next(left, held=True)):
        left.remove(chosen)
        now.append(chosen.build)
    while left and (chosen := line.next(left, held=False)):
        left.remove(chosen)
        later.append(chosen.build)
    return now, later


class _Line:
    """Builds that run, and when in this line people and repositories had their last turn."""

    def __init__(self, running: Sequence[Request], served: Served, limits: Limits) -> None:
        self._people = Counter(request.person for request in running)
        self._repositories = Counter(request.repository for request in running)
        self._hosts = Counter(request.host for request in running)
        self._limits = limits
        self._people_served = _places(served.people)
        self._repositories_served = _places(served.repositories)
        self._turn = max(len(served.people), len(served.repositories))

    def next(self, left: Sequence[Request], *, held: bool) -> Request | None:
        """Return who of those LEFT comes next, and count it as running; None where the limits are HELD and reached."""
        allowed = [request for request in left if self._allows(request)] if held else left
        if not allowed:
            return None
        chosen = min(allowed, key=self._rank)  # the first of equals, which is the oldest
        self._people[chosen.person] += 1
        self._repositories[chosen.repository] += 1
        self._hosts[chosen.host] += 1
        self._turn += 1
        self._people_served[chosen.person] = self._repositories_served[chosen.repository] = self._turn
        return chosen

    def _allows(self, request: Request) -> bool:
        limits = self._limits
        return (
            self._people.total() < limits.in_all
            and (limits.per_person is None or self._people[request.person] < limits.per_person)
            and (limits.per_repository is None or self._repositories[request.repository] < limits.per_repository)
            and (limits.per_host is None or self._hosts[request.host] < limits.per_host)
        )

    def _rank(self, request: Request) -> tuple[int, int, int, int]:
        return (
            self._people[request.person],
            self._people_served.get(request.person, 0),
            self._repositories[request.repository],
            self._repositories_served.get(request.repository, 0),
        )


def _places(served: Mapping[str, datetime]) -> dict[str, int]:
    """Return the place of each who was SERVED, 1 for who was served longest ago."""
    return {name: place for place, name in enumerate(sorted(served, key=lambda name: served[name]), start=1)}
