"""Say in a person's words what is wrong with the packages that a manifest names."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from guix_build_service.manifest.canonical import Entry, PackageList
from guix_environment.errors import PackagesConflict, PackagesUnknown

MOST_EXPLAINED = 20
"""Unknown names for which nearest names are looked for: each takes a while."""

_PREFIXES = ("python-", "r-", "julia-", "perl-", "ruby-", "ghc-", "emacs-")


@dataclass(frozen=True, slots=True)
class Problem:
    """A specification that Guix has nothing for."""

    specification: str
    kind: str
    """What of it there is not: ``name``, ``version``, ``output``, or ``variable`` or ``module`` of Guix's own code."""
    alternatives: tuple[str, ...]
    """For a version or an output, those that there are."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One of two packages that cannot be in one profile."""

    name: str
    version: str
    output: str
    through: tuple[str, ...]
    """The packages that bring it along, the nearest first; empty for one that the manifest names itself."""

    def __str__(self) -> str:
        """Return it as people read it."""
        brought = f" (which {self.through[-1]} needs)" if self.through else " (which the manifest names)"
        return f"{self.name} {self.version}{brought}"


def nearest(name: str, names: Sequence[str], count: int = 3) -> list[str]:
    """Return up to COUNT of NAMES that may have been meant by NAME, the likeliest first."""
    wanted = name.lower().replace("_", "-").replace(".", "-")
    known = frozenset(names)
    likely = [candidate for candidate in (wanted, *(f"{prefix}{wanted}" for prefix in _PREFIXES)) if candidate in known]
    similar = difflib.get_close_matches(wanted, names, n=count, cutoff=0.75)
    if not likely and not similar:
        similar = [candidate for candidate in names if wanted in candidate.split("-")][:count]
    return list(dict.fromkeys([*likely, *similar]))[:count]


def unknown(
    problems: Sequence[Problem], names: Sequence[str], added: Sequence[str] = (), *, whose: str = "This hub's Guix"
) -> PackagesUnknown:
    """Return the error that names all PROBLEMS and what to write instead.  Takes a while: call it in a thread."""
    sentences, described = [], []
    for number, problem in enumerate(problems):
        if problem.kind == "module":
            near = []
            sentences.append(f"the module {problem.specification} (there is none of that name)")
        elif problem.kind in {"name", "variable"}:
            near = nearest(Entry(problem.specification).name, names) if number < MOST_EXPLAINED else []
            meant = f" (perhaps {_either(near)}?)" if near else ""
            what = "the variable " if problem.kind == "variable" else ""
            sentences.append(f"{what}{problem.specification}{meant}")
        else:
            near = list(problem.alternatives)
            sentences.append(f"{problem.specification} (there is {problem.kind} {_either(near[:8])})")
        described.append({"specification": problem.specification, "missing": problem.kind, "nearest": near})
    what = "a package" if len(problems) == 1 else f"{len(problems)} packages"
    ours = [problem.specification for problem in problems if problem.specification in added]
    hint = "Correct the names in the manifest. All packages: https://packages.guix.gnu.org/"
    if ours:
        hint += f" ({', '.join(ours)} was added for the notebooks' kernel.)"
    return PackagesUnknown(
        f"{whose} does not have {what} of the manifest: {'; '.join(sentences)}.",
        hint=hint,
        details={"packages": described},
    )


def conflicting(first: Occurrence, second: Occurrence, packages: PackageList) -> PackagesConflict:
    """Return the error that says which two packages are at odds and what to write instead."""
    named, other = (second, first) if first.through and not second.through else (first, second)
    details = {
        "conflict": [
            {"name": item.name, "version": item.version, "output": item.output, "through": list(item.through)}
            for item in (first, second)
        ]
    }
    message = f"Two packages cannot be together: {first} and {second}."
    hint = _way_out(named, other, packages)
    ours = [name for name in packages.added if name in {*first.through, *second.through}]
    if ours:
        hint += f" ({', '.join(ours)} was added for the notebooks' kernel.)"
    return PackagesConflict(message, hint=hint, details=details)


def _way_out(named: Occurrence, other: Occurrence, packages: PackageList) -> str:
    if not named.through and other.through:
        written = next((text for text in packages.specifications() if Entry(text).name == named.name), named.name)
        return (
            f'Remove "{written}" from the manifest: {other.through[-1]} brings {other.name} {other.version} along, '
            f'which then is the one that is used. Or write "{named.name}@{other.version}" instead.'
        )
    if named.through and other.through:
        return f"Remove either {named.through[-1]} or {other.through[-1]}; each needs a {named.name} of its own."
    return f"Keep only one of the two lines for {named.name}."


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
