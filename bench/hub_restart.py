"""A hub that is restarted while fifty sessions run: whether it finds all again, and whether they answer all the time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.frame import Bar, Figures, Result, say
from bench.ground import WARM, Way, hubs

PEOPLE = [f"person-{number:02}" for number in range(50)]
AT_ONCE = 10
RESTARTS = 20
VISITORS = 5
"""Threads that ask one session after the other for an answer, without a pause."""


@dataclass
class Visits:
    """What came of asking sessions."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


def measure() -> Result:
    """Restart the hub again and again."""
    with hubs(WARM, shared=len(PEOPLE)) as ways:
        way = ways[WARM]
        way.add_people(PEOPLE)
        with ThreadPoolExecutor(AT_ONCE) as people:
            list(people.map(way.start, PEOPLE))
        before = {name: way.first_process(name) for name in PEOPLE}
        visits, seconds, lost_sessions = Visits(), [], 0
        visitors = [threading.Thread(target=_visit, args=(way, visits, number)) for number in range(VISITORS)]
        for visitor in visitors:
            visitor.start()
        for turn in range(RESTARTS):
            seconds.append(_restart(way))
            found = sum(way.first_process(name) == before[name] for name in PEOPLE)
            lost_sessions += len(PEOPLE) - found
            say(f"restart {turn + 1} of {RESTARTS}: {seconds[-1]:.1f} s, found {found}, lost requests {len(visits.lost)}")
        visits.over.set()
        for visitor in visitors:
            visitor.join()
        with ThreadPoolExecutor(AT_ONCE) as people:
            list(people.map(way.stop, PEOPLE))
    return Result(
        "hub-restart",
        "seconds until the hub answers again",
        Figures.of(seconds),
        bars=[
            Bar("sessions not found again", lost_sessions, at_most=0),
            Bar("requests to sessions that were lost", len(visits.lost), at_most=0),
        ],
        more={"sessions": len(PEOPLE), "requests": visits.answered, "lost": sorted(set(visits.lost))},
    )


def _restart(way: Way) -> float:
    began = time.perf_counter()
    way.hub.end()
    way.hub.start()
    return time.perf_counter() - began


def _visit(way: Way, visits: Visits, first: int) -> None:
    number = first
    while not visits.over.is_set():
        status, text = way.hub.request("GET", f"/user/{PEOPLE[number % len(PEOPLE)]}/api")
        if status == 200 and "version" in text:
            visits.answered += 1
        else:
            visits.lost.append(f"{status} {text[:80]}")
            time.sleep(0.1)
        number += VISITORS
