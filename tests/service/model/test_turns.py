"""Whose turn it is: nobody waits for all that somebody else asked for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guix_build_service.model.turns import Limits, Request, Served, turns
from guix_environment.identifiers import BuildId

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def requests(*texts: str) -> list[Request]:
    """Return a request for each of TEXTS: a person's letter, a repository's digit."""
    return [Request(BuildId(f"b{number:011}"), text[0], text[1:]) for number, text in enumerate(texts)]


def line(waiting: str, running: str = "", served: str = "", limits: Limits | None = None) -> tuple[str, str]:
    """Return the order of what is WAITING, words as of `requests`, when those in SERVED were served in that order.

    There letters are people, and digits repositories.
    """
    asked = requests(*waiting.split())
    words = dict(zip([request.build for request in asked], waiting.split(), strict=True))
    last = {name: NOON + timedelta(minutes=minute) for minute, name in enumerate(served)}
    now, later = turns(asked, requests(*running.split()), Served(last, last), limits or Limits(1))
    return " ".join(words[build] for build in now), " ".join(words[build] for build in later)


@pytest.mark.parametrize(
    ("waiting", "running", "served", "limits", "now", "later"),
    [
        ("a1 a2 a3", "", "", Limits(2), "a1 a2", "a3"),
        ("a1 a2", "b8 c9", "", Limits(2), "", "a1 a2"),
        # Whoever asked for much is served in turn with whoever asked for little.
        ("a1 a2 a3 a4 b1 c1", "", "", Limits(1), "a1", "b1 c1 a2 a3 a4"),
        ("a1 a2 a3 b4 b5", "a9", "a", Limits(3), "b4 a1", "b5 a2 a3"),
        # Served last, served later, also when nothing of theirs runs any more.
        ("a1 b1", "", "a", Limits(1), "b1", "a1"),
        ("a1 b1", "", "ba", Limits(1), "b1", "a1"),
        ("a1 b1", "", "ab", Limits(1), "a1", "b1"),
        # Among one person's, the repository of which nothing runs.
        ("a1 a1 a2", "a1", "a", Limits(2), "a2", "a1 a1"),
        # And then the repository that was served longest ago, however often another one was asked for.
        ("a1 a1 a1 a2", "", "", Limits(1), "a1", "a2 a1 a1"),
        ("a1 a1 a2", "", "a21", Limits(1), "a2", "a1 a1"),
        ("a1 a1 a2", "", "a12", Limits(1), "a1", "a2 a1"),
        ("a1 a2 b1", "", "", Limits(4, per_person=1), "a1 b1", "a2"),
        ("a1 b1 c2", "", "", Limits(4, per_repository=1), "a1 c2", "b1"),
        ("a1 b1 a2", "c1", "c", Limits(4, per_person=1, per_repository=1), "a2", "b1 a1"),
        ("", "a1", "a", Limits(4), "", ""),
    ],
)  # fmt: skip
def test_the_order(waiting: str, running: str, served: str, limits: Limits, now: str, later: str) -> None:
    assert line(waiting, running, served, limits) == (now, later)


WORDS = st.lists(st.sampled_from([f"{person}{repository}" for person in "abc" for repository in "12"]), max_size=12)
LIMITS = st.builds(Limits, st.integers(1, 4), st.none() | st.integers(1, 2), st.none() | st.integers(1, 2))


@given(WORDS, WORDS, LIMITS)
def test_everybody_has_a_turn_and_no_limit_is_passed(waiting: list[str], running: list[str], limits: Limits) -> None:
    now, later = line(" ".join(waiting), " ".join(running), "", limits)
    assert sorted(now.split() + later.split()) == sorted(waiting)
    begun = now.split()
    for place, most in ((0, limits.per_person), (1, limits.per_repository)):
        for name in {word[place] for word in begun}:
            assert most is None or sum(word[place] == name for word in [*running, *begun]) <= most
    assert not begun or len(running) + len(begun) <= limits.in_all


def test_a_host_is_asked_for_so_many_builds_at_once_whoever_asks() -> None:
    repositories = ("https://slow.example/a/1", "https://slow.example/b/2", "https://slow.example:3000/c/3", "file:///d/4")
    waiting = [Request(BuildId(f"b{number:011}"), f"p{number}", each) for number, each in enumerate(repositories)]
    now, later = turns(waiting, [], Served(), Limits(4, per_host=1))
    assert (now, later) == ([waiting[0].build, waiting[2].build, waiting[3].build], [waiting[1].build])
    busy = Request(BuildId("b99999999999"), "p9", "https://slow.example/e/5")
    assert turns(waiting[:2], [busy], Served(), Limits(4, per_host=1))[0] == []
    assert turns(waiting[:2], [busy], Served(), Limits(4))[1] == []
