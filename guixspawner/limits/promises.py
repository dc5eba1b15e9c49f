"""What running sessions were promised, so that nobody is promised what the machine no longer has."""

import os
from collections.abc import Collection
from dataclasses import dataclass

from guix_environment.errors import LimitReached
from guixspawner.limits.model import Limits


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to be promised."""

    memory: int
    """Bytes."""
    cores: float

    @classmethod
    def own(cls) -> "Machine":
        """Return this machine, or what of its cores this process may use."""
        return cls(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), len(os.sched_getaffinity(0)))


def check_promise(machine: Machine, running: Collection[Limits], wanted: Limits) -> None:
    """Raise `LimitReached` when MACHINE cannot keep what WANTED asks for beside what the RUNNING were promised.

    A session without a guarantee always fits: it gets what the others leave.
    """
    memory = sum(limits.memory_guarantee or 0 for limits in running)
    cores = sum(limits.cpu_guarantee or 0.0 for limits in running)
    if wanted.memory_guarantee and memory + wanted.memory_guarantee > machine.memory:
        raise _refusal("memory")
    # A millionth for sums of tenths, which have no exact form.
    if wanted.cpu_guarantee and cores + wanted.cpu_guarantee > machine.cores + 1e-6:
        raise _refusal("computing time")


def _refusal(what: str) -> LimitReached:
    return LimitReached(
        f"All the {what} of this machine is promised to sessions that run.",
        hint="Try again when some have ended, or stop one of your own.",
    )


class Promises:
    """The promises of one hub, by the keys of its sessions."""

    def __init__(self) -> None:
        self._made: dict[str, Limits] = {}

    def make(self, key: str, wanted: Limits, machine: Machine) -> None:
        """Promise WANTED to the session KEY, instead of what it was promised before.  Raises `LimitReached`."""
        check_promise(machine, [limits for other, limits in self._made.items() if other != key], wanted)
        self.remember(key, wanted)

    def remember(self, key: str, promised: Limits) -> None:
        """Take into account what was PROMISED to the session KEY before, as by the hub before its restart."""
        self._made[key] = promised

    def of(self, key: str) -> Limits:
        """Return what was promised to the session KEY; nothing to one that is not known."""
        return self._made.get(key, Limits())

    def release(self, key: str) -> None:
        """Take back what was promised to the session KEY."""
        self._made.pop(key, None)
