"""What is known of profiles and of running sessions, for who asks what an environment holds.  Everything here blocks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from guix_build_service.model.environments import Version
from guix_build_service.model.retention import Holding
from guix_build_service.model.storage import Elsewhere, EnvironmentStorage, Items, storage
from guix_build_service.pipeline.build import known_items
from guix_build_service.pipeline.disk import free
from guix_build_service.pipeline.job import Workshop
from guix_environment.errors import NotFound, RecordInvalid
from guix_environment.identifiers import EnvironmentId, StorePath

STORE = Path("/gnu/store")


def read_storage(
    workshop: Workshop,
    environment: EnvironmentId,
    versions: Sequence[Version],
    others: frozenset[str],
    used: Mapping[StorePath, datetime],
) -> EnvironmentStorage:
    """Return what ENVIRONMENT holds by its VERSIONS, where other environments' versions have the environment keys OTHERS.

    USED says when profiles were used last.
    """
    items: dict[str, Items] = {}
    for key in {version.key for version in versions}:
        known = items_with_sizes(workshop, key)
        if known is not None:
            items[key] = known
    held = held_by_sessions(workshop)
    return storage(
        environment, versions, items, Elsewhere(_closures(workshop, others), _sessions(workshop, held), held), used
    )


def items_with_sizes(workshop: Workshop, key: str) -> Items | None:
    """Return the items of the profile of the environment KEY; None where they, or their sizes, are not known."""
    known = known_items(workshop, key)
    if known is None or None in known.values():
        return None
    return {item: size for item, size in known.items() if size is not None}


class Shares:
    """Who shares what, to count profiles out one after the other."""

    def __init__(self, workshop: Workshop, keys: Iterable[str], held: frozenset[StorePath]) -> None:
        """Begin with the profiles of KEYS; the closures of those that are HELD by sessions, and the server's, stay."""
        self._workshop = workshop
        self._holders: Counter[StorePath] = Counter()
        for key in keys:
            self._holders.update(known_items(workshop, key) or ())
        self._stays = set(_of_server(workshop)).union(*_sessions(workshop, held))

    def frees(self, holding: Holding) -> int | None:
        """Count HOLDING out and return the bytes that nothing else needs then; None where they are not known."""
        items = known_items(self._workshop, holding.key) or {}
        known = items_with_sizes(self._workshop, holding.key)
        self._holders.subtract(items)
        if known is None:
            return None
        return sum(size for item, size in known.items() if self._holders[item] == 0 and item not in self._stays)


def needed_bytes(workshop: Workshop, profiles: Mapping[str, int]) -> int:
    """Return the bytes of what PROFILES need together, each item once, without what every session needs anyway.

    PROFILES are sizes by environment key; a profile whose items are not known counts with its whole size.
    """
    server, items, unknown = _of_server(workshop), dict[StorePath, int](), 0
    for key, size in profiles.items():
        known = items_with_sizes(workshop, key)
        if known is None:
            unknown += size
        else:
            items.update(known)
    return unknown + sum(size for item, size in items.items() if item not in server)


def free_bytes() -> int:
    """Return how many bytes are free where Guix's store is."""
    return free(STORE)


def held_by_sessions(workshop: Workshop) -> frozenset[StorePath] | None:
    """Return the profiles that running sessions hold; None where that is not known."""
    if workshop.leases is None:
        return None
    try:
        return frozenset(workshop.leases.held().values())
    except OSError:
        return None


def _closures(workshop: Workshop, keys: frozenset[str]) -> Iterator[frozenset[StorePath]]:
    """Yield the closures of the server and of the profiles with KEYS, one after the other."""
    yield _of_server(workshop)
    for key in keys:
        yield frozenset(known_items(workshop, key) or ())


def _of_server(workshop: Workshop) -> frozenset[StorePath]:
    try:
        return frozenset(workshop.records.read_server().closure)
    except (NotFound, RecordInvalid):
        return frozenset()


def _sessions(workshop: Workshop, held: frozenset[StorePath] | None) -> list[frozenset[StorePath]]:
    """Return the closures of those profiles of ours that are HELD by sessions."""
    keys = [key for key, profile in workshop.roots.held().items() if held and profile in held]
    return [frozenset(known_items(workshop, key) or ()) for key in keys]
