"""How far a start has come, for everybody who watches: from the beginning, whenever they come."""

import asyncio
from collections.abc import AsyncIterator
from typing import NotRequired, TypedDict

PATIENCE = 10.0
"""Seconds after which a start tells that it still goes on."""


class ProgressEvent(TypedDict):
    """What the hub sends to a watching browser; the message is text and escaped by the hub's page."""

    message: NotRequired[str]
    progress: NotRequired[int]
    """Percent."""


class StartProgress:
    """The events of one start.  Each follower reads the same list, so none takes another's."""

    def __init__(self) -> None:
        self._events: list[ProgressEvent] = []
        self._changed = asyncio.Event()
        self.ended = False
        """Whether nothing follows any more."""

    def add(self, progress: int, message: str) -> None:
        """Tell that the start has come to PROGRESS percent, and what happens now."""
        self._events.append({"progress": progress, "message": message})
        self._wake()

    def end(self) -> None:
        """Tell that nothing follows."""
        self.ended = True
        self._wake()

    async def follow(self, *, patience: float = PATIENCE) -> AsyncIterator[ProgressEvent]:
        """Yield every event so far and then each as it comes, until the end.

        When nothing happens for PATIENCE seconds the bar goes on a third of its way to 90, which it never passes.
        """
        position, progress, waited = 0, 0, 0.0
        while True:
            changed = self._changed
            for event in self._events[position:]:
                position, progress = position + 1, event.get("progress", progress)
                yield event
            if self.ended:
                return
            try:
                async with asyncio.timeout(patience):
                    await changed.wait()
            except TimeoutError:
                waited += patience
                progress += max(0, 90 - progress) // 3
                yield {"progress": progress, "message": f"Still starting, after {waited:.0f} seconds"}

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
