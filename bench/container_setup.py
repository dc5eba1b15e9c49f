"""How long it takes from the request for a container to the first instruction of the command in it.

The command is `date`, which says when it ran to the nanosecond; that it has to be loaded is the same in every way.
"""

import subprocess
import time
from collections.abc import Callable, Sequence

from bench.frame import OURS, Bar, Figures, Result, interleave
from bench.profile import Profile, large_profile

ROUNDS = 20
MILLISECONDS = 30.0
TIMES_FASTER = 40.0

GUIX_SHELL, EACH_ITEM, WHOLE_STORE = "guix shell", "bubblewrap, item by item", "bubblewrap, whole store"


def measure() -> Result:
    """Measure all ways with one closure."""
    with large_profile() as profile:
        values = interleave(_ways(profile), ROUNDS)
        figures = {name: Figures.of(found) for name, found in values.items()}
        ours, guix = figures[OURS].median, figures[GUIX_SHELL].median
        return Result(
            "container-setup",
            "milliseconds",
            figures.pop(OURS),
            figures,
            [
                Bar("milliseconds", ours, at_most=MILLISECONDS),
                Bar("times faster than guix shell", guix / ours, at_least=TIMES_FASTER),
            ],
            {"store_items": len(profile.closure)},
        )


def _ways(profile: Profile) -> dict[str, Callable[[], float]]:
    return {
        GUIX_SHELL: lambda: _until_it_runs(_guix_shell(profile)),
        EACH_ITEM: lambda: _until_it_runs(_bubblewrap(profile, profile.closure)),
        WHOLE_STORE: lambda: _until_it_runs(_bubblewrap(profile, ["/gnu/store"])),
    }


def _guix_shell(profile: Profile) -> list[str]:
    return ["guix", "shell", "--container", "--no-cwd", f"--profile={profile.path}", "--", *_date(profile)]


def _bubblewrap(profile: Profile, visible: Sequence[str]) -> list[str]:
    isolation = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--die-with-parent"]
    words = [word for item in visible for word in ("--ro-bind", item, item)]
    return ["bwrap", *isolation, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *words, "--", *_date(profile)]


def _date(profile: Profile) -> list[str]:
    return [profile.program("date"), "+%s%N"]


def _until_it_runs(command: Sequence[str]) -> float:
    """Return the milliseconds between the start of COMMAND and what the `date` in it prints."""
    began = time.time_ns()
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return (int(ended.stdout) - began) / 1e6
