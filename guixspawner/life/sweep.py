"""What sessions that are gone left behind, found and removed when the hub starts.

A session that ends while its hub runs is cleared away at once.  What is left is of sessions that ended while there was no
hub, with the machine for instance, or of a hub that was killed at an unlucky moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guix_environment import process_identity
from guix_environment.process_identity import ProcessIdentity
from guix_environment.roots import Roots
from guixspawner.session_files import SessionFiles
from guixspawner.session_key import SessionKey

Known = Mapping[SessionKey, ProcessIdentity]
"""The sessions of the hub's database, each with its first process."""


@dataclass(frozen=True, slots=True)
class Found:
    """A session of which there is some trace."""

    key: SessionKey
    process: ProcessIdentity | None
    """Its first process, if that still runs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with what was found."""

    kept: tuple[SessionKey, ...]
    """Sessions that run and that the hub knows."""
    ended: tuple[Found, ...]
    """Sessions that run, and that no hub will ever ask about again."""
    cleared: tuple[SessionKey, ...]
    """Sessions that are gone; those that are ended come here next."""


def judge(found: Iterable[Found], known: Collection[SessionKey]) -> Verdict:
    """Return what is to be done with the sessions FOUND when the hub's database knows those KNOWN."""
    kept, ended, cleared = [], [], []
    for session in sorted(found, key=lambda one: one.key):
        if session.process is None:
            cleared.append(session.key)
        elif session.key in known:
            kept.append(session.key)
        else:
            ended.append(session)
    return Verdict(tuple(kept), tuple(ended), tuple(cleared))


@dataclass(frozen=True, slots=True)
class Places:
    """Where sessions leave traces."""

    sessions: Path
    """Logs and identities, a folder for each person."""
    leases: Roots
    folders: tuple[Path, ...] = ()
    """Folders that hold one folder for each session, named by its key."""

    def keys(self) -> set[SessionKey]:
        """Return every session that has left a trace.  Blocks for a few system calls for each."""
        names = [f"{path.parent.name}.{path.stem}" for path in self.sessions.glob("[!.]*/[!.]*.json")]
        names += self.leases.held()
        names += [path.name for folder in self.folders if folder.is_dir() for path in folder.iterdir()]
        return {key for key in map(SessionKey.within, names) if key is not None}

    def files(self, key: SessionKey) -> SessionFiles:
        """Return the files of the session KEY."""
        return SessionFiles(key, self.sessions, self.leases)

    def found(self, known: Known, further: Iterable[SessionKey] = ()) -> list[Found]:
        """Return every session that has left a trace, here or as FURTHER ones, and whether it runs.  Blocks."""
        found = []
        for key in self.keys() | {*further}:
            candidates = (self.files(key).remembered(), known.get(key))
            running = [process for process in candidates if process and process_identity.is_running(process)]
            found.append(Found(key, running[0] if running else None))
        return found


async def sweep(
    places: Places,
    known: Known,
    *,
    further: Collection[SessionKey] = (),
    clear: Callable[[SessionKey], Awaitable[None]],
    grace: float,
) -> Verdict:
    """End the sessions that the hub does not know, and clear away what is left of those that are gone.

    KNOWN are those of the hub's database, each with its first process.  FURTHER are those that other
    places know of, such as control groups.  CLEAR removes everything of one session outside of its container.  GRACE are the
    seconds that a session gets to end by itself.

    Returns which were which.  To be called before the hub starts any session; one that runs and is known is not touched.
    """
    verdict = judge(await asyncio.to_thread(places.found, known, further), known)
    await asyncio.gather(*(process_identity.end(one.process, grace=grace) for one in verdict.ended if one.process))
    for key in (*verdict.cleared, *(one.key for one in verdict.ended)):
        await clear(key)
    return verdict
