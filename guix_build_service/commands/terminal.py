"""What commands print: results to standard output, as text or JSON, and all else to standard error.

Names, descriptions, logs and messages come from other people.  None of their control characters reaches a terminal: what
does not show is written as its code.
"""

import codecs
import json
import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from guix_build_service.web.schemas.builds import BuildAnswer, ProgressAnswer
from guix_environment.errors import GuixSpawnerError

WIDEST_COLUMN = 60
"""Characters of a table's cell, but for the last column."""

_LONGEST_LINE = 2000
_BAR = 20

TAB = "\t"

_CLEARED = "\x1b[K"
"""Has a terminal clear its line from where the next character comes to stand."""


def shown(text: str, kept: str = "") -> str:
    """Return TEXT with everything that a terminal acts on, or does not show, written as its code; but for what is KEPT.

    >>> shown("a" + chr(27) + "[2Jb")
    'a\\\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in kept else _code(character) for character in text)


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def short(text: str, longest: int = WIDEST_COLUMN) -> str:
    """Return TEXT as `shown`, with its end left out where it is longer than LONGEST characters."""
    text = shown(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return ROWS below their HEAD in columns; the last column is as long as it is."""
    cells = [list(head), *([*map(short, row[:-1]), short(row[-1], _LONGEST_LINE)] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _width(text: str) -> int:
    """Return how many columns of a terminal TEXT takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def facts(lines: Iterable[tuple[str, str]]) -> str:
    """Return LINES of a name and a value; those without a value are left out, and further lines of one are indented."""
    known = [(name, value.strip("\n").split("\n")) for name, value in lines if value]
    width = max((len(name) for name, _ in known), default=0) + 2
    return "\n".join(
        f"{name + ':' if number == 0 else '':{width}}{shown(line[:_LONGEST_LINE])}"
        for name, value in known
        for number, line in enumerate(value)
    )


def size(number: int) -> str:
    """Return NUMBER of bytes for a person."""
    amount = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command prints, and in which form."""

    results: TextIO
    notes: TextIO
    as_json: bool = False

    def give(self, value: object, text: str) -> None:
        """Print a result: VALUE as JSON, or else TEXT."""
        self.line(json_text(value, indent=2) if self.as_json else text)

    def line(self, text: str) -> None:
        """Print the lines of TEXT as a result."""
        if text:
            print(shown(text, kept="\n"), file=self.results, flush=True)

    def raw(self, pieces: Iterable[bytes]) -> None:
        """Print the text in PIECES as it arrives."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for piece in pieces:
            self.some(decoder.decode(piece))
        self.some(decoder.decode(b"", final=True))

    def some(self, text: str) -> None:
        """Print TEXT, which is not yet a whole line."""
        self.results.write(shown(text, kept=f"\n{TAB}"))
        self.results.flush()

    def note(self, text: str) -> None:
        """Tell the person what happens, beside the results, and in the place of how far a build is."""
        print(f"{_CLEARED if self.notes.isatty() else ''}{shown(text, kept=TAB)}", file=self.notes, flush=True)

    def refuse(self, error: GuixSpawnerError) -> None:
        """Say why it was not done, and what to do about it; in one line of JSON, as it may end a stream of such lines."""
        if self.as_json:
            self.line(json_text({"error": error.as_json()}))
        self.note(f"guix-build-service: {error.message}")
        if error.hint:
            self.note(error.hint)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return VALUE as JSON in which every character can be shown."""
    return json.dumps(value, indent=indent, ensure_ascii=True).replace("\x7f", "\\u007f")


class BuildProgress:
    """How far a build is, on standard error: a bar on a terminal, else a line for each state and each tenth."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._said = ""

    def show(self, build: BuildAnswer) -> None:
        """Show how BUILD stands."""
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns
            # Whatever is told next, as of a connection that was lost, begins where this does.
            self._write(f"{_CLEARED}{short(_bar(build), max(columns - 1, 10))}\r")
            return
        steps = build.progress
        tenths = [10 * done // total for done, total in _measures(steps)]
        state = f"{build.state.value} {tenths} {build.position or ''}"
        if state != self._said:
            self._said = state
            self._write(shown(_bar(build)) + "\n")

    def end(self) -> None:
        """Leave the line to whatever is printed next."""
        if self._is_terminal:
            self._write(_CLEARED)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _bar(build: BuildAnswer) -> str:
    """Return one line that tells how BUILD stands."""
    steps = build.progress
    if build.position is not None:
        minutes = (
            f", in about {max(round(build.expected_seconds / 60), 1)} min" if build.expected_seconds is not None else ""
        )
        return f"{build.state.value}, number {build.position} of those that wait{minutes}"
    if build.state.is_final or not steps.total:
        return f"{build.state.value} {'' if build.state.is_final else steps.phase}".rstrip()
    full = _BAR * min(steps.done, steps.total) // steps.total
    came = f", {size(steps.bytes_done)} of {size(steps.bytes_total)}" if steps.bytes_total else ""
    return (
        f"{build.state.value} [{'#' * full}{'.' * (_BAR - full)}] {steps.done} of {steps.total}{came} {steps.phase}".rstrip()
    )


def _measures(steps: ProgressAnswer) -> list[tuple[int, int]]:
    """Return by what the progress is measured, as what is done of how much, where that is known."""
    return [(done, total) for done, total in ((steps.done, steps.total), (steps.bytes_done, steps.bytes_total)) if total]


_AMOUNT = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)(?P<unit>[KMGT]?)", re.IGNORECASE)


def amount(text: str) -> int:
    """Return the bytes that TEXT names, in the units of JupyterHub's own ``mem_limit``.  Raises `ValueError`.

    >>> amount("1.5G")
    1610612736
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a number of bytes such as 4G: {text[:40]}")
    return int(float(match["number"]) * 1024 ** " KMGT".index(match["unit"].upper() or " "))
