"""How long the list of environments takes where there are very many of them."""

import asyncio
import tempfile
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from bench.frame import Bar, Extent, Figures, Result, say
from bench.service import Service, percentile, running_service
from guix_build_service.model.environments import Environment, Person, now
from guix_build_service.store import Store, environment_changes
from guix_environment.identifiers import EnvironmentId
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl

LISTING_MILLISECONDS = 50.0
OWNERS = 200
REQUESTS = 10
"""In a round, of which the values all count."""


def measure(extent: Extent) -> Result:
    """Ask for the first page again and again, as one person of many, with as many environments as EXTENT says."""
    return asyncio.run(_measure(extent))


async def _measure(extent: Extent) -> Result:
    folder = Path(tempfile.mkdtemp(prefix="bench-listing-"))
    say(f"adding {extent.environments} environments…")
    await _fill(folder / "service", extent.environments)
    async with running_service(folder=folder) as service:
        await service.ask("GET", "environments")
        latencies = [await _once(service) for _ in range(extent.rounds * REQUESTS)]
        service.weigh("after the lists")
        whole = await _whole_list(service)
        memory = service.memory
    at_95th = percentile(latencies, 0.95)
    return Result(
        "listing",
        "milliseconds until GET environments answers",
        Figures.of([Figures.of(latencies[at : at + REQUESTS]).median for at in range(0, len(latencies), REQUESTS)]),
        bars=[Bar("milliseconds, at the 95th", at_95th, at_most=LISTING_MILLISECONDS)],
        more={"environments": extent.environments, "all pages, seconds": whole, "memory": memory},
    )


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


async def _fill(folder: Path, count: int) -> None:
    """Add COUNT environments of many people, each second one for everyone, to a new store in FOLDER."""
    folder.mkdir(parents=True)
    store = await Store.open(f"sqlite:///{folder / 'service.sqlite'}")
    moment = now()
    made = [_environment(number, count, moment) for number in range(count)]

    def add(connection: Connection) -> None:
        for each in made:
            environment_changes.add(connection, each)

    await store.transaction(add)
    await store.close()


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
