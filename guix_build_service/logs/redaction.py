"""Secrets are blanked before a log's file holds them: a filter between whatever writes into a log, and the file.

Run as ``python -I -S redaction.py INPUT SECRETS``, two open descriptors, it copies INPUT to its standard output. It is a
process of its own so that a build's output has a way to the log also while the service is killed: it ends when nobody has
the other end of INPUT any more, and on no signal that can be ignored. So it needs the standard library alone.
"""

import base64
import os
import re
import signal
import sys
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

BLANK = "[secret]"

SHORTEST = 6
"""Characters; of what is shorter, too much that is no secret would be blanked."""

LONGEST_LINE = 64 * 1024
"""Bytes of a line after which its beginning is written although its end is not known."""

_LONGEST_TOKEN = 2048
"""Bytes; more than any of the patterns matches."""

_AT_ONCE = 16 * 1024
"""Characters that are searched at once: no other thread runs meanwhile, whatever is waited for there."""

_PATTERNS = (
    r"(?<=://)[^/\s@]{1,200}(?=@)"  # user and password in an address
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|gldt-|gloas-|glptt-|xox[abprs]-|x-access-token:)[A-Za-z0-9_-]{8,255}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\b[Aa]uthorization: ?(?:[Bb]asic|[Bb]earer|[Tt]oken) [^\s'\"]{4,1900}"
)
"""What looks like a secret, whosever it is."""


def forms(secret: str) -> tuple[str, ...]:
    """Return the ways in which SECRET is usually written: as it is, as in addresses, and within anything in base64.

    None where it is too short to be told from other text.
    """
    quoted = [quote(secret, safe=""), quote(secret), quote_plus(secret)]
    lower = [re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), each) for each in quoted]
    found = {secret, *quoted, *lower, *_in_base64(secret.encode())}
    return tuple(sorted((each for each in found if len(each) >= SHORTEST), key=lambda each: (-len(each), each)))


def _in_base64(secret: bytes) -> Iterable[str]:
    """Yield what is the same of SECRET wherever it stands in what is written in base64, whose digits are six bits each."""
    for before in range(3):
        digits = base64.b64encode(bytes(before) + secret + bytes(2)).decode()
        first, behind = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        yield digits[first:behind]
        yield digits[first:behind].replace("+", "-").replace("/", "_")


def _whole_lines(text: str) -> Iterable[str]:
    """Yield TEXT in parts of whole lines, `_AT_ONCE` characters each or one longer line."""
    start = 0
    while start < len(text):
        end = text.rfind("\n", start, start + _AT_ONCE) + 1 or text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


class Redaction:
    """Blanks secrets: those it was told, and what looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Begin with SECRETS, in all the forms that are looked for."""
        self.secrets = tuple(secrets)
        source = "|".join([*map(re.escape, self.secrets), _PATTERNS])
        self._in_text, self._in_bytes = re.compile(source), re.compile(source.encode())
        self._overlap = max([_LONGEST_TOKEN, *(len(each.encode()) + 1 for each in self.secrets)])
        self._of_one_line = not any("\n" in each for each in self.secrets)  # as all of the patterns are
        self._rest = b""

    def text(self, text: str) -> str:
        """Return TEXT, which is all there is, without secrets."""
        parts = _whole_lines(text) if self._of_one_line else (text,)
        return "".join(self._in_text.sub(BLANK, part) for part in parts)

    def feed(self, content: bytes) -> bytes:
        """Take in CONTENT, which goes on where the last one ended, and return what can be written by now: whole lines."""
        known = self._rest + content
        end = known.rfind(b"\n") + 1
        if len(known) - end > LONGEST_LINE + self._overlap:
            end = self._cut(known)
        self._rest = known[end:]
        return self._in_bytes.sub(BLANK.encode(), known[:end])

    def end(self) -> bytes:
        """Return the rest."""
        rest, self._rest = self._rest, b""
        return self._in_bytes.sub(BLANK.encode(), rest)

    def _cut(self, known: bytes) -> int:
        """Return where what is KNOWN of a long line can be cut without cutting a secret that has begun."""
        cut = len(known) - self._overlap
        for found in self._in_bytes.finditer(known):
            if found.end() > cut:
                return min(cut, found.start())
        return cut


without_secrets = Redaction().text
"""Returns a text with what looks like a secret blanked."""


class LogFile:
    """A file that may have no room for a while; what it had none for is missing there, and said to be."""

    def __init__(self, descriptor: int) -> None:
        """Write into the open file DESCRIPTOR, which stays the caller's."""
        self._descriptor = descriptor
        self._missing = False

    def write(self, content: bytes) -> None:
        """Append CONTENT, or note that it is missing."""
        if self._missing:
            content = b"\n[Lines are missing here: there was no room for them on the disk.]\n" + content
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
            self._missing = False
        except OSError:
            self._missing = True


def main(source: int, secrets: int) -> None:
    """Copy all that comes from the descriptor SOURCE to the standard output; SECRETS is a file of them, NUL in between."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(secrets, "rb") as file:
        redaction = Redaction(filter(None, file.read().decode().split("\0")))
    output = LogFile(sys.stdout.fileno())
    while content := os.read(source, LONGEST_LINE):
        if ready := redaction.feed(content):
            output.write(ready)
    if rest := redaction.end():
        output.write(rest)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
