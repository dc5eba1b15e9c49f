"""Being there: what several processes of the service that share one database know of each other.

Each says again and again that it is there. Who is seen to say nothing new for a lease counts as gone, and so does a process
of this machine that runs no more; what it was building waits for its turn again. A service that could not say so for nearly
as long takes itself for gone, and ends its builds before another begins them.

Whoever looks measures that time with its own steady clock, from when it first saw the last thing that was said; so a clock
that jumps, that of the database included, makes nobody gone.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from guix_build_service.model.environments import Build
from guix_build_service.store import Store
from guix_build_service.store.services import Serving
from guix_environment.errors import StoreUnavailable
from guix_environment.process_identity import from_record, identify, is_of_this_boot, is_running, to_record

BEAT_SECONDS = 15.0
"""How often a service says that it is there."""

LEASE_SECONDS = 90.0
"""How long a service that says nothing still counts as running its builds."""


class Presence:
    """Whether we are there, and who else is.  With a database of one service's own, nobody else ever is."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._told = clock()
        self._heard: dict[str, tuple[datetime, float]] = {}
        """When services that are not we said something last, by the database's clock, and when we first saw it, by ours."""

    @property
    def is_lost(self) -> bool:
        """Tell whether others may take us for gone, so that what we build is no longer ours."""
        return self._store.shared and self._clock() - self._told > LEASE_SECONDS * 2 / 3

    async def begin(self) -> None:
        """Say that we are there, from now on."""
        own = identify(os.getpid())
        assert own is not None
        self._store.process = to_record(own)
        await self._store.beat()
        self._told = self._clock()
        if self._store.shared:
            self._task = asyncio.create_task(self._beat(), name="presence")

    async def end(self) -> None:
        """Say that we are gone."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            with contextlib.suppress(StoreUnavailable):
                await self._store.leave()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            begun = self._clock()
            with contextlib.suppress(StoreUnavailable):
                await self._store.beat()
                self._told = begun

    async def others(self) -> frozenset[str]:
        """Return the services beside us that are there."""
        return frozenset(each.id for each in await self._store.other_services() if self._is_there(each))

    async def gone(self) -> list[Serving]:
        """Return the services that are not there and were not forgotten."""
        return [each for each in await self._store.other_services() if not self._is_there(each)]

    async def forget(self, service: Serving) -> None:
        """Forget SERVICE, which is gone, unless it is there again."""
        await self._store.forget_service(service)
        self._heard.pop(service.id, None)

    async def forsaken(self, builds: Sequence[Build]) -> list[Build]:
        """Return those of the running BUILDS that no other service runs."""
        there = await self.others()
        return [build for build in builds if build.service not in there]

    def _is_there(self, service: Serving) -> bool:
        said, seen = self._heard.get(service.id, (None, 0.0))
        if said != service.seen:
            seen = self._clock()
            self._heard[service.id] = (service.seen, seen)
        return self._clock() - seen <= LEASE_SECONDS and not _has_ended(service)


def _has_ended(service: Serving) -> bool:
    """Tell whether SERVICE was a process of this machine's that runs no more."""
    if not is_of_this_boot(service.process):
        return False
    process = from_record(service.process)
    return process is None or not is_running(process)
