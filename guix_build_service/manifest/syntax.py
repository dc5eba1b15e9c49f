"""What a manifest's text consists of: Scheme data with the places they stand at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text, as editors count: lines and columns from one."""

    line: int
    column: int
    file: str = ""
    """The file of the repository that has the text; empty where there is only one text."""

    def __str__(self) -> str:
        """Return the place as people say it."""
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str
    position: Position


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name."""

    name: str
    position: Position


@dataclass(frozen=True, slots=True)
class Atom:
    """Anything else that is not a list: a number, a boolean, a character, a keyword, as it is written."""

    text: str
    position: Position


@dataclass(frozen=True, slots=True)
class Form:
    """A list.  A quotation ``'x`` is the list ``(quote x)``, as in Scheme itself."""

    items: "tuple[Datum, ...]"
    position: Position
    tail: "Datum | None" = None
    """What stands after the dot of a list that ends with one, such as ``(a . b)``."""

    def head(self) -> str:
        """Return the name that the list starts with; empty when it starts with something else or is empty."""
        first = self.items[0] if self.items else None
        return first.name if isinstance(first, Symbol) else ""


Datum = Text | Symbol | Atom | Form
