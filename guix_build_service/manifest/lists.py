"""Procedures of Guile's on lists: those that take lists apart and put them together."""

from collections.abc import Callable, Mapping, Sequence

from guix_build_service.manifest.evaluation import CORE, Evaluation, Known, Level, joined
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Position
from guix_build_service.manifest.values import (
    NAME_THEM,
    OPEN,
    Dotted,
    Package,
    Procedure,
    Several,
    Unspecified,
    Value,
    kind_of,
    single,
)

SRFI_1 = ("srfi", "srfi-1")
BOTH = (CORE, SRFI_1)
"""What has the procedures of SRFI 1 that Guile has itself."""

Apply = Callable[[Evaluation, list[Value], Position], Value]


def counted(arguments: Sequence[Value], least: int, most: int | None, position: Position) -> None:
    """Refuse fewer ARGUMENTS than LEAST and more than MOST."""
    if len(arguments) < least:
        raise unreadable(position, "a procedure gets too few arguments.")
    if most is not None and len(arguments) > most:
        raise unreadable(position, "a procedure gets too many arguments.")


def taking(least: int, most: int | None, apply: Apply) -> Apply:
    """Return APPLY for at least LEAST and at most MOST arguments."""

    def checked(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        counted(arguments, least, most, position)
        return apply(evaluation, arguments, position)

    return checked


def _list(_evaluation: Evaluation, arguments: list[Value], _position: Position) -> Value:
    return tuple(arguments)


def _cons(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    *first, rest = arguments
    if isinstance(rest, tuple | Package):
        # A package's variable at the end of a list holds one, as in (cons sed %base-packages).
        rest = evaluation.sequence(rest, position)
    return joined(tuple(first), rest)


def _append(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return tuple(value for argument in arguments for value in evaluation.sequence(argument, position))


def _reverse(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return tuple(reversed(evaluation.elements(arguments[0], position)))


def _columns(evaluation: Evaluation, lists: list[Value], position: Position) -> list[tuple[Value, ...]]:
    return list(zip(*(evaluation.elements(item, position) for item in lists), strict=False))


def _map(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    rows = _columns(evaluation, arguments[1:], position)
    return tuple(single(evaluation.apply(arguments[0], row, position)) for row in rows)


def _for_each(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    _map(evaluation, arguments, position)
    return Unspecified()


def _append_map(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    lists = _map(evaluation, arguments, position)
    return _append(evaluation, list(lists) if isinstance(lists, tuple) else [], position)


def _filter_map(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    found = _map(evaluation, arguments, position)
    return tuple(item for item in found if evaluation.truth(item, position)) if isinstance(found, tuple) else ()


def _apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    rest = (*arguments[1:-1], *evaluation.elements(arguments[-1], position))
    return evaluation.apply(arguments[0], rest, position)


def _holds(evaluation: Evaluation, procedure: Value, value: Value, position: Position) -> bool:
    return evaluation.truth(single(evaluation.apply(procedure, [value], position)), position)


def _filtered(*, keep: bool) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        elements = evaluation.elements(arguments[1], position)
        return tuple(item for item in elements if _holds(evaluation, arguments[0], item, position) is keep)

    return apply


def _partition(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return Several(tuple(_filtered(keep=keep)(evaluation, arguments, position) for keep in (True, False)))


def _find(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    elements = evaluation.elements(arguments[1], position)
    return next((item for item in elements if _holds(evaluation, arguments[0], item, position)), False)


def _any(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    for row in _columns(evaluation, arguments[1:], position):
        value = single(evaluation.apply(arguments[0], row, position))
        if evaluation.truth(value, position):
            return value
    return False


def _every(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    value: Value = True
    for row in _columns(evaluation, arguments[1:], position):
        value = single(evaluation.apply(arguments[0], row, position))
        if not evaluation.truth(value, position):
            return False
    return value


def _fold(*, right: bool) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        procedure, value = arguments[:2]
        rows = _columns(evaluation, arguments[2:], position)
        for row in reversed(rows) if right else rows:
            value = single(evaluation.apply(procedure, [*row, value], position))
        return value

    return apply


def _append_reverse(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    head = evaluation.elements(arguments[0], position)
    return (*reversed(head), *evaluation.sequence(arguments[1], position))


def _copy(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return evaluation.sequence(arguments[0], position)


def _concatenate(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return _append(evaluation, list(evaluation.elements(arguments[0], position)), position)


def _path(steps: str) -> Apply:
    """Return ``car``, ``cdr`` or what is put together of them: STEPS of a and d, the last first."""

    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        value = arguments[0]
        for step in reversed(steps):
            match value:
                case (first, *_) if not isinstance(first, OPEN):
                    value = first if step == "a" else value[1:]
                case Dotted(items=(first, *rest), tail=tail):
                    value = first if step == "a" else joined(tuple(rest), tail)
                case _:
                    raise unreadable(position, f"{kind_of(value)} has no part c{step}r.", hint=NAME_THEM)
        evaluation.step(position)
        return value

    return apply


def _element(place: int | None) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        elements = evaluation.elements(arguments[0], position)
        wanted = _number(arguments[1], position) if place is None else place
        if not -len(elements) <= wanted < len(elements):
            raise unreadable(position, "the list is shorter than that.")
        return elements[wanted]

    return apply


def _cutting(*, head: bool, at_end: bool = False) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        elements, count = evaluation.elements(arguments[0], position), _number(arguments[1], position)
        if not 0 <= count <= len(elements):
            raise unreadable(position, "the list is shorter than that.")
        place = len(elements) - count if at_end else count
        return elements[:place] if head else elements[place:]

    return apply


def _number(value: Value, position: Position) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise unreadable(position, f"a number is expected here, not {kind_of(value)}.")


def _length(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return len(evaluation.elements(arguments[0], position))


def _values(_evaluation: Evaluation, arguments: list[Value], _position: Position) -> Value:
    return Several(tuple(arguments)) if len(arguments) != 1 else arguments[0]


def _call_with_values(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    given = evaluation.apply(arguments[0], [], position)
    return evaluation.apply(arguments[1], given.items if isinstance(given, Several) else [given], position)


def _compose(_evaluation: Evaluation, arguments: list[Value], _position: Position) -> Value:
    def apply(evaluation: Evaluation, given: list[Value], position: Position) -> Value:
        values: Sequence[Value] = given
        value: Value = Several(tuple(given))
        for procedure in reversed(arguments):
            value = evaluation.apply(procedure, values, position)
            values = value.items if isinstance(value, Several) else [value]
        return value

    return Procedure("compose", apply)


def _const(_evaluation: Evaluation, arguments: list[Value], _position: Position) -> Value:
    return Procedure("const", lambda _inner, _given, _place: arguments[0])


def _negate(_evaluation: Evaluation, arguments: list[Value], _position: Position) -> Value:
    def apply(evaluation: Evaluation, given: list[Value], position: Position) -> Value:
        return not evaluation.truth(single(evaluation.apply(arguments[0], given, position)), position)

    return Procedure("negate", apply)


def _and_then(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    wanted = evaluation.truth(arguments[0], position)
    return evaluation.apply(arguments[1], [arguments[0]], position) if wanted else False


_HIGHER = Level.PROCEDURES

LISTS: Mapping[str, Known] = {
    "list": Known(BOTH, _list, Level.LITERAL),
    "cons": Known(BOTH, taking(2, 2, _cons)),
    "cons*": Known((*BOTH, ("rnrs", "lists")), taking(1, None, _cons)),
    "append": Known(BOTH, _append),
    "append!": Known(BOTH, _append),
    "append-reverse": Known((SRFI_1,), taking(2, 2, _append_reverse)),
    "list-copy": Known(BOTH, taking(1, 1, _copy)),
    "reverse": Known(BOTH, taking(1, 1, _reverse)),
    "map": Known(BOTH, taking(2, None, _map)),
    "map-in-order": Known(BOTH, taking(2, None, _map)),
    "for-each": Known(BOTH, taking(2, None, _for_each), _HIGHER),
    "append-map": Known((SRFI_1,), taking(2, None, _append_map)),
    "filter-map": Known((SRFI_1,), taking(2, None, _filter_map)),
    "apply": Known((CORE,), taking(2, None, _apply)),
    "filter": Known(BOTH, taking(2, 2, _filtered(keep=True)), _HIGHER),
    "remove": Known((SRFI_1,), taking(2, 2, _filtered(keep=False)), _HIGHER),
    "partition": Known((SRFI_1,), taking(2, 2, _partition), _HIGHER),
    "find": Known((SRFI_1,), taking(2, 2, _find), _HIGHER),
    "any": Known((SRFI_1,), taking(2, None, _any), _HIGHER),
    "every": Known((SRFI_1,), taking(2, None, _every), _HIGHER),
    "fold": Known((SRFI_1,), taking(3, None, _fold(right=False)), _HIGHER),
    "fold-right": Known((SRFI_1,), taking(3, None, _fold(right=True)), _HIGHER),
    "concatenate": Known((SRFI_1,), taking(1, 1, _concatenate)),
    **{f"c{steps}r": Known(BOTH, taking(1, 1, _path(steps))) for steps in ("a", "d", "aa", "ad", "da", "dd", "add", "ddd")},
    "first": Known((SRFI_1,), taking(1, 1, _element(0))),
    "second": Known((SRFI_1,), taking(1, 1, _element(1))),
    "third": Known((SRFI_1,), taking(1, 1, _element(2))),
    "last": Known((SRFI_1,), taking(1, 1, _element(-1))),
    "list-ref": Known(BOTH, taking(2, 2, _element(None))),
    "list-head": Known((CORE,), taking(2, 2, _cutting(head=True))),
    "list-tail": Known((CORE,), taking(2, 2, _cutting(head=False))),
    "take": Known((SRFI_1,), taking(2, 2, _cutting(head=True))),
    "drop": Known((SRFI_1,), taking(2, 2, _cutting(head=False))),
    "take-right": Known((SRFI_1,), taking(2, 2, _cutting(head=False, at_end=True))),
    "drop-right": Known((SRFI_1,), taking(2, 2, _cutting(head=True, at_end=True))),
    "length": Known(BOTH, taking(1, 1, _length)),
    "values": Known((CORE,), _values, _HIGHER),
    "call-with-values": Known((CORE,), taking(2, 2, _call_with_values), _HIGHER),
    "compose": Known((CORE,), taking(1, None, _compose)),
    "const": Known((CORE,), taking(1, 1, _const), _HIGHER),
    "identity": Known((CORE,), taking(1, 1, lambda _evaluation, arguments, _position: arguments[0])),
    "negate": Known((CORE,), taking(1, 1, _negate), _HIGHER),
    "and=>": Known((CORE,), taking(2, 2, _and_then), _HIGHER),
}
"""By their names; each with the modules that have it."""
