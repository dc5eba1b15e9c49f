"""The end of sessions, and of all that they have outside of their containers."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from guix_environment import process_identity
from guix_environment.process_identity import ProcessIdentity
from guix_environment.roots import Roots
from guixspawner.life.sweep import Known, Places, sweep
from guixspawner.limits import SessionLimits
from guixspawner.network.settings import SessionNetwork
from guixspawner.session_files import SessionFiles
from guixspawner.session_key import SessionKey


@dataclass(frozen=True, slots=True)
class Ending:
    """How one hub ends sessions."""

    limits: SessionLimits
    network: SessionNetwork
    api: str
    """The address of the hub's API."""

    async def end(self, files: SessionFiles, process: ProcessIdentity | None, *, grace: float) -> None:
        """End the session of FILES, whose first PROCESS may not be known, and clear away after it.

        It is asked to end, and ended after GRACE seconds.  Raises `SessionFailure` when programs of it cannot be ended.
        """
        if process:
            await process_identity.end(process, grace=grace)
        await self.end_leftover(files, grace=grace)
        await self.clear(files)

    async def end_leftover(self, files: SessionFiles, *, grace: float) -> None:
        """End what a hub left behind of the session of FILES that was itself ended in the middle of a start."""
        leftover = await asyncio.to_thread(files.remembered)
        if leftover:
            await process_identity.end(leftover, grace=grace)

    async def clear(self, files: SessionFiles) -> None:
        """Remove everything that the session of FILES, which has ended, has outside of its container.

        Its logs stay.  Raises `SessionFailure` when programs of it cannot be ended.
        """
        key = str(files.key)
        await self.limits.end(key)
        await self.network.clear(key, self.api)
        await asyncio.to_thread(files.release)

    async def sweep(self, sessions: Path, leases: Roots, known: Known, *, grace: float, log: logging.Logger) -> None:
        """Clear away what sessions left that ended while there was no hub, and tell LOG of it.

        SESSIONS is the folder of their logs, and LEASES what they hold.  KNOWN are those of the hub's database; to be called
        before it starts any other.
        """
        places = Places(sessions, leases, self.network.sockets_folders)
        held = [key for key in map(SessionKey.within, await self.limits.leftovers()) if key]
        verdict = await sweep(places, known, further=held, clear=lambda key: self.clear(places.files(key)), grace=grace)
        for found in verdict.ended:
            log.warning("Ended the session %s, which this hub knows nothing of.", found.key)
        if verdict.cleared:
            log.info("Cleared away what sessions left that are gone: %s", ", ".join(map(str, verdict.cleared)))
