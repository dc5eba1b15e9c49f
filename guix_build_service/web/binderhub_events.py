"""What BinderHub's clients are told while a repository becomes a session: its phases, in its form.

Every event has a ``phase`` and a ``message``, which ends a line; clients write the messages into a terminal one after the
other.  The source of the form is BinderHub's documentation, "Event Stream API" (``docs/source/api.rst``).
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum

from guix_build_service.model.environments import Build, BuildEvent, BuildState, LogText
from guix_build_service.web.rendering import PHASES
from guix_environment.errors import BuildFailure, GuixSpawnerError

Event = Mapping[str, object]
"""What is sent as one event."""

END = "end"
"""The id of the last event: whoever comes back with it has seen all."""

AGAIN = "retry: 5000\n\n"
"""After how many milliseconds a browser that was cut off asks again."""

_QUALITY = re.compile(r"q\s*=\s*(?P<quality>[01](?:\.[0-9]{0,3})?)")


class Phase(StrEnum):
    """Where the way from a repository to a session is."""

    WAITING = "waiting"
    FETCHING = "fetching"
    BUILDING = "building"
    BUILT = "built"
    LAUNCHING = "launching"
    READY = "ready"
    FAILED = "failed"


_OF_STATES: Mapping[BuildState, Phase] = {
    BuildState.QUEUED: Phase.WAITING,
    BuildState.RESOLVING: Phase.WAITING,
    BuildState.FETCHING: Phase.FETCHING,
    BuildState.READING: Phase.FETCHING,
    BuildState.BUILDING: Phase.BUILDING,
}


def told(phase: Phase, message: str, **further: object) -> Event:
    """Return the event of PHASE with MESSAGE as a line, and what FURTHER belongs to it."""
    return {"phase": phase.value, "message": message if message.endswith("\n") else f"{message}\n", **further}


def failed(error: GuixSpawnerError) -> Event:
    """Return the event that tells of ERROR."""
    return told(Phase.FAILED, " ".join(filter(None, [error.message, error.hint])), code=error.code, status_code=error.status)


def as_sent(event: Event) -> str:
    """Return EVENT as it goes over the wire; the last one of a stream says that it is."""
    last = event["phase"] in {Phase.READY, Phase.FAILED}
    return (f"id: {END}\n" if last else "") + f"data: {json.dumps(event)}\n\n"


async def of_build(events: AsyncIterator[BuildEvent]) -> AsyncIterator[Event]:
    """Yield what the EVENTS of a build mean; those that tell nothing new are left out.

    Raises `BuildFailure` when it does not become ready.
    """
    state: BuildState | None = None
    last: Build | None = None
    async for event in events:
        if isinstance(event, LogText):
            yield {"phase": _OF_STATES.get(state or BuildState.QUEUED, Phase.BUILDING).value, "message": event.text}
            continue
        last = event.build
        if last.state is not state and not last.state.is_final:
            state = last.state
            yield told(_OF_STATES[state], f"{PHASES.get(state, 'Waiting for its turn')}…", build=last.id)
    if last is not None:
        _check_built(last)


def _check_built(build: Build) -> None:
    """Raise `BuildFailure` unless BUILD, which has ended, is ready."""
    if build.state is BuildState.CANCELLED:
        raise BuildFailure("The build was stopped.")
    if build.state is not BuildState.READY:
        error = build.error or {}
        raise BuildFailure(str(error.get("message", "The build failed.")), hint=str(error.get("hint", "")))


def admits_event_stream(accept: str) -> bool:
    """Tell whether a caller with this ACCEPT header takes an event stream (RFC 9110, 12.5.1).

    >>> admits_event_stream("text/html, */*;q=0.1")
    True
    """
    qualities: dict[str, float] = {}
    for each in accept.lower().split(","):
        kind, _, parameters = each.partition(";")
        if kind.strip():
            found = _QUALITY.search(parameters)
            qualities[kind.strip()] = float(found["quality"]) if found else 1.0
    for kind in ("text/event-stream", "text/*", "*/*"):
        if kind in qualities:
            return qualities[kind] > 0
    return not qualities
