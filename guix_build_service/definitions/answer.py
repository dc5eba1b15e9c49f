"""Read what a manifest's packages are built of: text from a program that may say anything."""

import re

from guix_build_service.jail.answer import entry, in_one_line
from guix_build_service.manifest.canonical import SPECIFICATION, Definition, Entry, Kind, Named, PackageList, SearchPath
from guix_build_service.manifest.reader import read_all
from guix_build_service.manifest.specifications import MOST_PACKAGES
from guix_build_service.manifest.syntax import Atom, Datum, Form, Symbol, Text
from guix_environment.errors import DefinitionsRefused, EvaluationFailed, InvalidInput, ManifestUnreadable
from guix_environment.identifiers import StorePath, VariableName

_OUTPUT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_FILE = re.compile(r"(?!.*(?:^|/)\.\.(?:/|$))[A-Za-z0-9_+@.][A-Za-z0-9_+@./-]{0,200}")
_KINDS = frozenset({"directory", "regular", "symlink"})
_DEEPEST = 30
_MOST_SEARCH_PATHS = 50
_LONGEST = 1024 * 1024


def defined(answer: str) -> PackageList:
    """Return the packages that ANSWER tells of, those included that only the manifest has.

    Raises `EvaluationFailed`, and `DefinitionsRefused` for a package of which it does not say how it is built.
    """
    try:
        data = read_all(answer, largest=_LONGEST, most=200 * MOST_PACKAGES)
    except ManifestUnreadable as error:
        raise _strange() from error
    match data:
        case (Form(items=(Symbol(name="packages"), *items), tail=None),) if len(items) <= MOST_PACKAGES:
            return PackageList(tuple(_entry(item, 0) for item in items))
        case (Form(items=(Symbol(name="failed"), Text(value=text)), tail=None),):
            raise EvaluationFailed(
                f"Guix cannot say what the manifest's packages are built of: {in_one_line(text) or 'it does not say why'}.",
                hint="The manifest is run without network, and nothing can be built or downloaded meanwhile.",
            )
    raise _strange()


def derivations(packages: PackageList) -> list[StorePath]:
    """Return how those of PACKAGES, and what they propagate, are built that only the manifest has."""
    found: list[StorePath] = []
    waiting = list(packages.entries)
    while waiting:
        definition = waiting.pop().definition
        if definition is not None:
            found.append(definition.derivation)
            waiting += definition.propagated
    return sorted(set(found))


def _entry(datum: Datum, depth: int) -> Entry:
    if depth > _DEEPEST:
        raise _strange()
    match datum:
        case Form(
            items=(
                Text(value=name),
                Text(value=version),
                Text(value=output),
                Symbol(name="derivation" | "development" as kind),
                Text(value=derivation),
                Form(items=paths, tail=None),
                Form(items=propagated, tail=None),
            ),
            tail=None,
        ):
            specification = f"{name}@{version}"
            if not SPECIFICATION.fullmatch(specification) or ":" in specification or not _OUTPUT.fullmatch(output):
                raise _unusual(name, "its name, its version or its output is of another form than Guix's")
            if len(paths) > _MOST_SEARCH_PATHS or len(propagated) > MOST_PACKAGES:
                raise _unusual(name, "it propagates too much")
            inner = tuple(_entry(item, depth + 1) for item in propagated)
            definition = Definition(_derivation(derivation), tuple(_search_path(path, name) for path in paths), inner)
            return Entry(
                specification,
                Kind.DEVELOPMENT if kind == "development" else Kind.PACKAGE,
                Named.DERIVATION,
                output="" if output == "out" else output,
                definition=definition,
                merged=False,
            )
    named, found = entry(datum)
    if found is None:
        raise _unusual(named, "it is no package, or Guix does not say how it is built")
    return found


def _derivation(text: str) -> StorePath:
    try:
        path = StorePath(text)
    except InvalidInput:
        raise _strange() from None
    if not path.endswith(".drv"):
        raise _strange()
    return path


def _search_path(datum: Datum, package: str) -> SearchPath:
    """Return what DATUM tells of a search path (``guix/search-paths.scm``, ``search-path-specification->sexp``)."""
    match datum:
        case Form(
            items=(Text(value=variable), Form(items=files, tail=None), separator, Symbol(name=kind), pattern), tail=None
        ):
            names = tuple(file.value for file in files if isinstance(file, Text) and _FILE.fullmatch(file.value))
            try:
                found = SearchPath(VariableName(variable), names, _or_none(separator), kind, _or_none(pattern))
            except InvalidInput:
                pass
            else:
                if len(names) == len(files) and kind in _KINDS and found.separator in {None, ":", ";", " "}:
                    return found
    raise _unusual(package, "it sets variables in an unusual way")


def _or_none(datum: Datum) -> str | None:
    match datum:
        case Text(value=text) if len(text) <= 200 and text.isprintable():
            return text
        case Atom(text="#f" | "#false"):
            return None
    raise _strange()


def _unusual(name: str, reason: str) -> DefinitionsRefused:
    shown = in_one_line(f"{name:.80}")
    return DefinitionsRefused(
        f"{shown}, which the manifest makes, cannot be built here: {reason}.",
        hint="Define it with (package …), as Guix defines its own.",
        details={"package": shown},
    )


def _strange() -> EvaluationFailed:
    return EvaluationFailed(
        "What came of running the manifest cannot be understood.", hint="Write it as Guix's manual does."
    )
