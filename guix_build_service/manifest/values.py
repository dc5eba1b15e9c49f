"""What the forms of a manifest amount to: values of Scheme, packages by name, and manifests of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guix_build_service.manifest.canonical import Entry, Named
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Position

if TYPE_CHECKING:
    from guix_build_service.manifest.evaluation import Evaluation

EXAMPLE = '(specifications->manifest\n  (list "python" "python-pandas"))'
"""The manifest to write instead, for hints."""

NAME_THEM = f"Name the packages as strings, such as:\n{EXAMPLE}"


@dataclass(frozen=True, slots=True)
class Word:
    """A quoted symbol."""

    name: str


@dataclass(frozen=True, slots=True)
class Other:
    """A value that has no meaning for packages and is only passed on: a keyword, a character, a fraction."""

    text: str


@dataclass(frozen=True, slots=True)
class Unspecified:
    """What a form has as its value that is there for something else."""


@dataclass(frozen=True, slots=True)
class Dotted:
    """Pairs that do not end in a list, such as ``(a . b)``."""

    items: "tuple[Value, ...]"
    tail: "Value"


@dataclass(frozen=True, slots=True)
class Package:
    """One package: as `Entry` says it, which need not stand in a manifest."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Splice:
    """Within a list, all packages of the list that a variable of Guix's holds."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One entry of a manifest, its output chosen."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Entries:
    """Within a list, all entries of a manifest that Guix puts together."""

    parts: tuple[tuple[Entry, ...], ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest: parts put together, each with its entries."""

    parts: tuple[tuple[Entry, ...], ...]


@dataclass(frozen=True, slots=True)
class Several:
    """Several values at once; where one is expected the first is taken, as Guile does."""

    items: "tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of a file of the repository, from its top."""

    path: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, or what is known of it while it is put together."""

    fields: "tuple[tuple[str, Value], ...]"
    place: Position = field(compare=False)

    def get(self, name: str) -> "Value | None":
        """Return the field NAME."""
        return dict(self.fields).get(name)


@dataclass(frozen=True, slots=True)
class Introduction:
    """Where the authentication of a channel begins."""

    commit: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Procedure:
    """A procedure: one that is known here, or one that the manifest defines."""

    name: str
    apply: "Callable[[Evaluation, list[Value], Position], Value]" = field(compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The value of a definition that is not read; using it raises what was said of it."""

    reason: str
    place: Position = field(compare=False)


Value = (
    str
    | bool
    | int
    | Word
    | Other
    | Unspecified
    | Dotted
    | Package
    | Splice
    | ManifestEntry
    | Entries
    | Manifest
    | Several
    | FileName
    | Channel
    | Introduction
    | Procedure
    | Refused
    | tuple["Value", ...]
)

OPEN = (Splice, Entries)
"""What stands in a list for parts of it that only Guix knows."""

_PLAIN = (str, bool, int, Word, Other)


def unknown(value: "Value") -> bool:
    """Tell whether only Guix knows what VALUE is: a variable of its modules may hold anything."""
    return isinstance(value, Package) and value.entry.named is not Named.SPECIFICATION and not value.entry.transformations


def single(value: Value) -> Value:
    """Return what VALUE is where one value is expected."""
    if isinstance(value, Several):
        return value.items[0] if value.items else Unspecified()
    return value


def same(evaluation: "Evaluation", left: Value, right: Value, position: Position) -> bool:
    """Tell whether Scheme holds LEFT and RIGHT for equal; refuse where only Guix could know.

    Each pair that is compared counts as a step of EVALUATION: lists of the same lists again and again have no end otherwise.
    """
    evaluation.step(position)
    if isinstance(left, Package | Channel) and left == right:
        return True
    if unknown(left) or unknown(right):
        raise unreadable(position, "whether these two are the same, only Guix could tell.", hint=NAME_THEM)
    if isinstance(left, _PLAIN) or isinstance(right, _PLAIN) or left == () or right == ():
        return type(left) is type(right) and left == right
    if isinstance(left, tuple) and isinstance(right, tuple) and not any(isinstance(item, OPEN) for item in (*left, *right)):
        return len(left) == len(right) and all(same(evaluation, *pair, position) for pair in zip(left, right, strict=True))
    if isinstance(left, Dotted) and isinstance(right, Dotted):
        return same(evaluation, left.items, right.items, position) and same(evaluation, left.tail, right.tail, position)
    raise unreadable(position, "whether these two are the same, only Guix could tell.", hint=NAME_THEM)


def identical(evaluation: "Evaluation", left: Value, right: Value, position: Position) -> bool:
    """Tell whether Scheme holds LEFT and RIGHT for one object; refuse strings and lists, of which that is not known."""
    if isinstance(left, str | tuple) and isinstance(right, str | tuple) and left and right:
        raise unreadable(position, "whether these two are one object is not known; equal? compares what they hold.")
    return same(evaluation, left, right, position)


def kind_of(value: Value) -> str:
    """Return what VALUE is, for messages."""
    match value:
        case str():
            return "a string"
        case bool():
            return "true or false"
        case int() | Other():
            return "a number or a keyword"
        case Word(name=name):
            return f"the symbol {name:.60}"
        case tuple() | Dotted():
            return "a list"
        case Package():
            return "a package"
        case Manifest():
            return "a manifest"
        case Procedure(name=name):
            return f"the procedure {name:.60}"
    return "something else"
