"""A hub that is restarted while fifty sessions run: whether it finds all again, and whether they answer all the time.

The proxy is a process of its own, which a hub that restarts leaves alone.
"""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.frame import Bar, Extent, Figures, Result, say
from bench.ground import WARM, Way, hubs, names_of

AT_ONCE = 10
VISITORS = 5
"""Threads that ask one session after the other for an answer."""

PAUSE = 0.02
"""Seconds between an answer and the next request of each: without any, they would take the hub's time."""


@dataclass
class Visits:
    """What came of asking sessions."""

    answered: list[str] = field(default_factory=list)
    """The names of those whose session answered; added to by several threads."""
    lost: list[str] = field(default_factory=list)
    """What came instead of an answer."""
    over: threading.Event = field(default_factory=threading.Event)


def measure(extent: Extent) -> Result:
    """Restart the hub again and again, while as many sessions run as EXTENT says."""
    people = names_of(extent.people)
    with hubs(WARM, shared=len(people), proxy_apart=True) as ways:
        way = ways[WARM]
        way.add_people(people)
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            list(at_once.map(way.start, people))
        before = {name: way.first_process(name) for name in people}
        visits, seconds, lost_sessions = Visits(), [], 0
        visitors = [
            threading.Thread(target=_visit, args=(way, visits, people[number:] + people[:number]))
            for number in range(VISITORS)
        ]
        for visitor in visitors:
            visitor.start()
        for turn in range(extent.rounds):
            seconds.append(_restart(way))
            found = sum(way.first_process(name) == before[name] for name in people)
            lost_sessions += len(people) - found
            lost = len(visits.lost)
            say(f"restart {turn + 1} of {extent.rounds}: {seconds[-1]:.1f} s, found {found}, lost requests {lost}")
        visits.over.set()
        for visitor in visitors:
            visitor.join()
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            list(at_once.map(way.stop, people))
    return Result(
        "hub-restart",
        "seconds until the hub answers again",
        Figures.of(seconds),
        bars=[
            Bar("sessions not found again", lost_sessions, at_most=0),
            Bar("requests to sessions that were lost", len(visits.lost), at_most=0),
        ],
        more={"sessions": len(people), "requests": len(visits.answered), "lost": sorted(set(visits.lost))},
    )


def _restart(way: Way) -> float:
    began = time.perf_counter()
    way.hub.end()
    way.hub.start()
    return time.perf_counter() - began


def _visit(way: Way, visits: Visits, people: list[str]) -> None:
    for name in itertools.cycle(people):
        if visits.over.is_set():
            return
        status, text = way.hub.request("GET", f"/user/{name}/api")
        if status == 200 and "version" in text:
            visits.answered.append(name)
        else:
            visits.lost.append(f"{status} {text[:80]}")
        time.sleep(PAUSE)
