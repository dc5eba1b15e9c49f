"""What a session takes of the machine's memory beside its server's own process."""

from functools import partial

from bench.frame import OURS, Bar, Figures, Result, interleave
from bench.ground import COLD, GUIX_SHELL, WARM, Way, hubs
from bench.memory import beside_the_server, processes_of, shares

ROUNDS = 20
MEGABYTES = 3.0


def measure() -> Result:
    """Start one session after the other, each way, and look at its processes while it runs."""
    with hubs(COLD, WARM, GUIX_SHELL) as ways:
        values = interleave({name: partial(_beside, way) for name, way in ways.items()}, ROUNDS)
    figures = {name: Figures.of(found) for name, found in values.items()}
    ours = max(figures[COLD].median, figures[WARM].median)
    return Result(
        "session-memory",
        "megabytes (PSS) beside the server's process",
        figures.pop(OURS),
        figures,
        [Bar("megabytes", ours, at_most=MEGABYTES)],
    )


def _beside(way: Way) -> float:
    way.start("ada")
    found = shares(processes_of(way.first_process("ada")))
    way.stop("ada")
    return beside_the_server(found)
