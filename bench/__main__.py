"""``make bench``: run every benchmark, or those named on the command line, and print a line of JSON for each.

Runs where there is a Guix (``tools/with_guix.py``), as root.
"""

import argparse
import sys
from collections.abc import Callable, Mapping

from bench import (
    cold_build,
    container_setup,
    hub_restart,
    listing,
    manifest_reader,
    many_sessions,
    requests,
    session_memory,
    session_network,
    spawn,
    watchers,
)
from bench.frame import QUICK, Extent, Result, say

BENCHMARKS: Mapping[str, Callable[[Extent], Result]] = {
    "container-setup": container_setup.measure,
    "session-memory": session_memory.measure,
    "session-network": session_network.measure,
    "spawn": spawn.measure,
    "many-sessions": many_sessions.measure,
    "hub-restart": hub_restart.measure,
    "manifest-reader": manifest_reader.measure,
    "cold-build": cold_build.measure,
    "known-environment": requests.known_environment,
    "identical-requests": requests.identical_requests,
    "watchers": watchers.measure,
    "listing": listing.measure,
}
"""By the names that ``make bench`` takes as BENCH."""


def main(words: list[str]) -> int:
    """Run the benchmarks that WORDS name; return 1 when one of them misses its bar."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure sessions beside other ways to start them.")
    parser.add_argument("names", nargs="*", metavar="BENCHMARK", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="only see whether it works: one round, two people")
    options = parser.parse_args(words)
    names, extent = options.names or list(BENCHMARKS), QUICK if options.quick else Extent()
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    missed = False
    for name in names:
        say(f"{name}:")
        result = BENCHMARKS[name](extent)
        print(result.line(), flush=True)
        missed |= not all(bar.met for bar in result.bars)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
