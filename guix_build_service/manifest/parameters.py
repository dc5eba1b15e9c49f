"""Procedures that a manifest defines: which arguments they take, and what they do with them."""

from collections.abc import Callable
from dataclasses import dataclass

from guix_build_service.manifest.evaluation import Evaluation, Scope
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Atom, Datum, Form, Position, Symbol
from guix_build_service.manifest.values import Other, Procedure, Value

Body = Callable[[Evaluation, tuple[Datum, ...], Scope], Value]

_OPTIONAL = frozenset({"#:optional", "#!optional"})
_KEY = frozenset({"#:key", "#!key"})
_REST = frozenset({"#:rest", "#!rest"})


@dataclass(frozen=True, slots=True)
class _Parameters:
    required: tuple[str, ...]
    optional: tuple[tuple[str, Datum | None], ...] = ()
    """Names, and what they are where nothing is given."""
    keys: tuple[tuple[str, Datum | None], ...] = ()
    rest: str = ""


def procedure(
    evaluation: Evaluation, name: str, parameters: Datum, body: tuple[Datum, ...], scope: Scope, run: Body
) -> Procedure:
    """Return the procedure NAME that takes PARAMETERS and whose BODY is read within SCOPE."""
    evaluation.step(parameters.position)
    known = _parameters(parameters)

    def apply(inner: Evaluation, arguments: list[Value], position: Position) -> Value:
        local = _bound(inner, name, known, arguments, Scope({}, scope), position)
        return run(inner, body, Scope({}, local))

    return Procedure(name, apply)


def _parameters(datum: Datum) -> _Parameters:
    if isinstance(datum, Symbol):
        return _Parameters((), rest=datum.name)
    if not isinstance(datum, Form):
        raise unreadable(datum.position, "the parameters of a procedure are a list of names.")
    required: list[str] = []
    optional: list[tuple[str, Datum | None]] = []
    keys: list[tuple[str, Datum | None]] = []
    rest = _name(datum.tail) if datum.tail is not None else ""
    kind = ""
    for item in datum.items:
        if isinstance(item, Atom):
            kind = item.text
        elif kind in _REST and not rest:
            rest = _name(item)
        elif kind in _OPTIONAL | _KEY:
            (optional if kind in _OPTIONAL else keys).append(_with_default(item))
        elif kind:
            raise unreadable(item.position, f"{kind} is not read among parameters.")
        else:
            required.append(_name(item))
    return _Parameters(tuple(required), tuple(optional), tuple(keys), rest)


def _name(datum: Datum) -> str:
    if isinstance(datum, Symbol):
        return datum.name
    raise unreadable(datum.position, "a parameter is a name.")


def _with_default(datum: Datum) -> tuple[str, Datum | None]:
    match datum:
        case Form(items=(Symbol(name=name), default), tail=None):
            return name, default
    return _name(datum), None


def _bound(
    evaluation: Evaluation, name: str, known: _Parameters, arguments: list[Value], scope: Scope, position: Position
) -> Scope:
    evaluation.step(position, len(arguments))
    if len(arguments) < len(known.required):
        raise unreadable(position, f"{name:.60} gets too few arguments.")
    scope.values.update(zip(known.required, arguments, strict=False))
    left = arguments[len(known.required) :]
    for parameter, default in known.optional:
        if left and not (known.keys and isinstance(left[0], Other)):
            scope.values[parameter] = left.pop(0)
        else:
            scope.values[parameter] = evaluation.one(default, scope) if default is not None else False
    if known.keys:
        left = _with_keys(evaluation, name, known, left, scope, position)
    if known.rest:
        scope.values[known.rest] = tuple(left)
    elif left:
        raise unreadable(position, f"{name:.60} gets too many arguments.")
    return scope


def _with_keys(
    evaluation: Evaluation, name: str, known: _Parameters, left: list[Value], scope: Scope, position: Position
) -> list[Value]:
    given: dict[str, Value] = {}
    for key, value in zip(left[::2], left[1::2], strict=False):
        if not isinstance(key, Other) or not key.text.startswith("#:"):
            raise unreadable(position, f"{name:.60} gets too many arguments.")
        given[key.text[2:]] = value
    if len(left) % 2 or known.rest or given.keys() - {parameter for parameter, _ in known.keys}:
        raise unreadable(position, f"{name:.60} gets keywords that it does not know.")
    for parameter, default in known.keys:
        if parameter in given:
            scope.values[parameter] = given[parameter]
        else:
            scope.values[parameter] = evaluation.one(default, scope) if default is not None else False
    return []
