"""Procedures of Guile's on strings, symbols and numbers, questions about values, and what the machine is."""

import re
from collections.abc import Callable, Mapping

from guix_build_service.manifest.evaluation import CORE, Evaluation, Known, Level
from guix_build_service.manifest.lists import Apply, taking
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Position
from guix_build_service.manifest.values import (
    Dotted,
    FileName,
    Other,
    Package,
    Procedure,
    Unspecified,
    Value,
    Word,
    identical,
    kind_of,
    same,
)

_SRFI_13 = ("srfi", "srfi-13")
_STRINGS = (CORE, _SRFI_13)
_PRINTED = re.compile(r"[!-~]+")
_SPACE = "\t\n\v\f\r "
_SYSTEM_MODULES = (("guix", "utils"), ("guix", "packages"))

USUAL_VARIABLES = frozenset({
    "HOME", "USER", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHELL", "SHLVL", "LANG", "TERM", "TMPDIR", "TZ", "EDITOR", "VISUAL",
    "PAGER", "DISPLAY", "WAYLAND_DISPLAY", "HOSTNAME", "MAIL", "EMAIL", "CI", "SUDO_USER", "COLORTERM",
})  # fmt: skip
"""Variables of the environment that a process may well have; others have no value where environments are built."""


def _string_append(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if arguments and isinstance(arguments[0], FileName):
        rest = "".join(evaluation.text(item, position) for item in arguments[1:])
        return FileName(evaluation.text(arguments[0].path + rest, position))
    return evaluation.text("".join(evaluation.text(item, position) for item in arguments), position)


def _string_join(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    texts = [evaluation.text(item, position) for item in evaluation.elements(arguments[0], position)]
    between = evaluation.text(arguments[1], position) if len(arguments) > 1 else " "
    return evaluation.text(between.join(texts), position)


def _string_split(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    text, separator = evaluation.text(arguments[0], position), arguments[1]
    if isinstance(separator, Other) and separator.text.startswith("#\\"):
        character = {"space": " ", "newline": "\n", "tab": "\t"}.get(separator.text[2:], separator.text[2:])
        if len(character) == 1:
            return tuple(text.split(character))
    raise unreadable(position, "string-split is read with one character alone.")


def _string_concatenate(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    texts = [evaluation.text(item, position) for item in evaluation.elements(arguments[0], position)]
    return evaluation.text("".join(texts), position)


def _string_contains(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    place = evaluation.text(arguments[0], position).find(evaluation.text(arguments[1], position))
    return place if place >= 0 else False


def _of_plain(change: Callable[[str], Value]) -> Apply:
    """Return CHANGE for strings of ASCII: which other characters are space or print, Guile has a list of its own."""

    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        text = evaluation.text(arguments[0], position)
        if not text.isascii():
            raise unreadable(position, "this string is taken apart, and has characters beyond ASCII.")
        return change(text)

    return taking(1, 1, apply)


def _of_text(change: Callable[[str], Value]) -> Apply:
    return taking(1, 1, lambda evaluation, arguments, position: change(evaluation.text(arguments[0], position)))


def _of_texts(compare: Callable[[str, str], Value]) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        return compare(evaluation.text(arguments[0], position), evaluation.text(arguments[1], position))

    return taking(2, 2, apply)


def _string_equal(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return len({evaluation.text(item, position) for item in arguments}) < 2


def _equal(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return same(evaluation, arguments[0], arguments[1], position)


def _identical(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return identical(evaluation, arguments[0], arguments[1], position)


def _symbol_to_string(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if isinstance(arguments[0], Word):
        return arguments[0].name
    raise unreadable(position, f"a symbol is expected here, not {kind_of(arguments[0])}.")


def _number_to_string(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if type(arguments[0]) is int:
        return str(arguments[0])
    raise unreadable(position, f"a number is expected here, not {kind_of(arguments[0])}.")


def _is(*kinds: type) -> Apply:
    def apply(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
        value = arguments[0]
        if isinstance(value, tuple) and value:
            evaluation.elements(value, position)
        evaluation.certain(value, position)
        return type(value) in kinds

    return taking(1, 1, apply)


def _is_null(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    evaluation.certain(arguments[0], position)
    return isinstance(arguments[0], tuple) and not evaluation.elements(arguments[0], position)


def _is_pair(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    value = arguments[0]
    evaluation.certain(value, position)
    return isinstance(value, Dotted) or (isinstance(value, tuple) and bool(evaluation.elements(value, position)))


def _not(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return not evaluation.truth(arguments[0], position)


def _sort(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    match arguments[1]:
        case Procedure(name="string<?" | "string-ci<?" as name):
            texts = [evaluation.text(item, position) for item in evaluation.elements(arguments[0], position)]
            return tuple(sorted(texts, key=str.lower if name == "string-ci<?" else None))
    raise unreadable(position, "sort is read with string<? alone.")


def _format(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if arguments[0] is not False:
        return Unspecified()
    pieces = evaluation.text(arguments[1], position).split("~")
    values, text = list(arguments[2:]), pieces[0]
    for piece in pieces[1:]:
        match piece[:1]:
            case "a" if (values and isinstance(values[0], str | Word)) or (values and type(values[0]) is int):
                value = values.pop(0)
                text += evaluation.text(value.name if isinstance(value, Word) else str(value), position)
            case "%":
                text += "\n"
            case _:
                raise unreadable(position, "format is read with ~a alone.")
        text += piece[1:]
    return evaluation.text(text, position)


def _nothing(_evaluation: Evaluation, _arguments: list[Value], _position: Position) -> Value:
    """What is printed, nobody reads."""
    return Unspecified()


def _getenv(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    name = evaluation.text(arguments[0], position)
    if name in USUAL_VARIABLES or name.startswith(
        ("GUIX", "GUILE", "XDG_", "LC_", "JUPYTER", "SSH_", "GIT_", "DBUS_", "CI_")
    ):
        raise unreadable(position, f"what it names depends on the variable {name:.60} of the machine that reads it.")
    return False


def _system(evaluation: Evaluation, _arguments: list[Value], position: Position) -> Value:
    if not evaluation.system:
        raise unreadable(position, "what it names depends on the machine that reads it.")
    return evaluation.system


_ASKS = Level.PROCEDURES

TEXTS: Mapping[str, Known] = {
    "string-append": Known(_STRINGS, _string_append),
    "string-join": Known(_STRINGS, taking(1, 2, _string_join)),
    "string-split": Known((CORE,), taking(2, 2, _string_split)),
    "string-concatenate": Known(_STRINGS, taking(1, 1, _string_concatenate)),
    "string-contains": Known(_STRINGS, taking(2, 2, _string_contains), _ASKS),
    "string-tokenize": Known(_STRINGS, _of_plain(lambda text: tuple(_PRINTED.findall(text)))),
    "string-trim": Known(_STRINGS, _of_plain(lambda text: text.lstrip(_SPACE))),
    "string-trim-right": Known(_STRINGS, _of_plain(lambda text: text.rstrip(_SPACE))),
    "string-trim-both": Known(_STRINGS, _of_plain(lambda text: text.strip(_SPACE))),
    "string-upcase": Known(_STRINGS, _of_text(str.upper)),
    "string-downcase": Known(_STRINGS, _of_text(str.lower)),
    "string-null?": Known(_STRINGS, _of_text(lambda text: not text), _ASKS),
    "string-length": Known(_STRINGS, _of_text(len)),
    "string->symbol": Known((CORE,), _of_text(Word)),
    "symbol->string": Known((CORE,), taking(1, 1, _symbol_to_string)),
    "number->string": Known((CORE,), taking(1, 1, _number_to_string)),
    "string-prefix?": Known(_STRINGS, _of_texts(lambda prefix, text: text.startswith(prefix)), _ASKS),
    "string-suffix?": Known(_STRINGS, _of_texts(lambda suffix, text: text.endswith(suffix)), _ASKS),
    "string=?": Known((CORE,), taking(1, None, _string_equal), _ASKS),
    "string<?": Known((CORE,), _of_texts(lambda left, right: left < right), _ASKS),
    "string-ci<?": Known((CORE,), _of_texts(lambda left, right: left.lower() < right.lower()), _ASKS),
    "sort": Known((CORE,), taking(2, 2, _sort), _ASKS),
    "equal?": Known((CORE,), taking(2, 2, _equal), _ASKS),
    "eq?": Known((CORE,), taking(2, 2, _identical), _ASKS),
    "eqv?": Known((CORE,), taking(2, 2, _identical), _ASKS),
    "string?": Known(_STRINGS, _is(str), _ASKS),
    "symbol?": Known((CORE,), _is(Word), _ASKS),
    "procedure?": Known((CORE,), _is(Procedure), _ASKS),
    "list?": Known((CORE,), _is(tuple), _ASKS),
    "pair?": Known((CORE, ("srfi", "srfi-1")), taking(1, 1, _is_pair), _ASKS),
    "null?": Known((CORE, ("srfi", "srfi-1")), taking(1, 1, _is_null), _ASKS),
    "not": Known((CORE,), taking(1, 1, _not), _ASKS),
    "package?": Known((("guix", "packages"),), _is(Package), _ASKS),
    "format": Known((CORE, ("ice-9", "format")), taking(2, None, _format), _ASKS),
    "display": Known((CORE,), _nothing, _ASKS),
    "write": Known((CORE,), _nothing, _ASKS),
    "newline": Known((CORE,), _nothing, _ASKS),
    "current-output-port": Known((CORE,), _nothing, _ASKS),
    "current-error-port": Known((CORE,), _nothing, _ASKS),
    "getenv": Known((CORE,), taking(1, 1, _getenv), _ASKS),
    "%current-system": Known(_SYSTEM_MODULES, taking(0, 0, _system), _ASKS),
    "%current-target-system": Known(_SYSTEM_MODULES, taking(0, 0, lambda _e, _a, _p: False), _ASKS),
}
"""By their names; each with the modules that have it."""
