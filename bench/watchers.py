"""Five hundred people watch a build whose log grows: whether all get every line in order, and others are served."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from bench.frame import Bar, Extent, Figures, Result, say
from bench.service import CHECKOUT, PREFIX, TOKEN, Service, health_latencies, percentile, percentiles, running_service
from tests.git_server import serve_git

HEALTH_MILLISECONDS = 50.0

_GUIX = """#!{python}
import os, sys, time
if "lower.scm" in " ".join(sys.argv):
    items = ['"/gnu/store/' + digit * 32 + '-profile' + end + '"' for digit, end in (("b", ".drv"), ("a", ""))]
    os.write(0, ("(ready " + " ".join(items) + ")\\n").encode())
    os.read(0, 10000)
    while not os.path.exists({go!r}):
        time.sleep(0.05)
    for number in range({lines}):
        print("line", number, "of what a compiler says about a file and an option of its own", flush=not number % 100)
        if not number % 100:
            time.sleep(0.05)
    sys.exit(1)
"""
"""Stands for Guix, to say as many lines as are wanted: a hundred in a twentieth of a second."""


def measure(extent: Extent) -> Result:
    """Have a build say its lines while people watch, as many of both as EXTENT says."""
    return asyncio.run(_measure(extent))


async def _measure(extent: Extent) -> Result:
    latencies, everything = list[float](), list[float]()
    wrong, memory = 0, dict[str, float]()
    for turn in range(extent.few):
        values, lost, memory = await _once(extent)
        latencies.append(percentile(values, 0.99))
        everything += values
        wrong += lost
        say(f"round {turn + 1} of {extent.few}: health {latencies[-1]:.1f} ms at the 99th, {lost} watchers lost lines")
    figures = Figures.of(latencies)
    return Result(
        "watchers",
        "milliseconds until GET health answers, at the 99th percentile",
        figures,
        bars=[
            Bar("watchers without every line in order", wrong, at_most=0),
            Bar("milliseconds until GET health answers, at the 99th", figures.median, at_most=HEALTH_MILLISECONDS),
        ],
        more={
            "watchers": extent.watchers,
            "lines": extent.lines,
            "milliseconds of all rounds": percentiles(everything),
            "memory": memory,
        },
    )


async def _once(extent: Extent) -> tuple[list[float], int, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="bench-watchers-") as name, serve_git(Path(name)) as git:
        git.commit("demo", {"manifest.scm": '(specifications->manifest (list "sed"))'})
        program, go = Path(name, "guix"), Path(name, "go")
        program.write_text(_GUIX.format(python=sys.executable, go=str(go), lines=extent.lines))
        program.chmod(0o755)
        async with running_service(git_host=git.host, guix=str(program)) as service:
            asked = await service.ask("POST", "environments", {"repo": git.url("demo")})
            build = str(asked["build"]["id"])  # type: ignore[index] # as the API has it
            return await _watched(service, build, go, extent)


async def _watched(service: Service, build: str, go: Path, extent: Extent) -> tuple[list[float], int, dict[str, float]]:
    words = [str(service.port), f"{PREFIX}api/v1/builds/{build}/events", TOKEN, str(extent.watchers), str(extent.lines)]
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.watching", *words, stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    assert watching.stdout is not None
    assert await watching.stdout.readline() == b"all connected\n"
    service.weigh(f"{extent.watchers} watchers, before the first line")
    go.touch()
    over = asyncio.Event()
    asking = asyncio.create_task(health_latencies(service, over))
    weighing = asyncio.create_task(_weigh_again(service, f"{extent.watchers} watchers, at most", over))
    found = json.loads(await watching.stdout.readline())
    over.set()
    await asyncio.gather(watching.wait(), weighing)
    service.weigh(f"{extent.watchers} watchers, after the last line")
    return await asking, extent.watchers - int(found["complete"]), service.memory


async def _weigh_again(service: Service, when: str, over: asyncio.Event) -> None:
    while not over.is_set():
        await asyncio.to_thread(service.weigh, when)
        await asyncio.sleep(0.5)
