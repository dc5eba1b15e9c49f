"""What Guix gets: a list of packages, and the one manifest file that says the same."""

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum

SPECIFICATION = re.compile(
    r"[A-Za-z0-9+][A-Za-z0-9+._-]{0,127}(?:@[A-Za-z0-9][A-Za-z0-9+._~-]{0,63})?(?::[a-z0-9][a-z0-9-]{0,31})?"
)
"""The form of a package's specification: ``name``, ``name@version``, ``name:output`` (`guix package`, "Invoking")."""


class Kind(StrEnum):
    """What of a package is meant."""

    PACKAGE = "package"
    """The package."""
    DEVELOPMENT = "development"
    """All that is needed to build it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest."""

    specification: str
    kind: Kind = Kind.PACKAGE

    @property
    def name(self) -> str:
        """The package's name, without version and output."""
        return re.split(r"[@:]", self.specification, maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class PackageList:
    """The packages of an environment, each once, in the order of the manifest."""

    entries: tuple[Entry, ...]
    added: tuple[str, ...] = field(default=())
    """Those among the entries that the manifest does not name: kernels."""

    def specifications(self) -> tuple[str, ...]:
        """Return the specifications of all packages, without those meant for development."""
        return tuple(entry.specification for entry in self.entries if entry.kind is Kind.PACKAGE)

    def named(self) -> "PackageList":
        """Return the packages that the manifest itself names."""
        return PackageList(tuple(entry for entry in self.entries if entry.specification not in self.added))

    def manifest(self) -> str:
        """Return the manifest file that names exactly these packages: always the same text for the same list."""
        packages = "\n        ".join(f'"{specification}"' for specification in self.specifications())
        plain = f"(specifications->manifest\n  (list {packages}))"
        development = [entry.specification for entry in self.entries if entry.kind is Kind.DEVELOPMENT]
        if not development:
            return plain + "\n"
        others = "\n  ".join(f'(package->development-manifest (specification->package "{name}"))' for name in development)
        return f"(concatenate-manifests (list\n  {plain}\n  {others}))\n"


def environment_key(packages: PackageList, guix: str, system: str, recipe: int) -> str:
    """Return the name of the environment that PACKAGES make with the Guix whose identity is GUIX, on SYSTEM.

    Two requests with the same key get the same profile, whatever their repositories are.
    """
    content = "\0".join(["environment", str(recipe), guix, system, packages.manifest()])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def request_key(repository: str, commit: str, subdirectory: str, recipe: int) -> str:
    """Return the name of what a request asks for: equal requests in flight are one build."""
    content = "\0".join(["request", str(recipe), repository, commit, subdirectory])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
