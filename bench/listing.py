"""How long the list of environments takes where there are very many of them."""

import asyncio
import tempfile
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from bench.frame import Bar, Extent, Figures, Result, say
from bench.service import Service, percentile, percentiles, running_service
from guix_build_service.model.environments import Build, BuildState, Environment, Person, now
from guix_build_service.store import Store, build_changes, environment_changes
from guix_environment.identifiers import BuildId, Commit, EnvironmentId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl
from tests.postgresql import serve_postgresql

LISTING_MILLISECONDS = 50.0
COMMIT = Commit("ab" * 20)
OWNERS = 200
REQUESTS = 10
"""In a round, of which the values all count."""


def measure(extent: Extent) -> Result:
    """Ask for the first page again and again, as one person of many, with as many environments as EXTENT says."""
    return asyncio.run(_measure(extent))


async def _measure(extent: Extent) -> Result:
    latencies, more = await _listed("SQLite", "", extent)
    with serve_postgresql() as postgresql:
        others, of_postgresql = await _listed("PostgreSQL", postgresql.current(), extent)
    return Result(
        "listing",
        "milliseconds until GET environments answers",
        _by_round(latencies),
        others={"PostgreSQL": _by_round(others)},
        bars=[
            Bar("milliseconds, at the 95th", percentile(latencies, 0.95), at_most=LISTING_MILLISECONDS),
            Bar("milliseconds with PostgreSQL, at the 95th", percentile(others, 0.95), at_most=LISTING_MILLISECONDS),
        ],
        more={"environments": extent.environments, "SQLite": more, "PostgreSQL": of_postgresql},
    )


def _by_round(latencies: list[float]) -> Figures:
    return Figures.of([Figures.of(latencies[at : at + REQUESTS]).median for at in range(0, len(latencies), REQUESTS)])


async def _listed(kind: str, url: str, extent: Extent) -> tuple[list[float], dict[str, object]]:
    """Return the milliseconds of each request, and more, with a database of that KIND at URL, or the service's own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-listing-"))
    say(f"adding {extent.environments} environments to {kind}…")
    (folder / "service").mkdir(parents=True)
    await _fill(url or f"sqlite:///{folder / 'service' / 'service.sqlite'}", extent.environments)
    async with running_service(folder=folder, settings={"database_url": url} if url else {}) as service:
        await service.ask("GET", "environments")
        latencies = [await _once(service) for _ in range(extent.rounds * REQUESTS)]
        service.weigh("after the lists")
        whole = await _whole_list(service)
        memory = service.memory
    return latencies, {"milliseconds": percentiles(latencies), "all pages, seconds": whole, "memory": memory}


async def _once(service: Service) -> float:
    began = time.perf_counter()
    answer = await service.ask("GET", "environments")
    assert answer["environments"]
    return 1000 * (time.perf_counter() - began)


async def _whole_list(service: Service) -> float:
    began, cursor = time.perf_counter(), ""
    while True:
        answer = await service.ask("GET", f"environments?limit=500{cursor}")
        if answer["next"] is None:
            return round(time.perf_counter() - began, 2)
        cursor = f"&cursor={answer['next']}"


async def _fill(url: str, count: int) -> None:
    """Add COUNT environments of many people, each second one for everyone, each with a build that failed, to a new store."""
    store = await Store.open(url)
    moment = now()
    made = [_environment(number, count, moment) for number in range(count)]

    def add(connection: Connection) -> None:
        for each in made:
            environment_changes.add(connection, each)
            build_changes.request(connection, _build(each), None)

    await store.transaction(add)
    await store.close()


def _build(environment: Environment) -> Build:
    return Build(
        id=BuildId.new(),
        environments=(environment.id,),
        repository=environment.repository,
        ref=environment.ref,
        subdirectory=environment.subdirectory,
        commit=COMMIT,
        state=BuildState.FAILED,
        force=False,
        requested_by=environment.owner,
        created=environment.created,
        started=environment.created,
    )


def _environment(number: int, count: int, moment: datetime) -> Environment:
    owner = Person(f"person-{number % OWNERS}")
    return Environment(
        id=EnvironmentId.new(),
        name=f"environment {number * 7919 % count:05}",
        description="What somebody wrote of it, in a sentence or two.",
        repository=RepositoryUrl.parse(f"https://forge.example/{owner.name}/repository-{number}"),
        ref="main",
        subdirectory="",
        owner=owner.name,
        visibility=Visibility.EVERYONE if number % 2 else Visibility.PRIVATE,
        groups=(),
        memory=None,
        cpu=None,
        current=None,
        created=moment,
        updated=moment,
    )
