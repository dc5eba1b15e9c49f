"""Whether the machine's clock can be believed where it decides what is old.

A clock can be set, or leap, by any time in either direction.  How long something takes is therefore measured with a steady
clock.  What only rows know, such as when a profile was used last, can be compared with nothing but the clock that leaps; so
whoever would remove something for its age asks here first.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from guix_build_service.model.environments import now

LEAP = timedelta(minutes=10)
"""By how much the clock may differ from what has really passed since the last look, as when it is put right."""

PATIENCE = timedelta(days=1)
"""How long a clock that has leapt must go on evenly before it is believed."""


def since_boot() -> float:
    """Return the seconds since the machine's start, its sleep included, which no setting of its clock changes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clock that can leap, and one that cannot."""

    wall: Callable[[], datetime] = now
    steady: Callable[[], float] = since_boot

    def begin(self) -> float:
        """Return when the steady clock would have begun, by the other one; it stays the same until that leaps."""
        return self.wall().timestamp() - self.steady()

    def has_leapt(self, begun: float) -> bool:
        """Tell whether the clock has leapt since `begin` returned BEGUN."""
        return abs(self.begin() - begun) > LEAP.total_seconds()


def working_clocks() -> Clocks:
    """Return the clocks for what stands still while the machine sleeps, such as a build: by them, its sleep is a leap."""
    return Clocks(steady=time.monotonic)


class Belief:
    """Whether the clock is believed, as of the last look."""

    def __init__(self, clocks: Clocks | None = None) -> None:
        """Begin with believing CLOCKS, those of this machine unless given."""
        self.clocks = clocks or Clocks()
        self._believed = self.clocks.begin()
        self._doubted: tuple[float, float] | None = None
        """A beginning that is not believed, and when the steady clock first saw it."""
        self.doubt = ""
        """Why nothing is old enough to be removed, in a sentence; empty where the clock is believed."""

    def look_back(self, last: datetime | None) -> None:
        """Doubt the clock where LAST, the newest moment that anybody wrote down before, is longer ago than `PATIENCE`.

        Either it has leapt while nobody looked, or nobody looked for so long, when nobody saw what was used either.
        """
        passed = timedelta() if last is None else self.clocks.wall() - last
        if passed > PATIENCE:
            self._believed -= passed.total_seconds()

    def look(self) -> str:
        """Look at the clock and return the doubt about it; empty where there is none."""
        begun, moment = self.clocks.begin(), self.clocks.steady()
        if self._doubted is None or self.clocks.has_leapt(self._doubted[0]):
            self._doubted = (begun, moment)
        waited = timedelta(seconds=moment - self._doubted[1])
        if not self.clocks.has_leapt(self._believed) or waited >= PATIENCE:
            self._believed, self._doubted, self.doubt = begun, None, ""
        else:
            self.doubt = (
                f"The clock of this machine says {_span(begun - self._believed)} than the service has seen pass. Until it "
                "has gone on evenly for a day, or is set right, nothing is let go for its age."
            )
        return self.doubt


def _span(seconds: float) -> str:
    """Return SECONDS, which may be less than none, as people compare two spans of time."""
    hours = abs(seconds) / 3600
    return f"that {hours:.1f} hours {'more' if seconds > 0 else 'less'} have passed"
