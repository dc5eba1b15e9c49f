"""What an installation allows its people: who may add environments, and how many of what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from guix_build_service.model.environments import Environment, Person
from guix_environment.errors import DiskQuotaReached, LimitReached, Refused


class MayAdd(StrEnum):
    """Who may add environments."""

    EVERYONE = "everyone"
    GROUPS = "groups"
    ADMINS = "admins"


@dataclass(frozen=True, slots=True)
class Policy:
    """What this installation allows."""

    may_add: MayAdd = MayAdd.EVERYONE
    groups: frozenset[str] = frozenset()
    """Whose members may add, where that is said by groups."""
    environments: int | None = None
    """How many a person may have; None for any number.  Administrators may have any."""
    builds_an_hour: int | None = None
    """How many a person may ask for in an hour; None for any number."""
    disk: int | None = None
    """Bytes that a person's environments may hold; None for any number."""
    evaluating_groups: frozenset[str] = frozenset()
    """Whose members may have manifests run, or what these make built, whatever the repository is."""

    def evaluated_for(self, person: Person) -> tuple[str, ...]:
        """Return those of PERSON's groups whose members may have manifests run, or what these make built."""
        return tuple(sorted(person.groups & self.evaluating_groups))

    def lets_add(self, person: Person) -> bool:
        """Tell whether PERSON may add environments."""
        by_group = self.may_add is MayAdd.GROUPS and not person.groups.isdisjoint(self.groups)
        return person.admin or self.may_add is MayAdd.EVERYONE or by_group

    def check_may_add(self, person: Person) -> None:
        """Raise `Refused` where PERSON may add no environments."""
        if not self.lets_add(person):
            raise Refused("You may not add environments on this hub.", hint="Ask its administrator.")


def check_may_change(environment: Environment, person: Person) -> None:
    """Raise `Refused` where PERSON, who may see ENVIRONMENT, is neither its owner nor an editor of it."""
    if not environment.may_be_changed_by(person):
        raise Refused(
            "Only its owner and its editors may change this environment.",
            hint="Ask its owner to make you an editor, or add an environment of your own from the same repository.",
        )


def check_owns(environment: Environment, person: Person) -> None:
    """Raise `Refused` where PERSON, who may see ENVIRONMENT, may not do everything with it."""
    if not environment.is_owned_by(person):
        raise Refused("Only the owner of this environment may do that.", hint=f"Ask {environment.owner}.")


def check_recipient(most: int, owned: int, recipient: str) -> None:
    """Raise `LimitReached` where RECIPIENT of an environment, who OWNED as many, may have MOST."""
    if owned >= most:
        raise LimitReached(
            f"{recipient} has as many environments as one may have on this hub.",
            hint="They can delete one that they no longer need.",
        )


def check_environments(most: int, owned: int) -> None:
    """Raise `LimitReached` where somebody who OWNED as many environments may have MOST."""
    if owned >= most:
        raise LimitReached(
            f"You have {most} environments, which is as many as you may have on this hub.",
            hint="Delete one that you no longer need; your files stay.",
        )


def check_disk(most: int, used: int, owner: str, person: Person) -> None:
    """Raise `DiskQuotaReached` where the environments of OWNER, who may hold MOST bytes, hold USED; PERSON is told."""
    if used >= most:
        whose = "Your environments hold" if owner == person.name else f"The environments of {owner} hold"
        raise DiskQuotaReached(
            f"{whose} {_gigabytes(used)} of the disk; this hub allows {_gigabytes(most)}.",
            hint="Delete an environment or versions that are no longer needed; nobody's files are touched.",
            details={"used": used, "limit": most},
        )


def _gigabytes(number: int) -> str:
    return f"{number / 1024**3:.1f} GiB"


def check_builds(most: int, moments: Sequence[datetime], hour: timedelta, moment: datetime) -> None:
    """Raise `LimitReached` where somebody who may ask for MOST builds in an HOUR asked for some at the MOMENTS.

    These are the ones within the HOUR that ends at MOMENT, earliest first.
    """
    if len(moments) >= most:
        wait = moments[-most] + hour - moment
        raise LimitReached(
            f"You have asked for {len(moments)} builds within an hour; this hub allows {most}.",
            hint=f"Try again in {int(wait.total_seconds()) // 60 + 1} minutes.",
            details={"retry_after": max(1, int(wait.total_seconds()) + 1)},
        )
