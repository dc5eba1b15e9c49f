"""Understand the forms by which manifests name packages, and refuse all others with the reason.

This is no Scheme interpreter.  It knows lists of strings, ways to put lists together, and the few procedures of Guix that
make manifests of them; none of them does anything but build a value.  Which forms, and how often they are met, is from a
survey of 150 manifests; the semantics are those of Guix 1.5.0 (``guix/profiles.scm``, ``gnu/packages.scm``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from guix_build_service.manifest.canonical import SPECIFICATION, Entry, Kind, PackageList
from guix_build_service.manifest.reader import read_all, unreadable
from guix_build_service.manifest.syntax import Atom, Datum, Form, Position, Symbol, Text

MOST_STEPS = 100_000
"""Evaluated forms and list elements, so that lists doubled again and again end."""

MOST_PACKAGES = 2_000

EXAMPLE = '(specifications->manifest\n  (list "python" "python-pandas"))'
"""The manifest to write instead, for hints."""

_HINT = f"Name the packages as strings, such as:\n{EXAMPLE}"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that the manifest looked up by its specification."""

    specification: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A value that can stand in a list and has no meaning for packages: a number, a symbol."""

    text: str


@dataclass(frozen=True, slots=True)
class Procedure:
    """One of Guix's procedures as a value, to be mapped over a list."""

    name: str
    apply: "Callable[[_Evaluation, Value, Position], Value]"


Value = str | Package | Manifest | Other | Procedure | tuple["Value", ...]
Scope = Mapping[str, Value]


def read_manifest(text: str) -> PackageList:
    """Return the packages that the manifest file TEXT names, each once.

    Raises `ManifestUnreadable` with line and column for what is not Scheme and for forms that are not known here.
    """
    data = read_all(text)
    evaluation = _Evaluation()
    scope: dict[str, Value] = {}
    value: Value | None = None
    for datum in data:
        if isinstance(datum, Form) and datum.head() in _IGNORED:
            continue
        if isinstance(datum, Form) and datum.head() == "define":
            evaluation.define(datum, scope)
            value = None
        else:
            value = evaluation.value(datum, scope)
    place = data[-1].position if data else Position(1, 1)
    if not isinstance(value, Manifest):
        raise unreadable(place, "the file does not end with a manifest.", hint=_HINT)
    return PackageList(tuple(dict.fromkeys(value.entries)))


_IGNORED = frozenset({"use-modules", "define-module", "use-package-modules", "use-service-modules"})


class _Evaluation:
    """One manifest's evaluation, and how much it has done so far."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, position: Position, count: int = 1) -> None:
        self.steps += count
        if self.steps > MOST_STEPS:
            raise unreadable(position, "it takes too many steps to read.", hint=_HINT)

    def define(self, form: Form, scope: dict[str, Value]) -> None:
        match form.items:
            case (_, Symbol(name=name), body):
                scope[name] = self.value(body, scope)
            case (_, Form(), *_):
                raise unreadable(form.position, "procedures that a manifest defines itself are not read.", hint=_HINT)
            case _:
                raise unreadable(form.position, "this definition has not one name and one value.")

    def value(self, datum: Datum, scope: Scope) -> Value:
        self.step(datum.position)
        match datum:
            case Text(value=value):
                return value
            case Atom(text=text):
                return Other(text)
            case Symbol():
                return self.variable(datum, scope)
            case Form():
                return self.form(datum, scope)

    def variable(self, symbol: Symbol, scope: Scope) -> Value:
        if symbol.name in scope:
            return scope[symbol.name]
        if symbol.name in _PROCEDURES:
            return Procedure(symbol.name, _PROCEDURES[symbol.name])
        raise unreadable(
            symbol.position,
            f"{symbol.name:.60} is a variable from elsewhere, and nothing of a repository is run to look it up.",
            hint=f'If it is a package, write its name as a string: (specifications->manifest (list "{symbol.name:.60}"))',
        )

    def form(self, form: Form, scope: Scope) -> Value:
        head = form.head()
        if head in scope:
            raise unreadable(form.position, f"{head:.60} is not a procedure that is read.", hint=_HINT)
        if head in _SPECIAL:
            return _SPECIAL[head](self, form, scope)
        arguments = [self.value(item, scope) for item in form.items[1:]] if head in _FUNCTIONS or head in _PROCEDURES else []
        if head in _FUNCTIONS:
            return _FUNCTIONS[head](self, arguments, form)
        if head in _PROCEDURES:
            if len(arguments) != 1:
                raise unreadable(form.position, f"{head} takes one argument here.")
            return _PROCEDURES[head](self, arguments[0], form.position)
        shown = f"({head:.60} …)" if head else "this"
        raise unreadable(form.position, f"{shown} is not a form that is read as data.", hint=_HINT)

    def quoted(self, datum: Datum, scope: Scope, *, quasi: bool) -> Value:
        self.step(datum.position)
        match datum:
            case Text(value=value):
                return value
            case Atom(text=text):
                return Other(text)
            case Symbol(name=name):
                return Other(name)
            case Form(items=(_, body)) if quasi and datum.head() == "unquote":
                return self.value(body, scope)
            case Form(items=items):
                return tuple(value for item in items for value in self.quoted_items(item, scope, quasi=quasi))

    def quoted_items(self, item: Datum, scope: Scope, *, quasi: bool) -> tuple[Value, ...]:
        if quasi and isinstance(item, Form) and item.head() == "unquote-splicing" and len(item.items) == 2:
            return self.sequence(self.value(item.items[1], scope), item.position)
        if isinstance(item, Form) and item.head() == "quasiquote":
            raise unreadable(item.position, "a quasiquote within another is not read.")
        return (self.quoted(item, scope, quasi=quasi),)

    def sequence(self, value: Value, position: Position) -> tuple[Value, ...]:
        if not isinstance(value, tuple):
            raise unreadable(position, "a list is expected here.", hint=_HINT)
        self.step(position, len(value))
        return value


# --- forms with rules of their own ------------------------------------------------


def _quote(evaluation: _Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) != 2:
        raise unreadable(form.position, "a quotation holds one thing.")
    return evaluation.quoted(form.items[1], scope, quasi=form.head() == "quasiquote")


def _let(evaluation: _Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 3 or not isinstance(form.items[1], Form):
        raise unreadable(form.position, f"this {form.head()} has no bindings or no body.")
    inner = dict(scope)
    for binding in form.items[1].items:
        match binding:
            case Form(items=(Symbol(name=name), body)):
                inner[name] = evaluation.value(body, inner if form.head() == "let*" else scope)
            case _:
                raise unreadable(binding.position, "a binding is a name and a value.")
    return _body(evaluation, form.items[2:], inner)


def _begin(evaluation: _Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 2:
        raise unreadable(form.position, "this is empty.")
    return _body(evaluation, form.items[1:], dict(scope))


def _body(evaluation: _Evaluation, data: tuple[Datum, ...], scope: dict[str, Value]) -> Value:
    for datum in data[:-1]:
        if isinstance(datum, Form) and datum.head() == "define":
            evaluation.define(datum, scope)
        else:
            evaluation.value(datum, scope)
    return evaluation.value(data[-1], scope)


def _compose(evaluation: _Evaluation, form: Form, scope: Scope) -> Value:
    match [item.name if isinstance(item, Symbol) else "" for item in form.items]:
        case ["compose", "list", "specification->package+output"]:
            return Procedure("compose", _package_with_output)
    del evaluation, scope
    raise unreadable(form.position, "only (compose list specification->package+output) is read.", hint=_HINT)


_SPECIAL: Mapping[str, Callable[[_Evaluation, Form, Scope], Value]] = {
    "quote": _quote,
    "quasiquote": _quote,
    "let": _let,
    "let*": _let,
    "begin": _begin,
    "compose": _compose,
}


# --- procedures of several arguments ------------------------------------------------


def _list(_evaluation: _Evaluation, arguments: list[Value], _form: Form) -> Value:
    return tuple(arguments)


def _cons(evaluation: _Evaluation, arguments: list[Value], form: Form) -> Value:
    if len(arguments) < 1 or (form.head() == "cons" and len(arguments) != 2):
        raise unreadable(form.position, f"{form.head()} has too few or too many arguments.")
    return (*arguments[:-1], *evaluation.sequence(arguments[-1], form.position))


def _append(evaluation: _Evaluation, arguments: list[Value], form: Form) -> Value:
    return tuple(value for argument in arguments for value in evaluation.sequence(argument, form.position))


def _map(evaluation: _Evaluation, arguments: list[Value], form: Form) -> Value:
    match arguments:
        case [Procedure(apply=apply), values]:
            return tuple(apply(evaluation, value, form.position) for value in evaluation.sequence(values, form.position))
    raise unreadable(form.position, "map takes one of Guix's procedures and one list here.", hint=_HINT)


_FUNCTIONS: Mapping[str, Callable[[_Evaluation, list[Value], Form], Value]] = {
    "list": _list,
    "cons": _cons,
    "cons*": _cons,
    "append": _append,
    "map": _map,
}


# --- procedures of one argument: those of Guix ------------------------------------------------


def _specification(value: Value, position: Position) -> str:
    if not isinstance(value, str):
        raise unreadable(position, "a package's name is expected here, as a string.", hint=_HINT)
    if not SPECIFICATION.fullmatch(value):
        raise unreadable(position, f"{value!r:.80} is not the name of a package.", hint=_HINT)
    return value


def _package(evaluation: _Evaluation, value: Value, position: Position) -> Value:
    """Look up a package; an output in the specification is lost, as it is in Guix where one value is expected."""
    evaluation.step(position)
    return Package(_specification(value, position).partition(":")[0])


def _package_with_output(evaluation: _Evaluation, value: Value, position: Position) -> Value:
    evaluation.step(position)
    name, _, output = _specification(value, position).partition(":")
    return (Package(name), output or "out")


def _packages(evaluation: _Evaluation, value: Value, position: Position) -> Value:
    return tuple(_package_with_output(evaluation, item, position) for item in evaluation.sequence(value, position))


def _specifications_manifest(evaluation: _Evaluation, value: Value, position: Position) -> Value:
    entries = tuple(Entry(_specification(item, position)) for item in evaluation.sequence(value, position))
    return _checked(entries, position)


def _packages_manifest(evaluation: _Evaluation, value: Value, position: Position) -> Value:
    entries = []
    for item in evaluation.sequence(value, position):
        match item:
            case Package(specification=specification) | (Package(specification=specification), "out"):
                entries.append(Entry(specification))
            case (Package(specification=specification), str(output)):
                entries.append(Entry(_specification(f"{specification}:{output}", position)))
            case _:
                raise unreadable(position, "packages->manifest has something that is no package.", hint=_HINT)
    return _checked(tuple(entries), position)


def _concatenate(evaluation: _Evaluation, value: Value, position: Position) -> Value:
    entries: list[Entry] = []
    for item in evaluation.sequence(value, position):
        if not isinstance(item, Manifest):
            raise unreadable(position, "concatenate-manifests has something that is no manifest.", hint=_HINT)
        entries += item.entries
    return _checked(tuple(entries), position)


def _development(_evaluation: _Evaluation, value: Value, position: Position) -> Value:
    if not isinstance(value, Package):
        raise unreadable(position, "package->development-manifest takes a package.", hint=_HINT)
    return Manifest((Entry(value.specification, Kind.DEVELOPMENT),))


def _checked(entries: tuple[Entry, ...], position: Position) -> Manifest:
    if len(entries) > MOST_PACKAGES:
        raise unreadable(position, f"it names more than {MOST_PACKAGES} packages.")
    return Manifest(entries)


_PROCEDURES: Mapping[str, Callable[[_Evaluation, Value, Position], Value]] = {
    "specification->package": _package,
    "specification->package+output": _package,
    "specifications->packages": _packages,
    "specifications->manifest": _specifications_manifest,
    "packages->manifest": _packages_manifest,
    "concatenate-manifests": _concatenate,
    "package->development-manifest": _development,
}
