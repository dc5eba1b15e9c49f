"""What every benchmark has in common: ways that are measured in turn, and what is said of them.

The machine is seldom quiet, so all ways are measured within one run, one after the other in every round, and each round
begins with another one.  Each waits for a quiet moment first.  What counts is how they compare.
"""

import gc
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench import quiet

OURS = "ours"
"""The name of the way that a result shows first."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    rounds: int = 20
    people: int = 50
    few: int = 3
    """Rounds of what takes long."""
    requests: int = 100
    """At once."""
    watchers: int = 500
    lines: int = 20_000
    environments: int = 10_000


QUICK = Extent(rounds=1, people=2, few=1, requests=5, watchers=5, lines=500, environments=50)
"""Enough to see that a benchmark works; its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What some values come to."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figures":
        """Return the figures of VALUES, of which there is at least one."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def as_json(self) -> dict[str, float]:
        """Return the figures with four digits each: none of these measurements has more."""
        return {"median": _short(self.median), "min": _short(self.least), "max": _short(self.most)}


@dataclass(frozen=True, slots=True)
class Bar:
    """What a benchmark must reach."""

    what: str
    measured: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Tell whether it does."""
        low = self.at_least is None or self.measured >= self.at_least
        return low and (self.at_most is None or self.measured <= self.at_most)

    def as_json(self) -> dict[str, object]:
        """Return the bar, what was measured, and whether that is enough."""
        limit = {"at_most": self.at_most} if self.at_most is not None else {"at_least": self.at_least}
        return {"what": self.what, "measured": _short(self.measured), **limit, "met": self.met}


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's line."""

    benchmark: str
    unit: str
    ours: Figures
    others: Mapping[str, Figures] = field(default_factory=dict)
    bars: Sequence[Bar] = ()
    more: Mapping[str, object] = field(default_factory=dict)
    """Further figures, by names that say what they are."""

    def line(self) -> str:
        """Return the result as one line of JSON."""
        others = {name: figures.as_json() for name, figures in self.others.items()}
        said: dict[str, object] = {"benchmark": self.benchmark, "unit": self.unit, "n": self.ours.count}
        said |= {"ours": self.ours.as_json(), "others": others, "bars": [bar.as_json() for bar in self.bars]}
        return json.dumps(said | dict(self.more))


@dataclass(frozen=True, slots=True)
class Measured:
    """What ways gave, by their names."""

    values: Mapping[str, list[float]]
    disturbed: int
    """How many of them began although others used the machine."""

    @property
    def figures(self) -> dict[str, Figures]:
        """What the values of each way come to."""
        return {name: Figures.of(found) for name, found in self.values.items()}


def interleave(
    ways: Mapping[str, Callable[[], float]], rounds: int, until_quiet: Callable[[], bool] = quiet.until_quiet
) -> Measured:
    """Return what each of WAYS gives in each of ROUNDS, after one round that does not count.

    In that first one, what everybody has only once is read from disk or made.
    """
    names = list(ways)
    values: dict[str, list[float]] = {name: [] for name in names}
    disturbed = 0
    for turn in range(rounds + 1):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            gc.collect()
            is_quiet = until_quiet()
            value = ways[name]()
            if turn:
                values[name].append(value)
                disturbed += not is_quiet
        say(f"round {turn} of {rounds}: " + ", ".join(f"{name} {_last(values[name])}" for name in names))
    return Measured(values, disturbed)


def say(text: str) -> None:
    """Tell the person who waits how far it is; results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def _last(values: Sequence[float]) -> str:
    return f"{_short(values[-1])}" if values else "-"


def _short(value: float) -> float:
    return float(f"{value:.4g}")
