"""What is known of profiles and of running sessions, for who asks what an environment holds.  Everything here blocks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from guix_build_service.model import Version
from guix_build_service.pipeline.build import known_items
from guix_build_service.pipeline.job import Workshop
from guix_build_service.storage import Elsewhere, EnvironmentStorage, Items, storage
from guix_environment.errors import NotFound, RecordInvalid
from guix_environment.identifiers import EnvironmentId, StorePath


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
        known = known_items(workshop, key)
        if known is not None and None not in known.values():
            items[key] = {item: size for item, size in known.items() if size is not None}
    held = held_by_sessions(workshop)
    return storage(
        environment, versions, items, Elsewhere(_closures(workshop, others), _sessions(workshop, held), held), used
    )


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
