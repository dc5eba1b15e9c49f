"""Forms that are about files: which modules are used, and other files of the repository that are loaded."""

import posixpath
from collections.abc import Mapping

from guix_build_service.manifest.evaluation import CORE, Evaluation, Known, Level, Scope, Special, quoted
from guix_build_service.manifest.forms import run
from guix_build_service.manifest.lists import taking
from guix_build_service.manifest.modules import SHORT, checked, used
from guix_build_service.manifest.neighbours import path_of
from guix_build_service.manifest.reader import read_all, unreadable
from guix_build_service.manifest.syntax import Form, Position
from guix_build_service.manifest.values import FileName, Procedure, Unspecified, Value, kind_of


def _use(evaluation: Evaluation, form: Form, _scope: Scope) -> Value:
    new = [item for item in used(form) if item not in evaluation.imports]
    if new and evaluation.looked_up:
        raise unreadable(
            form.position,
            "modules are named after variables were looked up.",
            hint="Put all modules that the file uses at its beginning.",
        )
    evaluation.imports = checked((*evaluation.imports, *new), form.position)
    return Unspecified()


def _module(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    # A module of its own has nothing but what it names.
    if evaluation.looked_up or scope.values or evaluation.neighbours.loaded:
        raise unreadable(form.position, "define-module is read at the beginning of a manifest alone.")
    evaluation.imports = checked(tuple(dict.fromkeys(used(form))), form.position)
    return Unspecified()


def _ignored(_evaluation: Evaluation, _form: Form, _scope: Scope) -> Value:
    return Unspecified()


def _loaded(evaluation: Evaluation, path: str, position: Position, scope: Scope) -> Value:
    evaluation.mark(Level.PROCEDURES)
    text = evaluation.neighbours.text(path, position)
    return run(evaluation, read_all(text, file=path), scope)


def _path(value: Value, position: Position, *, by_place: bool) -> str:
    """Return the file that VALUE names; relative to the file that says so where BY_PLACE, else to where Guix runs."""
    folder = posixpath.dirname(position.file)
    match value:
        case FileName(path=path):
            return path_of(path, position, folder="")
        case str() if by_place or not folder:
            return path_of(value, position, folder=folder)
        case str():
            raise unreadable(position, "which file this is depends on the folder in which Guix runs.", hint="Use load.")
    raise unreadable(position, f"the name of a file is expected here, not {kind_of(value)}.")


def _load(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return _loaded(evaluation, _path(arguments[0], position, by_place=True), position, evaluation.top)


def _primitive_load(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    return _loaded(evaluation, _path(arguments[0], position, by_place=False), position, evaluation.top)


def _include(evaluation: Evaluation, form: Form, scope: Scope) -> Value:
    if len(form.items) != 2:
        raise unreadable(form.position, "include takes the name of one file.")
    path = _path(quoted(evaluation, form.items[1]), form.position, by_place=True)
    return _loaded(evaluation, path, form.position, scope)


def _read(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    """Return the first datum of a file that ``read`` alone is called with."""
    match arguments[1]:
        case Procedure(name="read"):
            path = _path(arguments[0], position, by_place=False)
            data = read_all(evaluation.neighbours.text(path, position), file=path)
            if data:
                return quoted(evaluation, data[0])
    raise unreadable(position, "of a file's content nothing is read but its first datum, by read.")


def _read_alone(_evaluation: Evaluation, _arguments: list[Value], position: Position) -> Value:
    raise unreadable(position, "it would read what somebody types.")


def _current(_evaluation: Evaluation, _form: Form, _scope: Scope) -> Value:
    if not _form.position.file:
        raise unreadable(_form.position, "which file this is, is not known.")
    return FileName(_form.position.file)


def _folder(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if isinstance(arguments[0], FileName):
        return FileName(posixpath.dirname(arguments[0].path) or ".")
    raise unreadable(position, f"the name of a file is expected here, not {kind_of(arguments[0])}.")


FILES: Mapping[str, Special | Known] = {
    "use-modules": Special((CORE,), _use, Level.LITERAL),
    **{name: Special((("gnu",),), _use, Level.LITERAL) for name in SHORT},
    "define-module": Special((CORE,), _module, Level.LITERAL),
    "export": Special((CORE,), _ignored, Level.LITERAL),
    "re-export": Special((CORE,), _ignored, Level.LITERAL),
    "include": Special((CORE,), _include, Level.PROCEDURES),
    "load": Known((CORE,), taking(1, 1, _load), Level.PROCEDURES),
    "primitive-load": Known((CORE,), taking(1, 1, _primitive_load), Level.PROCEDURES),
    "call-with-input-file": Known((CORE,), taking(2, 2, _read), Level.PROCEDURES),
    "read": Known((CORE,), _read_alone, Level.PROCEDURES),
    "current-filename": Special((CORE,), _current, Level.PROCEDURES),
    "dirname": Known((CORE,), taking(1, 1, _folder), Level.PROCEDURES),
}
"""By their names; each with the modules that have it."""
