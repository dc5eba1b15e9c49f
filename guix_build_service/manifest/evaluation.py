"""Work out what a manifest's forms amount to, within limits.

This is no Scheme interpreter: what it knows has no effect, cannot run for long and sees nothing of the machine.  A form does
not do anything here but make a value of other values; every other form is refused.  Semantics are those of Guile 3 and
Guix 1.5.0.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from guix_build_service.manifest.canonical import VARIABLE, Entry, Named
from guix_build_service.manifest.modules import DEFAULT, Import
from guix_build_service.manifest.neighbours import Neighbours
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.reasons import reason_of
from guix_build_service.manifest.syntax import Atom, Datum, Form, Position, Symbol, Text
from guix_build_service.manifest.values import (
    NAME_THEM,
    OPEN,
    Dotted,
    Other,
    Package,
    Procedure,
    Refused,
    Splice,
    Value,
    Word,
    kind_of,
    single,
    unknown,
)
from guix_environment.errors import ManifestUnreadable

MOST_STEPS = 100_000
"""Evaluated forms and list elements, so that lists doubled again and again end."""

LONGEST_TEXT = 10_000
"""Characters of a string that is put together of others."""

DEEPEST_VALUES = 150
"""Forms within forms and procedures within procedures; below what Python itself allows."""

CORE = ("guile",)
"""The module that every other uses."""


class Level(IntEnum):
    """How much had to be understood; each level has those below it."""

    LITERAL = 0
    """One list of literal strings."""
    COMBINED = 1
    """Lists and manifests put together."""
    VARIABLES = 2
    """Variables of Guix's modules, and packages that are changed in a way that Guix can repeat."""
    PROCEDURES = 3
    """Procedures that the file defines, conditions, other files of the repository."""


@dataclass(frozen=True, slots=True)
class Special:
    """A form with rules of its own."""

    modules: tuple[tuple[str, ...], ...]
    read: "Callable[[Evaluation, Form, Scope], Value]"
    level: Level = Level.COMBINED


@dataclass(frozen=True, slots=True)
class Known:
    """A procedure that is known here, or a value."""

    modules: tuple[tuple[str, ...], ...]
    apply: "Callable[[Evaluation, list[Value], Position], Value]"
    level: Level = Level.COMBINED


@dataclass(frozen=True, slots=True)
class Constant:
    """A variable of Guix's whose value is known here."""

    modules: tuple[tuple[str, ...], ...]
    value: Value


@dataclass(slots=True)
class Scope:
    """Names and what they stand for, and what is around them."""

    values: dict[str, Value]
    outer: "Scope | None" = None

    def find(self, name: str) -> Value | None:
        """Return what NAME stands for, or None."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return None


Vocabulary = Mapping[str, Special | Known | Constant]


class Evaluation:
    """One file's evaluation, with those that it loads, and how much it has done so far."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        neighbours: Neighbours | None = None,
        imports: tuple[Import, ...] = DEFAULT,
        system: str = "",
    ) -> None:
        self.vocabulary = vocabulary
        self.neighbours = neighbours or Neighbours({})
        self.imports = imports
        self.system = system
        self.top = Scope({})
        self.level = Level.LITERAL
        self.looked_up = False
        """Whether a variable of Guix's was named, for which the modules in use matter."""
        self.places: dict[str, Position] = {}
        """Where each string stands first."""
        self._numbers = 0
        self._steps = 0
        self._depth = 0

    def step(self, position: Position, count: int = 1) -> None:
        """Count COUNT steps.  Raises `ManifestUnreadable` when they become too many."""
        self._steps += count
        if self._steps > MOST_STEPS:
            raise unreadable(position, "it takes too many steps to read.", hint=NAME_THEM)

    def number(self) -> int:
        """Return a number that nothing else of this evaluation has."""
        self._numbers += 1
        return self._numbers

    def mark(self, level: Level) -> None:
        """Note that something of LEVEL had to be understood."""
        self.level = max(self.level, level)

    def value(self, datum: Datum, scope: Scope) -> Value:
        """Return what DATUM amounts to, which may be several values.  Raises `ManifestUnreadable`."""
        self.step(datum.position)
        match datum:
            case Text(value=text):
                self.places.setdefault(text, datum.position)
                return text
            case Atom(text=text):
                return literal(text)
            case Symbol():
                return self.variable(datum, scope)
            case Form():
                self._depth += 1
                if self._depth > DEEPEST_VALUES:
                    raise unreadable(
                        datum.position, f"its forms are nested more than {DEEPEST_VALUES} deep.", hint=NAME_THEM
                    )
                value = self.form(datum, scope)
                self._depth -= 1
                return value

    def one(self, datum: Datum, scope: Scope) -> Value:
        """Return the one value that DATUM has where one is expected."""
        return single(self.value(datum, scope))

    def variable(self, symbol: Symbol, scope: Scope) -> Value:
        """Return what SYMBOL stands for: of the file, of what is known here, or else a package of Guix's modules."""
        found = scope.find(symbol.name)
        if isinstance(found, Refused):
            raise unreadable(found.place, found.reason, hint=NAME_THEM)
        if found is not None:
            return found
        match self.meaning(symbol):
            case Known(apply=apply, level=level):
                self.mark(level)
                return Procedure(symbol.name, apply)
            case Constant(value=value):
                return value
            case Special():
                raise unreadable(symbol.position, f"{symbol.name} cannot stand alone.")
        self.looked_up = True
        return self.elsewhere(symbol)

    def elsewhere(self, symbol: Symbol) -> Package:
        """Return the package that SYMBOL, which Guix must look up, stands for."""
        if not VARIABLE.fullmatch(symbol.name):
            raise unreadable(symbol.position, f"{symbol.name:.60} is not the name of a package's variable.", hint=NAME_THEM)
        self.mark(Level.VARIABLES)
        return Package(Entry(symbol.name, named=Named.VARIABLE, place=symbol.position))

    def meaning(self, symbol: Symbol) -> Special | Known | Constant | None:
        """Return what SYMBOL means by the modules in use, or None.  Raises where it would mean something by another."""
        for item in reversed(self.imports):
            original = item.original(symbol.name)
            known = self.vocabulary.get(original) if original else None
            if known and original and any(item.brings(symbol.name, home) for home in known.modules):
                return known
        known = self.vocabulary.get(symbol.name)
        if known is None or CORE in known.modules:
            return known
        raise unreadable(
            symbol.position,
            f"{symbol.name} is in the module ({' '.join(known.modules[0])}), which the file does not use.",
            hint=f"Add (use-modules ({' '.join(known.modules[0])})) at its beginning.",
        )

    def form(self, form: Form, scope: Scope) -> Value:
        """Return what the list FORM amounts to."""
        if not form.items or form.tail is not None:
            raise unreadable(form.position, "this list is no form.", hint=NAME_THEM)
        head = form.items[0]
        if not isinstance(head, Symbol):
            return self.call(self.one(head, scope), form, scope)
        if scope.find(head.name) is not None:
            return self.call(self.variable(head, scope), form, scope)
        match self.meaning(head):
            case Special(read=read, level=level):
                self.mark(level)
                return read(self, form, scope)
            case Known(apply=apply, level=level):
                self.mark(level)
                return apply(self, [self.one(item, scope) for item in form.items[1:]], form.position)
        reason = reason_of(head.name) or f"({head.name:.60} …) is not a form that is read as data."
        raise unreadable(form.position, reason, hint=NAME_THEM)

    def call(self, procedure: Value, form: Form, scope: Scope) -> Value:
        """Return what PROCEDURE gives for the rest of FORM."""
        if not isinstance(procedure, Procedure):
            raise no_procedure(procedure, form.position)
        return self.apply(procedure, [self.one(item, scope) for item in form.items[1:]], form.position)

    def apply(self, procedure: Value, arguments: Sequence[Value], position: Position) -> Value:
        """Return what PROCEDURE gives for ARGUMENTS, which may be several values."""
        self.step(position)
        if not isinstance(procedure, Procedure):
            raise no_procedure(procedure, position)
        return procedure.apply(self, list(arguments), position)

    def sequence(self, value: Value, position: Position) -> tuple[Value, ...]:
        """Return the list that VALUE is; a variable of Guix's that stands where a list belongs holds one."""
        match value:
            case tuple():
                self.step(position, len(value))
                return value
            case Package(entry=Entry(named=Named.VARIABLE, transformations=()) as entry):
                self.step(position)
                return (Splice(Entry(entry.specification, named=Named.LIST, module=entry.module, place=entry.place)),)
        raise unreadable(position, f"a list is expected here, not {kind_of(value)}.", hint=NAME_THEM)

    def elements(self, value: Value, position: Position) -> tuple[Value, ...]:
        """Return the list that VALUE is, of which each element is known."""
        found = self.sequence(value, position)
        if any(isinstance(item, OPEN) for item in found):
            raise unreadable(position, "this list has parts that only Guix knows.", hint=NAME_THEM)
        return found

    def text(self, value: Value, position: Position) -> str:
        """Return the string that VALUE is."""
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                raise unreadable(position, f"a string is longer than {LONGEST_TEXT} characters.")
            self.step(position, 1 + len(value) // 100)
            return value
        raise unreadable(position, f"a string is expected here, not {kind_of(value)}.", hint=NAME_THEM)

    def truth(self, value: Value, position: Position) -> bool:
        """Return whether VALUE counts as true."""
        self.certain(value, position)
        return value is not False

    def certain(self, value: Value, position: Position) -> None:
        """Refuse a VALUE of which only Guix knows what it is."""
        if isinstance(value, Package) and unknown(value):
            raise unreadable(position, f"what {value.entry.specification} holds, only Guix knows.", hint=NAME_THEM)


def no_procedure(value: Value, position: Position) -> ManifestUnreadable:
    """Return the error that says that VALUE stands where a procedure belongs."""
    name = value.entry.specification if isinstance(value, Package) and value.entry.named is Named.VARIABLE else ""
    if reason := reason_of(name):
        return unreadable(position, reason, hint=NAME_THEM)
    shown = f"the procedure {name:.60} is not read." if name else f"{kind_of(value)} stands where a procedure belongs."
    return unreadable(position, shown, hint=NAME_THEM)


def literal(text: str) -> Value:
    """Return the value of an atom, as it is written."""
    if re.fullmatch(r"[+-]?\d{1,9}", text):
        return int(text)
    if text in {"#t", "#true"}:
        return True
    return False if text in {"#f", "#false"} else Other(text)


def joined(items: tuple[Value, ...], tail: Value) -> Value:
    """Return the list of ITEMS that goes on with TAIL."""
    match tail:
        case tuple():
            return (*items, *tail)
        case Dotted(items=more, tail=last):
            return Dotted((*items, *more), last)
    return Dotted(items, tail) if items else tail


def quoted(evaluation: Evaluation, datum: Datum) -> Value:
    """Return DATUM itself as a value."""
    evaluation.step(datum.position)
    match datum:
        case Text(value=value):
            evaluation.places.setdefault(value, datum.position)
            return value
        case Atom(text=text):
            return literal(text)
        case Symbol(name=name):
            return Word(name)
        case Form(items=items, tail=tail):
            values = tuple(quoted(evaluation, item) for item in items)
            return joined(values, quoted(evaluation, tail)) if tail is not None else values
