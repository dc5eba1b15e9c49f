"""Builds' logs: one append-only file each, which grows also while nobody reads it, read by byte position.

What is in a log comes from repositories, Git servers and compilers.  `redaction` blanks secrets before they get there.
And the bytes on disk are never shown as they are: `harmless` removes what a terminal or a browser could act on, and whatever
looks like a secret is blanked once more, for logs that are older than that.
"""

import codecs
import os
import re
from collections.abc import Iterable
from pathlib import Path

from guix_build_service.logs.redaction import LogFile, Redaction, without_secrets
from guix_build_service.model.environments import LogText
from guix_environment.identifiers import BuildId
from guix_environment.threads import uninterrupted

LARGEST_LOG = 64 * 1024 * 1024
"""Bytes; a build that writes more is ended."""

LARGEST_PIECE = 256 * 1024
"""Bytes that are read at once."""

_LONGEST_CHARACTER = 4
"""Bytes in UTF-8."""

_CONTROL_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\Z)"  # OSC, DCS, SOS, PM, APC and what they carry
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return TEXT without control sequences, overwritten lines and bidirectional marks."""
    text = _CONTROL_SEQUENCES.sub("", text)
    text = "\n".join(map(_as_seen, text.split("\n")))
    return _INVISIBLE.sub("", text)


def _as_seen(line: str) -> str:
    """Return what a terminal shows of LINE at its end: what comes after the last carriage return that something follows.

    Not a regular expression: on a long line without an end, as a hostile program prints it, that would take hours.
    """
    return line[line.rfind("\r", 0, -1) + 1 :].replace("\r", "")


class Logs:
    """The logs below one folder.  Its methods block for one short read or write; asynchronous code has them in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, build: BuildId) -> Path:
        """Return the file of BUILD's log."""
        return self.folder / f"{build}.log"

    def open(self, build: BuildId) -> "Log":
        """Open BUILD's log for appending; made when it is not there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return Log(os.open(self.path(build), flags, 0o640), self.path(build))

    def size(self, build: BuildId) -> int:
        """Return how many bytes BUILD's log has; 0 when there is none."""
        try:
            return self.path(build).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, build: BuildId, start: int = 0, limit: int = LARGEST_PIECE, *, finished: bool = True) -> LogText:
        """Return whole lines of BUILD's log from byte START on, LIMIT bytes of it at most.

        Where more is to come (not FINISHED) a line without an end is left for the next time, so that no character and no
        progress bar is cut in two.
        """
        start, limit = max(0, start), max(_LONGEST_CHARACTER, limit)
        try:
            with self.path(build).open("rb") as file:
                file.seek(start)
                content = file.read(limit)
                at_end = not file.read(1)
        except FileNotFoundError:
            return LogText(start, "")
        if not (finished and at_end):
            content = content[: _end_of_lines(content, full=len(content) == limit)]
        return LogText(start + len(content), without_secrets(harmless(content.decode(errors="replace"))))


def _end_of_lines(content: bytes, *, full: bool) -> int:
    """Return how much of CONTENT is whole lines; of one endless line that fills it, what is whole characters."""
    newline = content.rfind(b"\n") + 1
    if newline or not full:
        return newline
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.decode(content)
    return len(content) - len(decoder.getstate()[0])


class Log:
    """One build's log, open for writing.  Close it, or use it as a context."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        """For what was redacted; processes write by way of `pipeline.output`."""
        self.path = path
        self._file = LogFile(descriptor)
        self.redaction = Redaction()
        """What is blanked of all that is written."""

    def __enter__(self) -> "Log":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close it; what processes were given stays theirs."""
        os.close(self.descriptor)

    def keep_out(self, secrets: Iterable[str]) -> None:
        """Blank SECRETS, in all the forms that are looked for, in what is written from now on."""
        self.redaction = Redaction((*self.redaction.secrets, *secrets))

    def size(self) -> int:
        """Return how many bytes the log has."""
        return os.fstat(self.descriptor).st_size

    def write(self, text: str) -> None:
        """Append TEXT as a line of its own; where there is no room for it, it is missing."""
        self._file.write(f"{self.redaction.text(harmless(text))}\n".encode())

    async def say(self, text: str) -> None:
        """Append TEXT without blocking the loop.  When cancelled meanwhile, it is appended before the log can be closed."""
        await uninterrupted(self.write, text)
