"""What would be let go by which rules, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from traitlets import TraitError

from guix_build_service.model.retention import Facts, Holder, Holding, Kept, Plan, Reason, Rules, plan
from guix_build_service.queue.retaining import Schedule
from guix_build_service.settings.retention import Retention
from guix_environment.identifiers import EnvironmentId, StorePath, VersionId
from tests.service.queue.killed_letting_go import OLD

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


def holding(key: str, days: float, *, current: bool = False, pinned: bool = False) -> Holding:
    profile = StorePath(f"/gnu/store/{'a' * 32}-{key}")
    holder = Holder(EnvironmentId.new(), "Plots", "ada", VersionId.new(), OLD, current, pinned)
    return Holding(key, profile, (holder,), NOW - timedelta(days=days))


def planned(rules: Rules, *holdings: Holding, held: Holding | None = None, free: int = 0, each: int = 10) -> Plan:
    profiles = frozenset({held.profile} if held else ())
    return plan(holdings, rules, Facts(NOW, profiles, free, lambda _: each))


def keys(found: Plan) -> list[str]:
    return [decision.holding.key for decision in found.decisions]


def test_without_rules_everything_stays() -> None:
    found = planned(Rules(), holding("old", 4000), holding("now", 4000, current=True))
    assert found.decisions == ()
    assert found.kept == {Kept.PINNED: 0, Kept.IN_SESSION: 0, Kept.CURRENT: 1, Kept.USED: 1}


def test_what_nobody_used_for_long_goes_but_not_what_is_current_pinned_or_in_a_session() -> None:
    held = holding("held", 400)
    found = planned(
        Rules(unused=YEAR),
        holding("exactly", 365),
        holding("older", 400),
        holding("used", 364.9),
        holding("current", 400, current=True),
        holding("pinned", 400, pinned=True),
        held,
        held=held,
    )
    assert keys(found) == ["older", "exactly"]
    assert found.decisions[0].reason is Reason.UNUSED
    assert found.decisions[0].why == "It was not used for 400 days."
    assert found.frees == 20
    assert found.kept == {Kept.PINNED: 1, Kept.IN_SESSION: 1, Kept.CURRENT: 1, Kept.USED: 1}


def test_what_is_current_goes_only_where_that_is_said_and_only_when_it_is_current_nowhere_else() -> None:
    old = holding("old", 400, current=True)
    mixed = replace(old, key="mixed", holders=(*old.holders, *holding("mixed", 400).holders))
    pinned = replace(old, key="both", holders=(*old.holders, *holding("both", 400, pinned=True).holders))
    found = planned(Rules(unused=YEAR / 2, unused_current=YEAR), old, mixed, pinned, holding("late", 300, current=True))
    assert keys(found) == ["mixed", "old"]
    assert {decision.reason for decision in found.decisions} == {Reason.CURRENT_UNUSED}


def test_a_full_disk_takes_what_was_used_longest_ago_until_there_is_room() -> None:
    rules = Rules(begin_below=50, stop_at=70)
    spare = [holding(f"k{days}", days) for days in (1, 3, 2, 5)]
    current = holding("current", 900, current=True)
    assert keys(planned(rules, *spare, current, free=49)) == ["k5", "k3", "k2"]
    assert keys(planned(rules, *spare, current, free=50)) == []
    assert keys(planned(rules, *spare, current, free=0, each=1)) == ["k5", "k3", "k2", "k1"]
    # What goes for its age makes room, too.
    by_age = planned(replace(rules, unused=timedelta(days=3)), *spare, free=45)
    assert [(decision.holding.key, decision.reason) for decision in by_age.decisions] == [
        ("k5", Reason.UNUSED),
        ("k3", Reason.UNUSED),
        ("k2", Reason.DISK),
    ]
    assert by_age.decisions[2].why == "The disk was nearly full, and it was not used for 2 days."


def test_what_an_administrator_sets_is_what_counts() -> None:
    assert Retention().rules() == Rules()
    given = Retention(unused_days=90, unused_current_days=365.5, begin_below=50, stop_at=80, look_minutes=5, collect=False)
    rules = Rules(timedelta(days=90), timedelta(days=365.5), 50, 80)
    assert given.schedule() == Schedule(rules, collect=False, seconds=300)
    assert Retention(begin_below=50).rules().stop_at == 50
    with pytest.raises(TraitError, match="never be reached"):
        Retention(begin_below=50, stop_at=49)


# --- in a service ------------------------------------------------------------
