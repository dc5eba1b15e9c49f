"""Reads what the Scheme side prints about packages and their store paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

STORE = "/gnu/store/"
HASH_LENGTH = 32


@dataclass(frozen=True)
class Output:
    """One output of one Guix package, and the store path that Guix computes for it."""

    name: str
    version: str
    output: str
    path: str

    @property
    def base(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def key(self) -> str:
        """How the catalogue names it."""
        return self.name if self.output == "out" else f"{self.name}:{self.output}"


@dataclass(frozen=True)
class Wanted:
    """All outputs that are to be valid, and the specifications that Guix has no package for."""

    outputs: tuple[Output, ...]
    unknown: tuple[str, ...]
    propagated: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of packages by name: what every profile with them holds, too."""


def split_base(base: str, output: str) -> tuple[str, str]:
    """Name and version from the last part of a store path, such as ``HASH-glib-2.83.3-bin`` with output ``bin``."""
    text = base[HASH_LENGTH + 1 :]
    if output != "out":
        text = text.removesuffix(f"-{output}")
    # As Guix does it: the version begins at the first dash that a digit follows.
    for position, character in enumerate(text):
        if character == "-" and text[position + 1 : position + 2].isdigit():
            return text[:position], text[position + 1 :]
    return text, ""


def read_wanted(text: str) -> Wanted:
    """Parse the lines of ``plan.scm``."""
    outputs: dict[str, Output] = {}
    unknown: list[str] = []
    propagates: dict[str, set[str]] = {}
    for line in text.splitlines():
        match line.split(" "):
            case ["package", name, version, output, path, _]:
                outputs[path] = Output(name, version, output, path)
            case ["needed", output, path] if path not in outputs:
                name, version = split_base(PurePosixPath(path).name, output)
                outputs[path] = Output(name, version, output, path)
            case ["propagates", name, other]:
                propagates.setdefault(name, set()).add(other)
            case ["unknown", specification]:
                unknown.append(specification)
    return Wanted(tuple(outputs.values()), tuple(unknown), {name: _reached(name, propagates) for name in propagates})


def _reached(name: str, propagates: Mapping[str, set[str]]) -> frozenset[str]:
    """Return what the package NAME propagates, and what that propagates in turn."""
    found: set[str] = set()
    queue = [name]
    while queue:
        others = propagates.get(queue.pop(), set()) - found
        found |= others
        queue += others
    return frozenset(found)
