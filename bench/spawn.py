"""How long a start takes: from the request at the hub's API until JupyterLab answers at the proxy."""

import time
from functools import partial

from bench.frame import OURS, Bar, Extent, Result, interleave
from bench.ground import COLD, GUIX_SHELL, LOCAL, PERSON, WARM, Way, hubs

COLD_TIMES = 1.15
WARM_TIMES = 0.5
SETTLING = 2.0
"""Seconds."""


def measure(extent: Extent) -> Result:
    """Start the session of one person, who was there before, again and again in each way, as often as EXTENT says."""
    with hubs(COLD, WARM, LOCAL, GUIX_SHELL) as ways:
        for way in ways.values():
            way.add_people([PERSON])
        measured = interleave({name: partial(_once, way) for name, way in ways.items()}, extent.rounds)
    figures = measured.figures
    local, cold, warm = (figures[name].median for name in (LOCAL, COLD, WARM))
    return Result(
        "spawn",
        "seconds",
        figures.pop(OURS),
        figures,
        [
            Bar("cold, times LocalProcessSpawner", cold / local, at_most=COLD_TIMES),
            Bar("warm, times LocalProcessSpawner", warm / local, at_most=WARM_TIMES),
        ],
        {"disturbed": measured.disturbed},
    )


def _once(way: Way) -> float:
    seconds = way.start(PERSON)
    way.stop(PERSON)
    # What a way does for its next start is not to count for another's.
    time.sleep(SETTLING)
    return seconds
