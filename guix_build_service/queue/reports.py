"""What becomes known of a running build: its rows in the store say it, and whoever follows it is woken."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import replace

from guix_build_service.manifest.canonical import request_key
from guix_build_service.model.environments import RECIPE_VERSION, Build, BuildState, Progress, Resolved
from guix_build_service.model.measures import Measures
from guix_build_service.store import Store
from guix_environment.identifiers import BuildId

WOKEN_AT_ONCE = 16
"""Of five hundred who follow one build; the loop serves others before it wakes the next."""


def key_of(build: Build) -> str:
    """Return the request key of BUILD, of which the commit is known, or the version of an archive's record."""
    return request_key(
        build.repository.digest,
        build.commit or build.ref,
        build.subdirectory,
        RECIPE_VERSION,
        build.evaluated_for,
    )


class Followers:
    """Those who follow builds, to be woken when something about theirs changed."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._followers: dict[BuildId, set[asyncio.Event]] = {}
        self._announcements: Counter[BuildId] = Counter()

    def has(self, build: BuildId) -> bool:
        """Tell whether anybody follows BUILD."""
        return build in self._followers

    def announcements(self, build: BuildId) -> int:
        """Return how often something was announced of BUILD since somebody follows it."""
        return self._announcements[build]

    def announce(self, build: BuildId) -> None:
        """Wake all who follow BUILD, a few after the others."""
        if build in self._followers:
            self._announcements[build] += 1
            self._wake(deque(self._followers[build]))

    def _wake(self, sleeping: deque[asyncio.Event]) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(sleeping))):
            sleeping.popleft().set()
        if sleeping:
            asyncio.get_running_loop().call_soon(self._wake, sleeping)

    def announce_all(self) -> None:
        """Wake all who follow anything."""
        for build in self._followers:
            self.announce(build)

    @contextlib.asynccontextmanager
    async def following(self, build: BuildId) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set whenever BUILD changed; clear it before looking."""
        event = asyncio.Event()
        self._followers.setdefault(build, set()).add(event)
        try:
            yield event
        finally:
            self._followers[build].discard(event)
            if not self._followers[build]:
                del self._followers[build]
                self._announcements.pop(build, None)


class Reporter:
    """Takes a running build from state to state."""

    def __init__(self, store: Store, followers: Followers, measures: Measures, build: Build) -> None:
        """Begin with BUILD, a row that was just taken from those that wait."""
        self._store = store
        self._followers = followers
        self._measures = measures
        self._build = build
        self._since = time.monotonic()
        if build.started is not None:
            measures.spent(BuildState.QUEUED, max(0.0, (build.started - build.created).total_seconds()))

    async def entered(self, state: BuildState) -> None:
        """Write down that the build is in STATE now."""
        if state is not self._build.state:
            self.ended()
            self._build = await self._store.move(self._build.id, self._build.state, state)
        self._followers.announce(self._build.id)

    def ended(self) -> None:
        """Measure the time that the build was in its state, which ends now."""
        moment = time.monotonic()
        self._measures.spent(self._build.state, moment - self._since)
        self._since = moment

    async def resolved(self, resolved: Resolved) -> None:
        """Write down which commit is built, by which later requests find this build."""
        key = key_of(replace(self._build, repository=resolved.repository, commit=resolved.commit))
        self._build = await self._store.set_commit(self._build.id, resolved.ref, resolved.commit, key)
        self._followers.announce(self._build.id)

    async def progressed(self, progress: Progress) -> None:
        """Write down how far the build is."""
        if progress != self._build.progress:
            self._build = await self._store.set_progress(self._build.id, progress)
        # Also without progress: the log may have grown.
        self._followers.announce(self._build.id)
