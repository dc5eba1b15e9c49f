"""How benchmarks take turns, and what they say."""

import itertools
import json
import os
from collections.abc import Callable

import pytest

from bench import quiet
from bench.frame import OURS, Bar, Figures, Result, interleave


def test_that_ways_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def way(name: str) -> Callable[[], float]:
        def measure() -> float:
            order.append(name)
            return len(order)

        return measure

    moments = iter([False] * 4 + [True] * 8)
    measured = interleave({name: way(name) for name in ("a", "b", "c")}, 3, lambda: next(moments))
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b", "a", "b", "c"]
    assert measured.values == {"a": [6, 8, 10], "b": [4, 9, 11], "c": [5, 7, 12]}
    assert measured.figures["a"] == Figures(8, 6, 10, 3)
    assert measured.disturbed == 1


def test_that_a_quiet_moment_is_waited_for_and_not_for_ever() -> None:
    cores = os.cpu_count() or 1
    waited: list[float] = []
    used = iter([0.0, 0.2 * cores, 0.4 * cores, 0.401 * cores])
    assert quiet.until_quiet(lambda: next(used), waited.append)
    assert sum(waited) == 3 * quiet.LOOK
    waited.clear()
    always = itertools.count(step=cores)
    assert not quiet.until_quiet(lambda: next(always), waited.append)
    assert sum(waited) == quiet.PATIENCE


def test_that_what_the_machine_does_is_noticed() -> None:
    before = quiet._used()
    for _ in range(3_000_000):
        pass
    assert quiet._used() > before


def test_that_figures_are_of_all_values() -> None:
    assert Figures.of([3.0, 1.0, 10.0, 2.0]) == Figures(2.5, 1.0, 10.0, 4)
    with pytest.raises(ValueError, match="median"):
        Figures.of([])


@pytest.mark.parametrize(("measured", "met"), [(29.9, True), (30.0, True), (30.1, False)])
def test_that_a_bar_is_met_at_most_at_its_height(measured: float, met: bool) -> None:
    assert Bar("milliseconds", measured, at_most=30).met is met


@pytest.mark.parametrize(("measured", "met"), [(39.9, False), (40.0, True)])
def test_that_a_bar_may_be_a_least(measured: float, met: bool) -> None:
    assert Bar("times faster", measured, at_least=40).met is met


def test_that_a_result_is_one_line_with_everything_in_it() -> None:
    result = Result(
        "spawn",
        "seconds",
        Figures.of([1.23456, 1.0]),
        {"guix shell": Figures.of([4.0])},
        [Bar("times as long", 0.5, at_most=1.15)],
        {"machine": "two cores"},
    )
    line = result.line()
    assert "\n" not in line
    assert json.loads(line) == {
        "benchmark": "spawn",
        "unit": "seconds",
        "n": 2,
        OURS: {"median": 1.117, "min": 1.0, "max": 1.235},
        "others": {"guix shell": {"median": 4.0, "min": 4.0, "max": 4.0}},
        "bars": [{"what": "times as long", "measured": 0.5, "at_most": 1.15, "met": True}],
        "machine": "two cores",
    }
