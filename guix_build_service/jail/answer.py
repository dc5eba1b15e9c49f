"""Read what came of a manifest that was run: text from a program that may say anything."""

import re
from collections.abc import Sequence
from dataclasses import replace

from guix_build_service.manifest.canonical import SPECIFICATION, VARIABLE, Entry, Kind, Named, PackageList
from guix_build_service.manifest.reader import read_all
from guix_build_service.manifest.specifications import MOST_PACKAGES
from guix_build_service.manifest.syntax import Datum, Form, Symbol, Text
from guix_environment.errors import EvaluationFailed, ManifestUnreadable, PackagesDefined

MARK = "\x1e"
"""What stands before the answer; all else is what the manifest itself printed."""

_SAID = 600
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9+-]{0,63}")
_OUTPUT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def packages(printed: bytes) -> PackageList:
    """Return the packages that PRINTED, all of what a run manifest printed, tells of.

    Raises `EvaluationFailed` where it tells of none, and `PackagesDefined`.
    """
    _, mark, answer = printed.decode(errors="replace").rpartition(MARK)
    if not mark:
        raise EvaluationFailed(
            f"The manifest could not be run: {in_one_line(answer) or 'it ended without a word'}.",
            hint=HINT,
        )
    return _read(answer)


HINT = "It is run without network, daemon and other programs. A manifest that names its packages as strings needs none."


def _read(answer: str) -> PackageList:
    try:
        data = read_all(answer, largest=len(answer.encode()), most=40 * MOST_PACKAGES)
    except ManifestUnreadable as error:
        raise _strange() from error
    match data:
        case (Form(items=(Symbol(name="packages"), *items), tail=None),):
            pass
        case (Form(items=(Symbol(name="no-manifest"),)),):
            raise EvaluationFailed("The manifest's last expression is no manifest.", hint=HINT)
        case _:
            raise _strange()
    if len(items) > MOST_PACKAGES:
        raise EvaluationFailed(f"The manifest names more than {MOST_PACKAGES} packages.")
    entries = [entry(item) for item in items]
    own = [name for name, entry in entries if entry is None]
    if own:
        raise PackagesDefined(
            f"The manifest makes packages of its own: {', '.join(own[:10])}.",
            hint="Name packages that Guix has. Others are built where the administrator allows it: build_definitions_of.",
            details={"packages": own},
        )
    return PackageList(tuple(entry for _, entry in entries if entry is not None))


def entry(datum: Datum) -> tuple[str, Entry | None]:
    """Return the name of the package that DATUM tells of, and its entry, or None where only the manifest has it."""
    match datum:
        case Form(items=(Text(value=name), Text(value=version), Text(value=output), *means), tail=None):
            return _name(name, version), _found(name, version, output, means)
        case Form(items=(Text(value=name), Text(value=version), Symbol(name="development"), *means), tail=None):
            found = _found(name, version, "out", means)
            return _name(name, version), found and replace(found, kind=Kind.DEVELOPMENT, merged=True)
    raise _strange()


def _name(name: str, version: str) -> str:
    shown = f"{name:.80}@{version:.40}"
    return shown if shown.isprintable() else "?"


def _found(name: str, version: str, output: str, means: Sequence[Datum]) -> Entry | None:
    if not _OUTPUT.fullmatch(output):
        return None
    shown = "" if output == "out" else output
    match means:
        case [Symbol(name="specification")]:
            specification = f"{name}@{version}"
            if SPECIFICATION.fullmatch(specification) and ":" not in specification:
                return Entry(specification, output=shown, merged=False)
        case [Form(items=module, tail=None), Symbol(name=variable)]:
            names = tuple(part.name for part in module if isinstance(part, Symbol) and _PART.fullmatch(part.name))
            if VARIABLE.fullmatch(variable) and len(names) == len(module) and names[:1] == ("gnu",):
                return Entry(variable, named=Named.VARIABLE, module=names, output=shown, merged=False)
    return None


def _strange() -> EvaluationFailed:
    return EvaluationFailed("What came of running the manifest cannot be understood.", hint=HINT)


def in_one_line(text: str) -> str:
    """Return the end of TEXT in one line, without what terminals obey."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(plain.split())[-_SAID:]
