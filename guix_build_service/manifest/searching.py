"""Procedures of Guile's that compare what is in lists: they look for elements, leave out some, and treat lists as sets."""

from collections.abc import Callable, Mapping
from functools import partial

from guix_build_service.manifest.evaluation import CORE, Evaluation, Known, Level, joined
from guix_build_service.manifest.lists import BOTH, SRFI_1, Apply, taking
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Position
from guix_build_service.manifest.values import Dotted, Value, identical, kind_of, same, single

Compare = Callable[[Evaluation, Value, Value, Position], bool]
"""Whether two values are the same, as Scheme's ``equal?`` or ``eq?`` has it."""


def _delete_duplicates(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    kept: list[Value] = []
    for item in evaluation.elements(arguments[0], position):
        if not any(same(evaluation, item, other, position) for other in kept):
            kept.append(item)
    return tuple(kept)


def _delete(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    elements = evaluation.elements(arguments[1], position)
    return tuple(item for item in elements if not same(evaluation, arguments[0], item, position))


def _delete_by_name(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if any(item.name == ("gnu", "services") for item in evaluation.imports):
        raise unreadable(position, "delete is a word of (gnu services) where a file uses that.", hint="Use delete!.")
    return _delete(evaluation, arguments, position)


def _member(compare: Compare) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        elements = evaluation.elements(arguments[1], position)
        for place, item in enumerate(elements):
            if compare(evaluation, arguments[0], item, position):
                return elements[place:]
        return False

    return taking(2, 2, apply)


def _pairs(evaluation: Evaluation, value: Value, position: Position) -> list[tuple[Value, Value, Value]]:
    """Return the pairs of the association list VALUE: each whole, and its two sides."""
    found: list[tuple[Value, Value, Value]] = []
    for item in evaluation.elements(value, position):
        match item:
            case (key, *rest):
                found.append((item, key, tuple(rest)))
            case Dotted(items=(key, *rest), tail=tail):
                found.append((item, key, joined(tuple(rest), tail)))
            case _:
                raise unreadable(position, f"a list of pairs is expected here, and {kind_of(item)} is in it.")
    return found


def _assoc(compare: Compare) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        pairs = _pairs(evaluation, arguments[1], position)
        return next((whole for whole, key, _ in pairs if compare(evaluation, arguments[0], key, position)), False)

    return taking(2, 2, apply)


def _assoc_ref(compare: Compare) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        pairs = _pairs(evaluation, arguments[0], position)
        return next((right for _, key, right in pairs if compare(evaluation, arguments[1], key, position)), False)

    return taking(2, 2, apply)


def _acons(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    pair = joined((arguments[0],), arguments[1])
    return (pair, *evaluation.sequence(arguments[2], position))


def _among(evaluation: Evaluation, equal: Value, item: Value, others: tuple[Value, ...], position: Position) -> bool:
    """Tell whether the procedure EQUAL finds ITEM among OTHERS."""
    found = (single(evaluation.apply(equal, [other, item], position)) for other in others)
    return any(evaluation.truth(value, position) for value in found)


def _chosen(evaluation: Evaluation, arguments: list[Value], position: Position, *, common: bool) -> Value:
    """Return those of the first list that are in all others where COMMON, else those that are in none."""
    equal, first, *rest = arguments
    others = [evaluation.elements(item, position) for item in rest]
    return tuple(
        item
        for item in evaluation.elements(first, position)
        if all(_among(evaluation, equal, item, other, position) is common for other in others)
    )


def _adjoined(evaluation: Evaluation, equal: Value, first: Value, more: tuple[Value, ...], position: Position) -> Value:
    """Return the list FIRST with MORE before it, the last foremost, of which none is in it twice."""
    found = evaluation.elements(first, position)
    for item in more:
        if not _among(evaluation, equal, item, found, position):
            found = (item, *found)
            evaluation.step(position, len(found))
    return found


def _adjoin(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    equal, first, *more = arguments
    return _adjoined(evaluation, equal, first, tuple(more), position)


def _union(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    equal, *lists = arguments
    found: Value = ()
    for item in lists:
        # The first list that has something is taken as it is.
        found = _adjoined(evaluation, equal, found, evaluation.elements(item, position), position) if found else item
    return evaluation.elements(found, position)


_ASKS = Level.PROCEDURES

SEARCHING: Mapping[str, Known] = {
    # Guile has it itself, but (gnu), which each manifest uses, makes it a word of modify-services.
    "delete": Known((SRFI_1,), taking(2, 2, _delete_by_name)),
    "delete!": Known(BOTH, taking(2, 2, _delete)),
    "delete-duplicates": Known((SRFI_1,), taking(1, 1, _delete_duplicates)),
    "member": Known((*BOTH, ("rnrs", "lists")), _member(same), _ASKS),
    "memq": Known((CORE,), _member(identical), _ASKS),
    "memv": Known((CORE,), _member(identical), _ASKS),
    "assoc": Known(BOTH, _assoc(same), _ASKS),
    "assq": Known((CORE,), _assoc(identical), _ASKS),
    "assv": Known((CORE,), _assoc(identical), _ASKS),
    "assoc-ref": Known((CORE,), _assoc_ref(same), _ASKS),
    "assq-ref": Known((CORE,), _assoc_ref(identical), _ASKS),
    "assv-ref": Known((CORE,), _assoc_ref(identical), _ASKS),
    "acons": Known((CORE,), taking(3, 3, _acons)),
    "lset-adjoin": Known((SRFI_1,), taking(2, None, _adjoin), _ASKS),
    "lset-union": Known((SRFI_1,), taking(1, None, _union), _ASKS),
    "lset-intersection": Known((SRFI_1,), taking(2, None, partial(_chosen, common=True)), _ASKS),
    "lset-difference": Known((SRFI_1,), taking(2, None, partial(_chosen, common=False)), _ASKS),
}
"""By their names; each with the modules that have it."""
