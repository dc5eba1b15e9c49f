"""What people are told of the end of their session, and when."""

from pathlib import Path

import pytest

from guix_session.memory import MemoryEvents
from guix_session.notices import duration, minutes, new_copy, notices, out_of_memory, size
from guix_session.surroundings import Project, Session

SESSION = Session(started=1000.0, idle_seconds=3600.0, maximal_age=86400.0, limits={"memory": 2**31})


COPIES = {
    name: notice
    for name, project in {
        "no git": Project(folder="analysis-41c409", taken=("analysis",)),
        "renamed": Project(folder="analysis", others=("mine", "old one")),
        "none": Project(taken=("analysis", "analysis-41c409")),
    }.items()
    if (notice := new_copy(project))
}


def kinds(now: float, last_activity: float) -> list[str]:
    return [notice.kind for notice in notices(SESSION, now=now, last_activity=last_activity)]


def test_people_are_warned_some_minutes_before_and_no_longer_once_they_work() -> None:
    assert kinds(now=2000, last_activity=1000) == []
    assert kinds(now=1000 + 3600 - 600, last_activity=1000) == ["idle"]
    assert kinds(now=1000 + 3600 - 600, last_activity=1000 + 3600 - 601) == []


def test_an_age_ends_a_session_whatever_happens() -> None:
    assert kinds(now=1000 + 86400 - 601, last_activity=1000 + 86400 - 601) == []
    assert kinds(now=1000 + 86400 - 600, last_activity=1000 + 86400 - 600) == ["age"]
    (notice,) = notices(SESSION, now=1000 + 86400 - 90, last_activity=1000 + 86400)
    assert "in 2 minutes" in notice.message
    assert "1 day" in notice.details
    assert not notice.keep_working


def test_a_short_time_has_a_short_warning() -> None:
    short = Session(started=0.0, idle_seconds=100.0)
    assert notices(short, now=79, last_activity=0) == []
    (notice,) = notices(short, now=80, last_activity=0)
    assert notice.keep_working


def test_without_an_end_nothing_is_said() -> None:
    assert notices(Session(started=0.0), now=1e12, last_activity=0) == []


@pytest.mark.parametrize("now", [1000 + 3600 - 600, 1000 + 86400 - 1, 1e12])
def test_a_message_is_shown_whole(now: float) -> None:
    """JupyterLab cuts what is longer than 140 letters."""
    told = [*notices(SESSION, now=now, last_activity=1000), out_of_memory(SESSION, 1), *COPIES.values()]
    assert all(len(notice.message) <= 140 for notice in told)


def test_the_limit_that_was_used_up_is_named() -> None:
    assert "its limit of 2 GiB of memory" in out_of_memory(SESSION, 1).details
    assert "3 times" in out_of_memory(SESSION, 3).details
    assert "all the memory it may have" in out_of_memory(Session(0.0), 1).details


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no git", ("~/analysis, where it would be,", ".git was deleted", "“mv ~/analysis-41c409/.git ~/analysis/”")),
        ("renamed", ("~/mine and ~/old one", "give ~/analysis another name")),
        ("none", ("~/analysis and ~/analysis-41c409", "start the session again")),
    ],
)
def test_where_earlier_work_is_and_what_to_do_is_told(case: str, words: tuple[str, ...]) -> None:
    assert not [word for word in words if word not in COPIES[case].details]


def test_a_copy_that_was_there_or_is_the_first_is_nothing_to_speak_of() -> None:
    assert new_copy(Project(folder="analysis")) is None
    assert new_copy(Project()) is None


def test_words() -> None:
    assert [minutes(value) for value in (-5, 1, 60, 61, 3600)] == [
        "a minute",
        "a minute",
        "a minute",
        "2 minutes",
        "60 minutes",
    ]
    assert [duration(value) for value in (30, 60, 3600, 5400, 86400, 172800)] == [
        *("a minute", "1 minute", "1 hour", "90 minutes", "1 day", "2 days")
    ]
    assert [size(value) for value in (2**30, 3 * 2**29, 2**20, 5)] == ["1 GiB", "1.5 GiB", "1 MiB", "5 bytes"]


@pytest.mark.parametrize(
    "content",
    ["low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"],
)
def test_the_kernels_count_is_read_in_both_forms(tmp_path: Path, content: str) -> None:
    file = tmp_path / "events"
    file.write_text(content.format(4))
    events = MemoryEvents(file)
    assert [events.more(), events.more()] == [4, 0]
    file.write_text(content.format(6))
    assert [events.more(), events.more()] == [2, 0]
    file.unlink()
    assert events.more() == 0
    assert MemoryEvents(None).more() == 0
