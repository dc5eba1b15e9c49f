"""Whether the owner of an environment of a private repository may still read that: what is known, and what it means.

The build service asks and writes it down, with every start that goes through it; the spawner goes by what is written, so
that sessions start while the service is down.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from guix_environment.errors import RepositoryWithdrawn
from guix_environment.repository_url import RepositoryUrl


@dataclass(frozen=True, slots=True)
class RepositoryAccess:
    """What is known of an owner's right to read the private repository of their environment."""

    read: datetime | None = None
    """When they last could; None where nobody asked yet."""
    refused: bool = False
    """Whether they could not, when they were asked after that."""


def withdrawn(repository: str, owner: str, person: str) -> RepositoryWithdrawn:
    """Return what PERSON is told who wants to start a session in OWNER's environment of the private REPOSITORY."""
    if person != owner:
        return RepositoryWithdrawn(
            f"{owner}, whom this environment belongs to, can no longer read its private repository.",
            hint=f"Tell {owner}, or add an environment of your own if you may read {repository}.",
        )
    host = RepositoryUrl.parse(repository).authority
    return RepositoryWithdrawn(
        f"You can no longer read {repository}.",
        hint=f"If you should be able to, ask whoever it belongs to, and keep a token for {host} that is valid. Files in "
        "your home stay.",
    )


AHEAD = timedelta(minutes=10)
"""How far in the future may lie what was written down: clocks are put right, and those of two machines differ."""


def check(access: RepositoryAccess, repository: str, owner: str, person: str, longest: timedelta, moment: datetime) -> None:
    """Return if a session may start by what ACCESS tells at MOMENT, else raise `RepositoryWithdrawn`.

    Other arguments are as `withdrawn` has them; what was true counts for LONGEST.
    What was true at a time that has not come was written down by a clock that was wrong, and counts for nothing.
    """
    if access.refused:
        raise withdrawn(repository, owner, person)
    if access.read is None or not -AHEAD <= moment - access.read <= longest:
        raise RepositoryWithdrawn(
            f"Nobody has asked lately whether {'you' if person == owner else owner} may still read {repository}, which is "
            "private.",
            hint="Start it from the page of the environment, where that is asked.",
        )
