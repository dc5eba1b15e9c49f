"""Understand the forms by which manifests name packages, and refuse all others with the reason.

Which forms, and how often they are met, is from a survey of 150 manifests; what they mean is as in Guix 1.5.0.  Each lies in
the module that is named for what it is about; here they are put together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from guix_build_service.manifest.canonical import Entry, Named, PackageList
from guix_build_service.manifest.channel_records import CHANNEL_RECORDS
from guix_build_service.manifest.evaluation import Evaluation, Level, Vocabulary
from guix_build_service.manifest.files import FILES
from guix_build_service.manifest.forms import SPECIAL, run
from guix_build_service.manifest.lists import LISTS
from guix_build_service.manifest.matching import MATCHING
from guix_build_service.manifest.modules import DEFAULT, Import
from guix_build_service.manifest.neighbours import NeighbourNeeded, Neighbours
from guix_build_service.manifest.reader import read_all, unreadable
from guix_build_service.manifest.searching import SEARCHING
from guix_build_service.manifest.specifications import REFERENCE, SPECIFICATIONS
from guix_build_service.manifest.syntax import Position
from guix_build_service.manifest.texts import TEXTS
from guix_build_service.manifest.values import EXAMPLE, NAME_THEM, Manifest, Value, kind_of

__all__ = ["EXAMPLE", "VOCABULARY", "Level", "NeighbourNeeded", "Reading", "read_manifest"]

VOCABULARY: Vocabulary = {
    **SPECIAL,
    **MATCHING,
    **FILES,
    **LISTS,
    **SEARCHING,
    **TEXTS,
    **SPECIFICATIONS,
    **REFERENCE,
    **CHANNEL_RECORDS,
}
"""All that is understood in a manifest."""


ALWAYS = frozenset(module for known in VOCABULARY.values() for module in known.modules) | {("guix",), ("guix", "gexp")}
"""Modules that each Guix has."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a manifest says."""

    packages: PackageList
    level: Level
    files: tuple[str, ...]
    """Other files of the repository that it loads."""


def read_manifest(text: str, *, file: str = "", files: Mapping[str, str | None] | None = None, system: str = "") -> Reading:
    """Return what the manifest TEXT says, which is FILE of its repository.

    FILES are the texts of other files by their names from the repository's top, None for what is no regular file; SYSTEM is
    what Guix calls the kind of machine that it is for.  Raises `ManifestUnreadable` with file, line and column for what is
    not Scheme and for forms that are not known here, and `NeighbourNeeded` for a file that FILES lacks.
    """
    evaluation = Evaluation(VOCABULARY, neighbours=Neighbours(files or {}), system=system)
    place, value = evaluated(evaluation, text, file)
    if not isinstance(value, Manifest):
        raise unreadable(place, f"the file ends with {_ending(value)}, not with a manifest.", hint=NAME_THEM)
    parts = [part for part in value.parts if part]
    places = evaluation.places
    entries = tuple(
        replace(entry, made=(), part=number, place=places.get(entry.specification, entry.place))
        for number, part in enumerate(parts)
        for entry in part
    )
    packages = PackageList(entries, imports=_imports(entries, evaluation.imports))
    return Reading(packages, evaluation.level, tuple(dict.fromkeys(evaluation.neighbours.loaded)))


def _imports(entries: tuple[Entry, ...], imports: tuple[Import, ...]) -> tuple[Import, ...]:
    """Return those of the modules IMPORTS that Guix must look at to tell which packages ENTRIES are, or that there are none.

    Modules in which nothing is looked up matter as well: where Guix lacks one, the manifest does not load.
    """
    if any(entry.named is not Named.SPECIFICATION and not entry.module for entry in entries):
        return imports
    doubtful = tuple(item for item in imports if item.name not in ALWAYS or item.selected is not None)
    return (*DEFAULT, *doubtful) if doubtful else ()


def evaluated(evaluation: Evaluation, text: str, file: str) -> tuple[Position, Value]:
    """Return the value of the last form of TEXT, and where that stands."""
    data = read_all(text, file=file)
    place = data[-1].position if data else Position(1, 1, file)
    try:
        value = run(evaluation, data, evaluation.top)
    except RecursionError:
        raise unreadable(place, "its procedures call each other too deeply.", hint=NAME_THEM) from None
    return place, value


def _ending(value: Value) -> str:
    said = kind_of(value)
    return "nothing" if said == "something else" else said
