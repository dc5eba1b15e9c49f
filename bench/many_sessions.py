"""Fifty people: how fast their sessions start, what they take, whether all answer, and what is left of them."""

import time
from concurrent.futures import ThreadPoolExecutor

from bench.frame import Bar, Extent, Figures, Result, say
from bench.ground import COLD, LOCAL, WARM, Way, hubs, names_of
from bench.memory import beside_the_server, processes_of, shares
from bench.traces import Traces

AT_ONCE = 10
SHARED = "ours, one loading shared by all"


def measure(extent: Extent) -> Result:
    """Start the sessions of as many people as EXTENT says, ten at a time, one way after the other, and stop them again."""
    people = names_of(extent.people)
    said: dict[str, dict[str, object]] = {}
    values: dict[str, list[float]] = {}
    left = 0
    for name, shared in ((WARM, 1), (SHARED, len(people)), (COLD, 1), (LOCAL, 1)):
        kind = WARM if name == SHARED else name
        with hubs(kind, shared=shared) as ways:
            values[name], said[name] = _all_at_once(ways[kind], people)
        say(f"{name}: {said[name]}")
        traces = said[name].get("left", {})
        left += sum(traces.values()) if isinstance(traces, dict) else 0
    figures = {name: Figures.of(found) for name, found in values.items()}
    return Result(
        "many-sessions",
        "seconds until a session answers, while ten start at once",
        figures.pop(WARM),
        figures,
        [Bar("left behind", left, at_most=0)],
        {"sessions": len(people), "ways": said},
    )


def _all_at_once(way: Way, people: list[str]) -> tuple[list[float], dict[str, object]]:
    way.add_people([*people, "before"])
    # Whatever is made once for an installation is there before it counts.
    way.start("before")
    way.stop("before")
    time.sleep(3)
    with ThreadPoolExecutor(AT_ONCE) as starts:
        began = time.perf_counter()
        seconds = list(starts.map(way.start, people))
        together = time.perf_counter() - began
        for name in people:
            way.expect_answer(name)
        sessions = [processes_of(way.first_process(name)) for name in people]
        found = [shares(session) for session in sessions]
        whole = [sum(share.kilobytes for share in session) / 1024 for session in found]
        traces = Traces.of(way.hub.state, people, [pid for session in sessions for pid in session])
        groups = len(traces.groups)
        began = time.perf_counter()
        list(starts.map(way.stop, people))
        stopping = time.perf_counter() - began
    return seconds, {
        "sessions_per_second": round(len(people) / together, 2),
        "megabytes_per_session": Figures.of(whole).as_json(),
        "megabytes_beside_the_server": Figures.of([beside_the_server(session) for session in found]).as_json(),
        "answered": len(people),
        "seconds_to_stop_all": round(stopping, 1),
        **({} if way.name == LOCAL else {"control_groups": groups, "left": traces.left(), "processes_left": traces.names()}),
    }
