"""What a session takes of the machine's memory beside its server's own process."""

from functools import partial

from bench.frame import OURS, Bar, Extent, Result, interleave
from bench.ground import COLD, GUIX_SHELL, PERSON, WARM, Way, hubs
from bench.memory import beside_the_server, processes_of, shares

MEGABYTES = 3.0


def measure(extent: Extent) -> Result:
    """Start one session after the other, each way, and look at its processes while it runs; as often as EXTENT says."""
    with hubs(COLD, WARM, GUIX_SHELL) as ways:
        for way in ways.values():
            way.add_people([PERSON])
        beside = {name: partial(_beside, way) for name, way in ways.items()}
        # What others do takes none of a session's memory, so there is nothing to wait for.
        figures = interleave(beside, extent.rounds, lambda: True).figures
    ours = max(figures[COLD].median, figures[WARM].median)
    return Result(
        "session-memory",
        "megabytes (PSS) beside the server's process",
        figures.pop(OURS),
        figures,
        [Bar("megabytes", ours, at_most=MEGABYTES)],
    )


def _beside(way: Way) -> float:
    way.start(PERSON)
    found = shares(processes_of(way.first_process(PERSON)))
    way.stop(PERSON)
    return beside_the_server(found)
