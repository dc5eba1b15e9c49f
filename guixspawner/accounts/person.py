"""A person as their sessions know them."""

from dataclasses import dataclass
from pathlib import Path

from guix_environment.errors import SessionFailure
from guix_environment.processes import Account

LOWEST_OF_PEOPLE = 1000
"""Numbers below are the system's own accounts (``UID_MIN`` of login.defs(5))."""

TELL = "Tell whoever runs this installation."


@dataclass(frozen=True, slots=True)
class Person:
    """A person as their sessions know them."""

    name: str
    """The hub's name."""
    account_name: str
    """The name of the one account in their containers, and of the home that they see there."""
    home: Path
    """Their home on the machine."""
    account: Account


def no_room() -> SessionFailure:
    """Return what a person is told when all numbers are given away."""
    return SessionFailure(
        "This installation has no room for another person.", hint="Whoever runs it can widen the range of account numbers."
    )


def not_theirs(name: str) -> SessionFailure:
    """Return what the person NAME is told when their home is somebody else's."""
    return SessionFailure(f"The home folder of {name} belongs to another account.", hint=TELL)
