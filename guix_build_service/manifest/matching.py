"""The form ``match`` of (ice-9 match), as far as it takes lists, strings and names apart."""

from collections.abc import Mapping

from guix_build_service.manifest.evaluation import Evaluation, Level, Scope, Special, literal, quoted
from guix_build_service.manifest.forms import run
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Atom, Datum, Form, Position, Symbol, Text
from guix_build_service.manifest.values import NAME_THEM, Dotted, Procedure, Value, same

_ELLIPSIS = frozenset({"...", "___"})


def _match(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) < 3:
        raise unreadable(form.position, "this match is about nothing.")
    return _clauses(evaluation, evaluation.one(form.items[1], scope), form.items[2:], form.position, scope)


def _match_lambda(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    evaluation.step(form.position)

    def apply(inner: Evaluation, arguments: list[Value], position: Position) -> Value:
        if len(arguments) != 1:
            raise unreadable(position, "a procedure made by match-lambda takes one argument.")
        return _clauses(inner, arguments[0], form.items[1:], position, scope)

    return Procedure("match-lambda", apply)


def _clauses(evaluation: Evaluation, value: Value, clauses: tuple[Datum, ...], position: Position, scope: Scope) -> Value:
    for clause in clauses:
        if not isinstance(clause, Form) or len(clause.items) < 2 or clause.tail is not None:
            raise unreadable(clause.position, "this is no clause of match.")
        bound: dict[str, Value] = {}
        if _matches(evaluation, clause.items[0], value, bound):
            return run(evaluation, clause.items[1:], Scope({}, Scope(bound, scope)))
    raise unreadable(position, "no clause of match fits, and Guix would fail here.")


def _matches(evaluation: Evaluation, pattern: Datum, value: Value, bound: dict[str, Value]) -> bool:
    evaluation.step(pattern.position)
    match pattern:
        case Symbol(name="_"):
            return True
        case Symbol(name=name) if name not in _ELLIPSIS:
            if name in bound:
                raise unreadable(pattern.position, "a pattern with one name twice is not read.")
            bound[name] = value
            return True
        case Text(value=text):
            return same(evaluation, text, value, pattern.position)
        case Atom(text=text):
            return same(evaluation, literal(text), value, pattern.position)
        case Form() if pattern.head() in {"quote", "or", "and"}:
            return _combined(evaluation, pattern, value, bound)
        case Form(items=(Symbol(name="?" | "$" | "=" | "not" | "quasiquote" | "get!" | "set!"), *_)):
            raise unreadable(pattern.position, "this pattern of match is not read.", hint=NAME_THEM)
        case Form():
            return _list(evaluation, pattern, value, bound)
    raise unreadable(pattern.position, "this pattern of match is not read.", hint=NAME_THEM)


def _combined(evaluation: Evaluation, pattern: Form, value: Value, bound: dict[str, Value]) -> bool:
    patterns = pattern.items[1:]
    match pattern.head():
        case "quote" if len(patterns) == 1:
            return same(evaluation, quoted(evaluation, patterns[0]), value, pattern.position)
        case "and":
            return all(_matches(evaluation, item, value, bound) for item in patterns)
        case "or":
            return any(_matches(evaluation, item, value, bound) for item in patterns)
    raise unreadable(pattern.position, "this pattern of match is not read.")


def _list(evaluation: Evaluation, pattern: Form, value: Value, bound: dict[str, Value]) -> bool:
    items = pattern.items
    last = items[-1] if items else None
    if isinstance(last, Symbol) and last.name in _ELLIPSIS:
        return _repeated(evaluation, pattern, value, bound)
    if any(isinstance(item, Symbol) and item.name in _ELLIPSIS for item in items):
        raise unreadable(pattern.position, "a pattern with ... is read where that stands last.")
    first, rest = _taken(evaluation, value, len(items), pattern.position)
    if first is None:
        return False
    if pattern.tail is None and rest != ():
        return False
    fits = all(_matches(evaluation, item, part, bound) for item, part in zip(items, first, strict=True))
    return fits and (pattern.tail is None or _matches(evaluation, pattern.tail, rest, bound))


def _taken(evaluation: Evaluation, value: Value, count: int, position: Position) -> tuple[tuple[Value, ...] | None, Value]:
    """Return the first COUNT parts of the list VALUE, None where there are fewer, and the rest."""
    evaluation.certain(value, position)
    if isinstance(value, tuple):
        elements = evaluation.elements(value, position)
        return (elements[:count], elements[count:]) if len(elements) >= count else (None, ())
    if isinstance(value, Dotted) and len(value.items) >= count:
        rest = Dotted(value.items[count:], value.tail) if len(value.items) > count else value.tail
        return value.items[:count], rest
    return (None, ()) if count else ((), value)


def _repeated(evaluation: Evaluation, pattern: Form, value: Value, bound: dict[str, Value]) -> bool:
    if len(pattern.items) < 2 or pattern.tail is not None:
        raise unreadable(pattern.position, "nothing stands before ... in this pattern.")
    *single, each, _ = pattern.items
    if not isinstance(each, Symbol):
        raise unreadable(pattern.position, "before ... a pattern is read where it is a name.")
    first, rest = _taken(evaluation, value, len(single), pattern.position)
    if first is None or not isinstance(rest, tuple):
        return False
    fits = all(_matches(evaluation, item, part, bound) for item, part in zip(single, first, strict=True))
    return fits and _matches(evaluation, each, rest, bound)


_MODULES = (("ice-9", "match"),)

MATCHING: Mapping[str, Special] = {
    "match": Special(_MODULES, _match, Level.PROCEDURES),
    "match-lambda": Special(_MODULES, _match_lambda, Level.PROCEDURES),
}
