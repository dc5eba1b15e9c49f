"""Server-sent events, read as they arrive (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from guix_build_service.commands.outcomes import AnswerNotUnderstood

LARGEST_EVENT = 16 * 1024 * 1024
"""Characters that are kept of one event, far beyond what the service puts into one."""

_END_OF_LINE = re.compile(r"\r\n|\n|\r(?!\Z)")  # whether a last \r is a whole end of line is seen when more has come


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    id: str
    """Where to go on: what is sent back in ``Last-Event-ID``."""
    kind: str
    data: str


def events(pieces: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events in PIECES of a stream; one that is not whole at its end is left out."""
    last_id, kind, size = "", "message", 0
    data: list[str] = []
    for line in _lines(pieces):
        if not line:
            if data:
                yield Event(last_id, kind, "\n".join(data))
            kind, data, size = "message", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        size += len(value)
        if size > LARGEST_EVENT:
            raise AnswerNotUnderstood("The service sends an event without an end.", hint="Tell the people who run this hub.")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest: list[str] = []
    size = 0
    for piece in pieces:
        # Only what is new is looked at for an end of line, so that a long line costs no more than its length.
        text = decoder.decode(piece)
        if rest and rest[-1].endswith("\r"):
            text = rest.pop() + text
        *whole, last = _END_OF_LINE.split(text)
        for line in whole:
            yield "".join([*rest, line])
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > LARGEST_EVENT:
            raise AnswerNotUnderstood("The service sends a line without an end.", hint="Tell the people who run this hub.")
