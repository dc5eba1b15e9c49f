"""Read Scheme text as data, within limits, and never run any of it.

The lexical syntax is that of Guile's reader (``module/ice-9/read.scm``) with Guix's marks of code for builders (``#~`` and
its kin), and without what a reader runs or what manifests do not need: no ``#.``, no arrays, no bytevectors.  What is not
understood is refused with the place it stands at.
"""

import re

from guix_build_service.manifest.syntax import Atom, Datum, Form, Position, Symbol, Text
from guix_environment.errors import ManifestUnreadable

LARGEST_TEXT = 256 * 1024
"""Bytes of a manifest that are read at most; the largest met in the wild has 36 KB."""

DEEPEST = 100
"""Lists within lists."""

MOST_DATA = 50_000
"""Atoms and lists."""

DEFAULT_HINT = "Correct that place; `guix shell --manifest=manifest.scm` on your own machine shows whether Guix can read it."

_SPACE = re.compile(r"[ \t\n\r\f]+")
_TOKEN = re.compile(r"[^\s()\[\]\"';`,]+")
_PLAIN = re.compile(r'[^"\\]+')
_OPENING = {"(": ")", "[": "]"}
_ABBREVIATIONS = (
    ("'", "quote"),
    ("`", "quasiquote"),
    (",@", "unquote-splicing"),
    (",", "unquote"),
    ("#~", "gexp"),
    ("#$@", "ungexp-splicing"),
    ("#$", "ungexp"),
    ("#+@", "ungexp-native-splicing"),
    ("#+", "ungexp-native"),
    ("#'", "syntax"),
    ("#`", "quasisyntax"),
    ("#,@", "unsyntax-splicing"),
    ("#,", "unsyntax"),
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_HEXADECIMAL = {"x": 2, "u": 4, "U": 6}
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:/\d+)?|[+-]?\.\d+")
_ATOM = re.compile(
    r"#(?:t|f|true|false|nil|!default|!eof|!unspecified|!optional|!key|!rest|\\.+|:.+|[xXoObB][+-]?[0-9a-fA-F]+)"
)
_FOLD = re.compile(r"#!(?:no-)?(?:fold-case|curly-infix)|#!r6rs")


def read_all(text: str, *, file: str = "", largest: int = LARGEST_TEXT, most: int = MOST_DATA) -> tuple[Datum, ...]:
    """Return the data in TEXT, in order; FILE is what messages call it.

    Raises `ManifestUnreadable`, whose details hold ``line`` and ``column``; also for a TEXT of more than LARGEST bytes, or
    of MOST data.
    """
    reader = _Reader(text, file, largest, most)
    found = []
    while (datum := reader.datum_or_end(0)) is not None:
        if isinstance(datum, Symbol) and datum.name == ".":
            raise unreadable(datum.position, "a dot stands outside of a list.")
        found.append(datum)
    return tuple(found)


def unreadable(position: Position, reason: str, *, hint: str = DEFAULT_HINT) -> ManifestUnreadable:
    """Return the error that says REASON about the place POSITION of a manifest."""
    details: dict[str, object] = {"line": position.line, "column": position.column}
    if position.file:
        details["file"] = position.file
    return ManifestUnreadable(
        f"{position.file or 'The manifest'} cannot be read at {position}: {reason}", hint=hint, details=details
    )


class _Reader:
    def __init__(self, text: str, file: str, largest: int, most: int) -> None:
        self.text = text
        self.file = file
        self.most = most
        self.offset = 0
        self.count = 0
        self.line = 1
        self.line_start = 0
        if len(text.encode(errors="replace")) > largest:
            raise unreadable(self.position(), f"it is larger than {largest // 1024} KiB.")

    def position(self) -> Position:
        return Position(self.line, self.offset - self.line_start + 1, self.file)

    def peek(self, length: int = 1) -> str:
        return self.text[self.offset : self.offset + length]

    def advance(self, length: int) -> str:
        taken = self.text[self.offset : self.offset + length]
        newlines = taken.count("\n")
        if newlines:
            self.line += newlines
            self.line_start = self.offset + taken.rindex("\n") + 1
        self.offset += length
        return taken

    def skip_space(self, depth: int) -> None:
        """Go past white space and comments of all four kinds."""
        while True:
            if match := _SPACE.match(self.text, self.offset):
                self.advance(match.end() - match.start())
            elif self.peek() == ";":
                self.skip_until("\n", of=None)
            elif self.peek(2) == "#|":
                self.skip_block()
            elif self.peek(2) == "#;":
                start = self.position()
                self.advance(2)
                datum = self.datum_or_end(depth + 1)
                if datum is None or (isinstance(datum, Symbol) and datum.name == "."):
                    raise unreadable(start, "the comment #; has nothing after it.")
            elif match := _FOLD.match(self.text, self.offset):
                self.advance(match.end() - match.start())
            elif self.peek(2) == "#!" and not _ATOM.match(self.text, self.offset):
                self.skip_until("!#", of="#!")
            else:
                return

    def skip_until(self, end: str, *, of: str | None) -> None:
        start = self.position()
        found = self.text.find(end, self.offset + 1)
        if found < 0 and of:
            raise unreadable(start, f"the comment {of} has no end.")
        self.advance((found + len(end) if found >= 0 else len(self.text)) - self.offset)

    def skip_block(self) -> None:
        start, nested = self.position(), 0
        while True:
            mark = self.peek(2)
            if not mark:
                raise unreadable(start, "the comment #| has no end.")
            nested += {"#|": 1, "|#": -1}.get(mark, 0)
            self.advance(2 if mark in {"#|", "|#"} else 1)
            if not nested:
                return

    def datum_or_end(self, depth: int) -> Datum | None:
        """Return the next datum, or None at the end of the text or before a closing parenthesis."""
        if depth > DEEPEST:
            raise unreadable(self.position(), f"lists are nested more than {DEEPEST} deep.")
        self.skip_space(depth)
        self.count += 1
        if self.count > self.most:
            raise unreadable(self.position(), f"it has more than {self.most} parts.")
        start, character = self.position(), self.peek()
        if not character:
            return None
        if character in _OPENING:
            return self.form(start, depth)
        if character in ")]":
            if depth:
                return None
            raise unreadable(start, f"there is a {character} too many.")
        if character == '"':
            return Text(self.string(start), start)
        for mark, name in _ABBREVIATIONS:
            if self.text.startswith(mark, self.offset):
                return self.abbreviation(start, mark, name, depth)
        return self.token(start)

    def form(self, start: Position, depth: int) -> Form:
        closing = _OPENING[self.advance(1)]
        items: list[Datum] = []
        tail: Datum | None = None
        while (datum := self.datum_or_end(depth + 1)) is not None:
            if isinstance(datum, Symbol) and datum.name == ".":
                tail = self.tail(datum.position, depth, empty=not items)
                break
            items.append(datum)
        if not self.peek():
            raise unreadable(start, f"this list is never closed: a {closing} is missing.")
        if self.peek() != closing:
            raise unreadable(self.position(), f"the list that starts at {start} ends with {self.peek()}, not {closing}.")
        self.advance(1)
        if isinstance(tail, Form):
            # (a . (b c)) is the list (a b c).
            return Form((*items, *tail.items), start, tail.tail)
        return Form(tuple(items), start, tail)

    def tail(self, dot: Position, depth: int, *, empty: bool) -> Datum:
        """Return the one datum that stands between a dot and the end of the list."""
        datum = None if empty else self.datum_or_end(depth + 1)
        if datum is None or (isinstance(datum, Symbol) and datum.name == "."):
            raise unreadable(dot, "a dot stands between something before it and one thing after it.")
        extra = self.datum_or_end(depth + 1)
        if extra is not None:
            raise unreadable(extra.position, "after a dot a list has only one more part.")
        return datum

    def abbreviation(self, start: Position, mark: str, name: str, depth: int) -> Form:
        self.advance(len(mark))
        datum = self.datum_or_end(depth + 1)
        if datum is None or (isinstance(datum, Symbol) and datum.name == "."):
            raise unreadable(start, f"there is nothing after {mark}")
        return Form((Symbol(name, start), datum), start)

    def string(self, start: Position) -> str:
        self.advance(1)
        parts: list[str] = []
        while True:
            character = self.peek()
            if not character:
                raise unreadable(start, "this string is never closed: a quotation mark is missing.")
            if character == '"':
                self.advance(1)
                return "".join(parts)
            if character == "\\":
                parts.append(self.escape())
            elif match := _PLAIN.match(self.text, self.offset):
                parts.append(self.advance(match.end() - match.start()))

    def escape(self) -> str:
        start = self.position()
        self.advance(1)
        kind = self.advance(1)
        if kind in _ESCAPES:
            return _ESCAPES[kind]
        if kind == "\n":
            return ""
        if kind in _HEXADECIMAL:
            return self.hexadecimal(start, _HEXADECIMAL[kind])
        if kind and kind in "\\\"|'()/;":
            return kind
        raise unreadable(start, f"a string has an escape that Scheme does not know: \\{kind}")

    def hexadecimal(self, start: Position, length: int) -> str:
        match = re.compile(rf"[0-9a-fA-F]{{{length}}}").match(self.text, self.offset)
        code = int(match[0], 16) if match else 0x110000
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise unreadable(start, "a string has an escape that stands for no character.")
        self.advance(length)
        return chr(code)

    def token(self, start: Position) -> Datum:
        # A character such as #\( holds what otherwise ends a token.
        match = re.compile(r"#\\(?:[A-Za-z0-9]+|.)", re.DOTALL).match(self.text, self.offset) or _TOKEN.match(
            self.text, self.offset
        )
        if not match:
            raise unreadable(start, f"the character {self.peek()!r} is not expected here.")
        written = self.advance(match.end() - match.start())
        if _NUMBER.fullmatch(written) or _ATOM.fullmatch(written):
            return Atom(written, start)
        if written.startswith("#"):
            raise unreadable(start, f"this is not read: {written:.40}")
        return Symbol(written, start)
