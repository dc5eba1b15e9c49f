"""How long it takes from the request for a container to the first instruction of the command in it.

The command is `date`, which says when it ran to the nanosecond; that it has to be loaded is the same in every way.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial

from bench.frame import OURS, Bar, Extent, Result, interleave
from bench.profile import Profile, large_profile, server_profile
from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Network, TemporaryFolder
from guix_environment.system_call_filter import compiled
from guixspawner.launch import ColdLauncher, Launcher
from guixspawner.warm_start import WarmStart
from tests.containers import ACCOUNT

MILLISECONDS = 30.0
TIMES_FASTER = 40.0

GUIX_SHELL, EACH_ITEM, WHOLE_STORE = "guix shell", "bubblewrap, item by item", "bubblewrap, whole store"
FORKED = "ours, forked"
"""From the process that is ready for warm starts."""


def measure(extent: Extent) -> Result:
    """Measure all ways with one closure, as often as EXTENT says."""
    with (
        large_profile() as profile,
        server_profile() as server,
        asyncio.Runner() as loop,
        tempfile.TemporaryDirectory() as here,
    ):
        ready = WarmStart(folder=f"{here}/warm", shared=10 * extent.rounds, idle=60.0).launcher(server.profile)
        ours = {OURS: ColdLauncher(), FORKED: ready}
        ways = {name: partial(_in_container, loop, launcher, _plan(profile)) for name, launcher in ours.items()}
        # The first asks for the process; the next ones find it.
        ways[FORKED]()
        time.sleep(5)
        measured = interleave(ways | _others(profile), extent.rounds)
        figures = measured.figures
        cold, guix = figures[OURS].median, figures[GUIX_SHELL].median
        return Result(
            "container-setup",
            "milliseconds",
            figures.pop(OURS),
            figures,
            [
                Bar("milliseconds", cold, at_most=MILLISECONDS),
                Bar("times faster than guix shell", guix / cold, at_least=TIMES_FASTER),
            ],
            {"store_items": len(profile.closure), "disturbed": measured.disturbed},
        )


def _plan(profile: Profile) -> ContainerPlan:
    """Return the container of a session, with nothing of a person's."""
    return ContainerPlan(
        store_items=profile.closure,
        command=tuple(_date(profile)),
        directory="/",
        variables={},
        host_name="bench",
        temporary_folders=(TemporaryFolder("/tmp", 0o1777),),
        filter=compiled(),
    )


def _in_container(loop: asyncio.Runner, launcher: Launcher, plan: ContainerPlan) -> float:
    """Return the milliseconds between the request for PLAN's container and what the `date` in it prints."""
    return loop.run(_run(launcher, plan))


async def _run(launcher: Launcher, plan: ContainerPlan) -> float:
    with tempfile.TemporaryFile() as log:
        began = time.time_ns()
        waiting = await launcher.prepare(ACCOUNT, Network.OWN, log.fileno())
        await waiting.run(plan)
        while process_identity.is_running(waiting.first):
            await asyncio.sleep(0.001)
        log.seek(0)
        return (int(log.read()) - began) / 1e6


def _others(profile: Profile) -> dict[str, Callable[[], float]]:
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
