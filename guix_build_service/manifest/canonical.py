"""What Guix gets: a list of packages, and the one manifest file that says the same."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby

from guix_build_service.manifest.modules import DEFAULT, Import
from guix_build_service.manifest.syntax import Position
from guix_environment.identifiers import StorePath, VariableName

SPECIFICATION = re.compile(
    r"[A-Za-z0-9+][A-Za-z0-9+._-]{0,127}(?:@[A-Za-z0-9][A-Za-z0-9+._~-]{0,63})?(?::[a-z0-9][a-z0-9-]{0,31})?"
)
"""The form of a package's specification: ``name``, ``name@version``, ``name:output`` (`guix package`, "Invoking")."""

VARIABLE = re.compile(r"[A-Za-z0-9%+*][A-Za-z0-9%+*<>=?!/._:-]{0,127}")
"""The form of a variable's name, narrower than Scheme's."""


_TRANSFORMATIONS = Import(("guix", "transformations"))
_DERIVATIONS = (Import(("guix", "derivations")), Import(("guix", "search-paths")))
_NEEDED = (Import(("guix", "profiles")), Import(("gnu", "packages")))


class Kind(StrEnum):
    """What of a package is meant."""

    PACKAGE = "package"
    """The package."""
    DEVELOPMENT = "development"
    """All that is needed to build it."""


class Named(StrEnum):
    """By what a package is named."""

    SPECIFICATION = "specification"
    """By its name, and perhaps a version and an output."""
    VARIABLE = "variable"
    """By a variable of Guix's own modules that holds it."""
    LIST = "list"
    """With others, by a variable of Guix's own modules that holds a list of packages."""
    NAMES = "names"
    """With others, by a variable of such a module that holds a list of specifications."""
    DERIVATION = "derivation"
    """By how it is built, as only the manifest has it."""


@dataclass(frozen=True, slots=True)
class SearchPath:
    """A variable that a package has a profile set (``guix/search-paths.scm``, ``<search-path-specification>``)."""

    variable: VariableName
    files: tuple[str, ...]
    separator: str | None
    kind: str
    pattern: str | None

    def expression(self) -> str:
        """Return the Scheme expression for it."""
        files = " ".join(quoted(file) for file in self.files)
        words = [quoted(self.variable), f"({files})", _or_false(self.separator), self.kind, _or_false(self.pattern)]
        return f"(sexp->search-path-specification '({' '.join(words)}))"


@dataclass(frozen=True, slots=True)
class Definition:
    """How a package is built that only the manifest has."""

    derivation: StorePath
    search_paths: tuple[SearchPath, ...]
    propagated: "tuple[Entry, ...]"
    """What comes into a profile with it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest."""

    specification: str
    """The specification, or the variable's name."""
    kind: Kind = Kind.PACKAGE
    named: Named = Named.SPECIFICATION
    module: tuple[str, ...] = ()
    """The module that a variable is taken from; empty for the modules that the manifest uses."""
    output: str = ""
    """The output, where the specification does not say it; empty for the package's own."""
    transformations: tuple[tuple[tuple[str, str], ...], ...] = ()
    """What is changed about the package: options of Guix and their values, the first group first."""
    made: tuple[int, ...] = ()
    """Which transformations made it, while a manifest is read: Guix tells packages apart by that."""
    part: int = 0
    """Which of the manifests that were put together it is of; Guix drops repetitions within each."""
    merged: bool = True
    """Whether Guix drops repetitions of it."""
    place: Position | None = field(default=None, compare=False)
    definition: Definition | None = None
    """How it is built, where only the manifest has it."""

    @property
    def name(self) -> str:
        """The package's name, without version and output; for a variable its own, which is nearly always the same."""
        return (
            re.split(r"[@:]", self.specification, maxsplit=1)[0]
            if self.named in {Named.SPECIFICATION, Named.DERIVATION}
            else self.specification
        )

    @property
    def shown(self) -> str:
        """The package as people write it, with its output."""
        return f"{self.specification}:{self.output}" if self.output else self.specification

    def expression(self) -> str:
        """Return the Scheme expression for the package itself, without its output."""
        if self.named is Named.SPECIFICATION:
            text = f'(specification->package "{self.specification}")'
        else:
            text = f"(@ ({' '.join(self.module)}) {self.specification})" if self.module else self.specification
        for options in self.transformations:
            pairs = " ".join(f"({name} . {quoted(value)})" for name, value in options)
            text = f"((options->transformation '({pairs})) {text})"
        return text

    def entry(self) -> str:
        """Return the Scheme expression for the entry of a manifest that it is, with what it propagates."""
        if self.definition is None:
            return f"(package->manifest-entry {self.expression()} {quoted(self.output or 'out')})"
        name, _, version = self.specification.partition("@")
        parts = [
            f"(name {quoted(name)})",
            f"(version {quoted(version)})",
            f"(output {quoted(self.output or 'out')})",
            f"(item (read-derivation-from-file {quoted(self.definition.derivation)}))",
            f"(search-paths (list {' '.join(path.expression() for path in self.definition.search_paths)}))",
            f"(dependencies (list {' '.join(entry.entry() for entry in self.definition.propagated)}))",
            # Such packages may be together with variants of themselves, as those of other development manifests.
            *(["(properties '((development . #t)))"] if self.kind is Kind.DEVELOPMENT else []),
        ]
        return f"(manifest-entry {' '.join(parts)})"

    @property
    def plain(self) -> bool:
        """Whether a specification says everything."""
        return self.named is Named.SPECIFICATION and not self.transformations and self.merged


@dataclass(frozen=True, slots=True)
class PackageList:
    """The packages of an environment, in the order of the manifest."""

    entries: tuple[Entry, ...]
    added: tuple[str, ...] = field(default=())
    """Those among the entries that the manifest does not name: kernels."""
    imports: tuple[Import, ...] = field(default=())
    """Where Guix looks up variables, the last that has one first, and what else it must have; empty where that is usual."""

    def specifications(self) -> tuple[str, ...]:
        """Return the specifications of all packages, without those meant for development."""
        return tuple(entry.shown for entry in self.entries if entry.kind is Kind.PACKAGE)

    def named(self) -> "PackageList":
        """Return the packages that the manifest itself names."""
        return replace(
            self, entries=tuple(entry for entry in self.entries if entry.specification not in self.added), added=()
        )

    def manifest(self) -> str:
        """Return the manifest file that names exactly these packages: always the same text for the same list."""
        groups = groupby(self.entries, key=lambda entry: (entry.part, entry.kind, entry.merged))
        parts = [part for _, entries in groups for part in _parts(tuple(entries))] or [_parts(())[0]]
        text = parts[0] if len(parts) == 1 else "(concatenate-manifests (list\n  {}))".format("\n  ".join(parts))
        return "".join(f"{line}\n" for line in [*self._modules(), text])

    def _modules(self) -> list[str]:
        looked_up = any(
            entry.named in {Named.VARIABLE, Named.LIST, Named.NAMES} and not entry.module for entry in self.entries
        )
        imports = self.imports if looked_up or self.imports else DEFAULT
        if any(entry.transformations for entry in self.entries) and _TRANSFORMATIONS not in imports:
            imports = (*imports, _TRANSFORMATIONS)
        if any(entry.definition for entry in self.entries):
            imports = (*imports, *(item for item in _DERIVATIONS if item not in imports))
        usual = len(DEFAULT)
        if imports[:usual] == DEFAULT:
            return [f"(use-modules {' '.join(item.text() for item in imports[usual:])})"] if imports[usual:] else []
        needed = tuple(item for item in _NEEDED if item not in imports)
        return [f"(define-module (manifest) {' '.join(f'#:use-module {item.text()}' for item in (*needed, *imports))})"]


def quoted(text: str) -> str:
    """Return TEXT as Scheme writes a string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _or_false(text: str | None) -> str:
    return "#f" if text is None else quoted(text)


def _parts(entries: tuple[Entry, ...]) -> list[str]:
    """Return the manifests for ENTRIES, which belong together."""
    if all(entry.plain and entry.kind is Kind.PACKAGE for entry in entries):
        packages = "\n        ".join(f'"{entry.specification}"' for entry in entries)
        return [f"(specifications->manifest\n  (list {packages}))"]
    if entries[0].kind is Kind.DEVELOPMENT and entries[0].definition is None:
        return [f"(package->development-manifest {entry.expression()})" for entry in entries]
    if entries[0].merged:
        return [f"(packages->manifest\n  (append {' '.join(_lists(entries))}))"]
    lines = [entry.entry() for entry in entries]
    return ["(manifest\n  (list {}))".format("\n        ".join(lines))]


def _lists(entries: tuple[Entry, ...]) -> list[str]:
    lists = []
    for whole, group in groupby(entries, key=lambda entry: entry.named in {Named.LIST, Named.NAMES}):
        if whole:
            lists += [_list(entry) for entry in group]
        else:
            lists.append("(list {})".format("\n        ".join(_item(entry) for entry in group)))
    return lists


def _list(entry: Entry) -> str:
    expression = entry.expression()
    return f"(specifications->packages {expression})" if entry.named is Named.NAMES else expression


def _item(entry: Entry) -> str:
    name, _, output = entry.specification.partition(":") if entry.named is Named.SPECIFICATION else ("", "", "")
    if output:
        return f"(list {replace(entry, specification=name).expression()} {quoted(output)})"
    return f"(list {entry.expression()} {quoted(entry.output)})" if entry.output else entry.expression()


def environment_key(packages: PackageList, guix: str, system: str, recipe: int) -> str:
    """Return the name of the environment that PACKAGES make with the Guix whose identity is GUIX, on SYSTEM.

    Two requests with the same key get the same profile, whatever their repositories are.
    """
    content = "\0".join(["environment", str(recipe), guix, system, packages.manifest()])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def request_key(repository: str, commit: str, subdirectory: str, recipe: int, groups: Collection[str] = ()) -> str:
    """Return the name of what a request asks for: equal requests in flight are one build.

    GROUPS are those by which whoever asks may have the manifest run, or what it makes built: what becomes of such a request
    is not for those who may not, or may less.
    """
    content = "\0".join(["request", str(recipe), repository, commit, subdirectory, *sorted(groups)])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
