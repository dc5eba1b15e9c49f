"""The service's own log: one line for each thing said, in which nobody else can write."""

import logging
import re
from types import TracebackType

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

LONGEST_LINE = 4000
"""Characters of one message; what callers send is in some of them."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

ExceptionInformation = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
"""What logging knows of an exception, as ``sys.exc_info`` gives it."""


class OneLine(logging.Formatter):
    """A formatter whose messages stay on their line: what could begin another, or steer a terminal, is written as a code.

    Of an exception the trace follows, indented, so that no line of it can be taken for another message.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging has it
        """Return RECORD's line."""
        record.message = escaped(record.message)[:LONGEST_LINE]
        return super().formatMessage(record)

    def formatException(self, ei: ExceptionInformation) -> str:  # noqa: N802 - as logging has it
        """Return the trace of the exception in EI."""
        return "\n".join(f"    {escaped(line)}" for line in super().formatException(ei).split("\n"))


def escaped(text: str) -> str:
    """Return TEXT with its control characters as codes.

    >>> escaped("a line" + chr(10) + "and another")
    'a line\\\\x0aand another'
    """
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
