"""A build service without its web, over a real Git server, for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.git.git import Git, find_git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.logs.build_logs import Logs
from guix_build_service.manager.manager import Manager, Policy
from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.model.environments import Build, BuildChanged, EnvironmentDetail, LogText, Person
from guix_build_service.model.turns import Limits
from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.guix import search_path
from guix_build_service.pipeline.job import Workshop
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.program.application import account_name
from guix_build_service.queue.queue import Queue
from guix_build_service.queue.retaining import Retainer
from guix_build_service.store import Store
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import BuildId
from guix_environment.records import Records
from guix_environment.roots import Roots

ADA = Person("ada")
BOB = Person("bob")
CAROL = Person("carol", frozenset({"lab"}))
ADMIN = Person("admin", admin=True)


@dataclass(frozen=True)
class Installation:
    """Everything of a service but its web."""

    folder: Path
    store: Store
    queue: Queue
    manager: Manager
    records: Records
    roots: Roots
    logs: Logs
    retainer: Retainer

    async def finished(self, build: Build | EnvironmentDetail | None, seconds: float = 300) -> Build:
        """Wait for a build's end, and until nothing of it is left to be cleared away by this service."""
        if isinstance(build, EnvironmentDetail):
            build = build.build
        assert build is not None
        async with asyncio.timeout(seconds):
            async for event in self.manager.follow(build.id, ADMIN):
                if isinstance(event, BuildChanged):
                    build = event.build
            # Who follows may see that it has ended before that.
            while build.id in self.queue._tasks:
                await asyncio.sleep(0.01)
        return build

    async def log(self, build: BuildId) -> str:
        """Return a build's whole log."""
        events = [event async for event in self.manager.follow(build, ADMIN)]
        return "".join(event.text for event in events if isinstance(event, LogText))


@contextlib.asynccontextmanager
async def installation(
    folder: Path,
    git_host: str,
    *,
    guix: str = "guix",
    roots: Path | None = None,
    variables: Mapping[str, str] | None = None,
    running_builds: int = 2,
    limits: Limits | None = None,
    disk: Disk | None = None,
    build_seconds: float = 600,
    leases: Roots | None = None,
    allowed_channels: tuple[AllowedChannel, ...] = (),
    start: bool = True,
    evaluation: Callable[[GuixCommand], Evaluation] | None = None,
    memory: int | None = None,
    database: str = "",
) -> AsyncIterator[Installation]:
    """Run a service in FOLDER that may fetch from GIT_HOST, until the context ends."""
    for name in ("home", "builds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = search_path()
    command = GuixCommand(guix, folder / "home", account_name(), path, variables or {}, memory)
    workshop = Workshop(
        git=Git(find_git(path), folder / "home", path),
        guix=command,
        hosts=Hosts([PrivateHost.parse(git_host)]),
        records=Records(folder / "records"),
        roots=Roots(roots or folder / "roots"),
        state_folder=folder,
        build_seconds=build_seconds,
        leases=leases,
        evaluation=evaluation(command) if evaluation else None,
        allowed_channels=allowed_channels,
    )
    store = await Store.open(database or f"sqlite:///{folder / 'service.sqlite'}", limits or Limits(running_builds))
    logs = Logs(folder / "logs")
    pipeline = Pipeline(workshop)
    queue, retainer = Queue(store, pipeline, logs, folder / "builds", disk), Retainer(store, pipeline)
    manager = Manager(store, queue, logs, Policy(), retainer=retainer)
    if start:
        await queue.start()
    try:
        yield Installation(folder, store, queue, manager, workshop.records, workshop.roots, logs, retainer)
    finally:
        await queue.stop()
        await store.close()
