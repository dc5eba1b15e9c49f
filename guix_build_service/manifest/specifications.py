"""Procedures of Guix's: those that look up packages and make manifests of them.

What they give is a list of names.  Which packages those are, and whether there are such, Guix says later
(``gnu/packages.scm``, ``guix/profiles.scm``, ``guix/transformations.scm``).
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from guix_build_service.manifest.canonical import SPECIFICATION, Entry, Kind, Named
from guix_build_service.manifest.evaluation import Evaluation, Known, Level, Scope, Special
from guix_build_service.manifest.lists import taking
from guix_build_service.manifest.modules import module_name
from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Form, Position, Symbol
from guix_build_service.manifest.values import (
    NAME_THEM,
    Dotted,
    Entries,
    Manifest,
    ManifestEntry,
    Package,
    Procedure,
    Several,
    Splice,
    Value,
    Word,
    kind_of,
)

MOST_PACKAGES = 2_000

REPEATABLE = frozenset(
    ["with-input", "with-graft", "with-c-toolchain", "with-debug-info", "without-tests", "with-configure-flag", "tune"]
)
"""Options that change a package in the same way each time; the others fetch whatever is newest somewhere."""

_OUTPUT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_OPTION = re.compile(r"[A-Za-z0-9@=+._:/~^, -]{1,200}")


def _specification(value: Value, position: Position) -> str:
    if isinstance(value, Package) and value.entry.named is Named.VARIABLE:
        name = value.entry.specification
        raise unreadable(
            value.entry.place or position,
            f"{name:.60} is a variable, and a package's name as a string belongs here.",
            hint=f'Write "{name:.60}", or pass variables to packages->manifest.',
        )
    if not isinstance(value, str):
        raise unreadable(position, f"a package's name is expected here, as a string, not {kind_of(value)}.", hint=NAME_THEM)
    if not SPECIFICATION.fullmatch(value):
        raise unreadable(position, f"{value!r:.80} is not the name of a package.", hint=NAME_THEM)
    return value


def _package(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    specification = _specification(arguments[0], position)
    if ":" in specification:
        raise unreadable(
            position,
            f"specification->package takes a name without an output, not {specification}.",
            hint="Write (specification->package+output …), or name the package as a string of specifications->manifest.",
        )
    evaluation.step(position)
    return Package(Entry(specification, place=position))


def _package_with_output(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    """Return package and output, of which the output is lost where one value is expected, as it is in Guix."""
    evaluation.step(position)
    name, _, output = _specification(arguments[0], position).partition(":")
    given = arguments[1] if len(arguments) > 1 else "out"
    return Several((Package(Entry(name, place=position)), output or _output(given, position)))


def _packages(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    found: list[Value] = []
    for item in evaluation.sequence(arguments[0], position):
        if isinstance(item, Splice):
            found.append(Splice(_names(item)))
        else:
            pair = _package_with_output(evaluation, [item], position)
            found.append(pair.items if isinstance(pair, Several) else ())
    return tuple(found)


def _specifications_manifest(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    entries = [
        _names(item) if isinstance(item, Splice) else Entry(_specification(item, position), place=position)
        for item in evaluation.sequence(arguments[0], position)
    ]
    return _merged(entries, position)


def _names(whole: Splice) -> Entry:
    """Return the entry for WHOLE, a list that stands where specifications do."""
    return replace(whole.entry, named=Named.NAMES)


def _packages_manifest(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    entries = []
    for item in evaluation.sequence(arguments[0], position):
        match item:
            case Package(entry=entry) | Splice(entry=entry):
                entries.append(entry)
            case (Package(entry=entry), output):
                entries.append(_with_output(entry, _output(output, position)))
            case _:
                raise unreadable(position, f"packages->manifest gets {kind_of(item)}, which is no package.", hint=NAME_THEM)
    return _merged(entries, position)


def _merged(entries: list[Entry], position: Position) -> Manifest:
    """Return the manifest of ENTRIES, without what is in it twice."""
    return _checked(Manifest((tuple(dict.fromkeys(entries)),)), position)


def _output(value: Value, position: Position) -> str:
    if isinstance(value, str) and _OUTPUT.fullmatch(value):
        return value
    raise unreadable(position, f"the name of an output is expected here, not {kind_of(value)}.")


def _with_output(entry: Entry, output: str) -> Entry:
    if output == "out":
        return entry
    if entry.named is Named.SPECIFICATION and not entry.transformations:
        return replace(entry, specification=f"{entry.specification}:{output}")
    return replace(entry, output=output)


def _one(value: Value, position: Position) -> Entry:
    if isinstance(value, Package):
        return value.entry
    raise unreadable(position, f"a package is expected here, not {kind_of(value)}.", hint=NAME_THEM)


def _concatenate(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    parts: list[tuple[Entry, ...]] = []
    for item in evaluation.elements(arguments[0], position):
        if not isinstance(item, Manifest):
            raise unreadable(position, f"concatenate-manifests gets {kind_of(item)}, which is no manifest.", hint=NAME_THEM)
        evaluation.step(position, len(item.parts))
        parts += item.parts
    return _checked(Manifest(tuple(parts)), position)


def _development(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    entry = _one(arguments[0], position)
    return Manifest(((replace(entry, kind=Kind.DEVELOPMENT),),))


def _manifest_entry(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    entry = _one(arguments[0], position)
    output = _output(arguments[1], position) if len(arguments) > 1 else "out"
    return ManifestEntry(replace(entry, output="" if output == "out" else output, merged=False))


def _manifest(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    parts: list[tuple[Entry, ...]] = []
    for item in evaluation.sequence(arguments[0] if arguments else (), position):
        match item:
            case ManifestEntry(entry=entry):
                parts.append((entry,))
            case Entries(parts=more):
                parts += more
            case _:
                raise unreadable(position, f"manifest gets {kind_of(item)}, which is no entry of one.", hint=NAME_THEM)
    return _checked(Manifest(tuple(parts)), position)


def _manifest_entries(_evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    if isinstance(arguments[0], Manifest):
        return (Entries(arguments[0].parts),)
    raise unreadable(position, f"manifest-entries gets {kind_of(arguments[0])}, which is no manifest.", hint=NAME_THEM)


def _checked(manifest: Manifest, position: Position) -> Manifest:
    if sum(len(part) for part in manifest.parts) > MOST_PACKAGES:
        raise unreadable(position, f"it names more than {MOST_PACKAGES} packages.")
    return manifest


def _transformation(evaluation: Evaluation, arguments: list[Value], position: Position) -> Value:
    options = tuple(_option(item, position) for item in evaluation.elements(arguments[0], position))

    def apply(inner: Evaluation, given: list[Value], place: Position) -> Value:
        inner.step(place)
        if len(given) != 1:
            raise unreadable(place, "a transformation takes one package.")
        entry = _one(given[0], place)
        if not options:
            return given[0]
        # Each call makes another package, be it of the same one.
        made = (*entry.made, inner.number())
        return Package(replace(entry, transformations=(*entry.transformations, options), made=made))

    return Procedure("a transformation", apply)


def _option(value: Value, position: Position) -> tuple[str, str]:
    match value:
        case Dotted(items=(Word(name=name),), tail=str(text)) if name in REPEATABLE:
            if not _OPTION.fullmatch(text) or (name == "tune" and text == "native"):
                raise unreadable(position, f"the transformation {name} is not read with {text!r:.80}.")
            return name, text
        case Dotted(items=(Word(name=name),)):
            raise unreadable(
                position,
                f"the transformation {name:.40} is not read, because what it gives may differ each time.",
                hint=f"These are read: {', '.join(sorted(REPEATABLE))}.",
            )
    raise unreadable(position, 'a transformation is an option and a string, such as (with-input . "a=b").')


def _variable(evaluation: Evaluation, form: Form, _scope: Scope) -> Value:
    match form.items:
        case (_, module, Symbol() as name):
            evaluation.mark(Level.VARIABLES)
            package = evaluation.elsewhere(name)
            return Package(replace(package.entry, module=module_name(module), place=form.position))
    raise unreadable(form.position, "@ takes a module and a variable of it, such as (@ (gnu packages base) sed).")


_PACKAGES = (("gnu", "packages"),)
_PROFILES = (("guix", "profiles"),)

SPECIFICATIONS: Mapping[str, Known] = {
    "specification->package": Known(_PACKAGES, taking(1, 1, _package)),
    "specification->package+output": Known(_PACKAGES, taking(1, 2, _package_with_output)),
    "specifications->packages": Known(_PACKAGES, taking(1, 1, _packages)),
    "specifications->manifest": Known(_PACKAGES, taking(1, 1, _specifications_manifest), Level.LITERAL),
    "packages->manifest": Known(_PROFILES, taking(1, 1, _packages_manifest)),
    "concatenate-manifests": Known(_PROFILES, taking(1, 1, _concatenate)),
    "package->development-manifest": Known(_PROFILES, taking(1, 1, _development)),
    "package->manifest-entry": Known(_PROFILES, taking(1, 2, _manifest_entry)),
    "manifest": Known(_PROFILES, taking(0, 1, _manifest)),
    "manifest-entries": Known(_PROFILES, taking(1, 1, _manifest_entries)),
    "options->transformation": Known((("guix", "transformations"),), taking(1, 1, _transformation), Level.VARIABLES),
}
"""By their names; each with the modules that have it."""

REFERENCE: Mapping[str, Special] = {"@": Special((("guile",),), _variable, Level.VARIABLES)}
