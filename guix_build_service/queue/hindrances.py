"""What keeps builds from beginning: a disk that is too full, or Guix's daemon that is gone."""

import asyncio
import logging

from guix_build_service.pipeline.disk import Disk
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.store import Store

log = logging.getLogger("guix_build_service.queue")


class Hindrances:
    """Whether builds can begin, as of the last look."""

    def __init__(self, store: Store, pipeline: Pipeline, disk: Disk) -> None:
        self._store = store
        self._pipeline = pipeline
        self._disk = disk
        self._without_daemon = False
        self.disk_is_short = False
        self.text = ""
        """Why no build begins, in a sentence; empty where they do."""

    def note_daemon_lost(self) -> None:
        """Have the next looks ask for Guix's daemon, which a build found gone, until it answers."""
        self._without_daemon = True

    async def look(self) -> bool:
        """Look again, have the rows of builds that wait say what was found, and return whether these may have changed."""
        text = await self._disk_hindrance() or await self._daemon_hindrance()
        changed = text != self.text
        if changed:
            log.warning("%s.", text or "Builds can begin again")
            self.text = text
        if text or changed:
            await self._store.hinder(text)
        return bool(text or changed)

    async def _daemon_hindrance(self) -> str:
        self._without_daemon = self._without_daemon and not await self._pipeline.daemon_answers()
        return "Waiting for Guix's daemon, which does not answer" if self._without_daemon else ""

    async def _disk_hindrance(self) -> str:
        self.disk_is_short = await asyncio.to_thread(self._disk.is_short)
        return "Waiting for room on the hub's disk" if self.disk_is_short else ""
