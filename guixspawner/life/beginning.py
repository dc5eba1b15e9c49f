"""What a hub does once, before it starts its first session."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakSet

_Member = TypeVar("_Member", bound=Hashable)


class Beginning(Generic[_Member]):
    """Work that is done once for all that are registered here, when the hub has loaded those of its database.

    JupyterHub makes the spawners of all servers that its database holds in one go (``init_spawners`` of its ``app.py``), so
    that the first turn of the event loop after the first of them knows them all.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.members: WeakSet[_Member] = WeakSet()
        self._task: asyncio.Task[None] | None = None

    def register(self, member: _Member, work: Callable[[], Awaitable[object]], log: logging.Logger) -> None:
        """Count MEMBER in; for the first one, have WORK done soon, and what goes wrong with it told to LOG.

        Nothing is done where no event loop runs.
        """
        self.members.add(member)
        if self._task is None:
            with contextlib.suppress(RuntimeError):
                self._task = asyncio.get_running_loop().create_task(self._do(work, log), name="beginning of sessions")

    async def done(self) -> None:
        """Return once the work was done, however it ended."""
        if self._task is not None:
            await asyncio.shield(self._task)

    @staticmethod
    async def _do(work: Callable[[], Awaitable[object]], log: logging.Logger) -> None:
        try:
            await work()
        except Exception:
            # Sessions can do without: what is left only takes space, and the next start of the hub tries again.
            log.exception("What earlier sessions left could not be cleared away.")
