"""What the service makes of requests for what is known, and of many for the same, on the real Guix."""

import asyncio
import tempfile
import time
from pathlib import Path

from bench.frame import Bar, Extent, Figures, Result, say
from bench.service import Service, running_service
from tests.git_server import GitServer, serve_git

MANIFEST = '(specifications->manifest (list "python"))\n'
READY_SECONDS = 1.0


def known_environment(extent: Extent) -> Result:
    """Push a commit that changes a notebook alone, ask for its build, and wait until it is ready, again and again."""
    return asyncio.run(_known_environment(extent))


def identical_requests(extent: Extent) -> Result:
    """Have many people ask for the same repository at once, whose packages are known and whose commit is not."""
    return asyncio.run(_identical_requests(extent))


async def _known_environment(extent: Extent) -> Result:
    with tempfile.TemporaryDirectory(prefix="bench-requests-") as name, serve_git(Path(name)) as git:
        async with running_service(git_host=git.host) as service:
            environment = await _built(service, git)
            before = len(service.guix_calls)
            seconds = [await _new_commit(service, git, environment, turn) for turn in range(extent.rounds)]
            calls = len(service.guix_calls) - before
            service.weigh("after the builds")
    figures = Figures.of(seconds)
    return Result(
        "known-environment",
        "seconds from the request until the version is ready",
        figures,
        bars=[Bar("seconds", figures.median, at_most=READY_SECONDS), Bar("Guix processes", calls, at_most=0)],
        more={"memory": service.memory},
    )


async def _built(service: Service, git: GitServer) -> str:
    """Return an environment with these packages, built by Guix."""
    say("building what is known…")
    git.commit("demo", {"manifest.scm": MANIFEST, "notebook.ipynb": "{}"})
    asked = await service.ask("POST", "environments", {"repo": git.url("demo")})
    ended = await service.finished(build_of(asked))
    if ended["state"] != "ready":
        raise RuntimeError(str(ended))
    return str(asked["id"])


async def _new_commit(service: Service, git: GitServer, environment: str, turn: int) -> float:
    await asyncio.to_thread(git.commit, "demo", {"manifest.scm": MANIFEST, "notebook.ipynb": f'{{"turn": {turn}}}'})
    began = time.perf_counter()
    asked = await service.ask("POST", f"environments/{environment}/builds", {})
    ended = await service.finished(build_of(asked))
    if ended["state"] != "ready":
        raise RuntimeError(str(ended))
    return time.perf_counter() - began


async def _identical_requests(extent: Extent) -> Result:
    seconds, most = [], 0
    with tempfile.TemporaryDirectory(prefix="bench-requests-") as name, serve_git(Path(name)) as git:
        async with running_service(git_host=git.host) as service:
            await _built(service, git)
            before = len(service.guix_calls)
            for turn in range(extent.few):
                people = [f"person-{turn}-{number}" for number in range(extent.requests)]
                took, builds = await _all_at_once(service, git, f"same-{turn}", people)
                seconds.append(took)
                most = max(most, builds)
                say(f"round {turn + 1} of {extent.few}: {took:.2f} s, {builds} builds")
            calls = len(service.guix_calls) - before
            service.weigh("after the requests")
    return Result(
        "identical-requests",
        "seconds until all who asked have a version",
        Figures.of(seconds),
        bars=[Bar("builds in a round", most, at_most=1)],
        more={"requests at once": extent.requests, "Guix processes": calls, "memory": service.memory},
    )


async def _all_at_once(service: Service, git: GitServer, repository: str, people: list[str]) -> tuple[float, int]:
    """Return the seconds that it took, and how many builds were made of it."""
    git.commit(repository, {"manifest.scm": MANIFEST})
    for person in people:
        service.hub.add(person)

    async def ask(person: str) -> str:
        asked = await service.ask("POST", "environments", {"repo": git.url(repository)}, f"token-{person}")
        ended = await service.finished(build_of(asked), f"token-{person}")
        if ended["state"] != "ready":
            raise RuntimeError(str(ended))
        return str(ended["id"])

    began = time.perf_counter()
    builds = await asyncio.gather(*map(ask, people))
    return time.perf_counter() - began, len(set(builds))


def build_of(asked: dict[str, object]) -> str:
    """Return the name of the build in ASKED, an environment as the API gives it."""
    build = asked["build"]
    assert isinstance(build, dict)
    return str(build["id"])
