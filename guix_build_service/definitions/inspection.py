"""Read what would be built for a manifest, before the daemon hears of it, and refuse what is not to be built.

A build whose outcome is not known beforehand runs without network in the daemon's own isolation, as that of every package of
Guix's: of it only the form is looked at.  One whose outcome's hash is known gets the network; of those that Guix does not
have itself only plain downloads from hosts that the administrator names are let through, and none that runs a program.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from guix_build_service.definitions.derivation import Derivation, read_derivation
from guix_build_service.definitions.recorder import AddedText, Recorded, foreign_item
from guix_build_service.definitions.wire import too_much
from guix_build_service.git.choice import is_matched
from guix_build_service.manifest.reader import read_all
from guix_build_service.manifest.syntax import Form, Text
from guix_environment.errors import DefinitionsRefused, InvalidInput, ManifestUnreadable
from guix_environment.identifiers import StorePath

MOST_DERIVATIONS = 2000
LARGEST_DERIVATION = 1024 * 1024
"""Both of those that Guix does not have itself."""

_MOST_OUTPUTS = 32
_DOWNLOADS = frozenset({"builtin:download", "builtin:git-download"})
_MIRRORS = ("mirrors", "content-addressed-mirrors", "disarchive-mirrors")
_OF_DOWNLOADS = frozenset(
    {*_MIRRORS, "url", "commit", "recursive?", "executable", "impureEnvVars", "preferLocalBuild", "out"},
)
_FROM_THE_DAEMON = frozenset({"http_proxy", "https_proxy", "LC_ALL", "LC_MESSAGES", "LANG", "COLUMNS"})
"""Variables that downloads get of the daemon's (``guix/download.scm``, ``built-in-download``)."""

_URL = re.compile(r"https://([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::443)?/[!#-\[\]-~]*")
_MIRROR = re.compile(r"(mirror://[a-z0-9][a-z0-9.-]{0,63})/[!#-\[\]-~]*")
"""What stands for any of the servers that Guix lists by that name (``%mirrors`` in ``guix/download.scm``)."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be built."""

    system: str
    """The kind of machine, such as ``x86_64-linux``."""
    hosts: tuple[str, ...] = ()
    """Whence anything may be downloaded, with ``*`` for anything."""


class Graph:
    """What was recorded, as the derivations that it consists of."""

    def __init__(self, recorded: Recorded) -> None:
        """Read all derivations of RECORDED.  Raises `DefinitionsRefused` for one that is none.  Takes a while."""
        self.items = recorded.items
        self.derivations = {
            path: _read(path, item.content)
            for path, item in recorded.items.items()
            if path.endswith(".drv") and isinstance(item, AddedText)
        }

    def closure(self, paths: Collection[StorePath]) -> frozenset[StorePath]:
        """Return all that those of PATHS which were recorded refer to, these included."""
        found: set[StorePath] = set()
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            item = self.items.get(path)
            if item is not None and path not in found:
                found.add(path)
                waiting += item.references if isinstance(item, AddedText) else ()
        return frozenset(found)

    def names(self) -> tuple[str, ...]:
        """Return the names of all derivations, without that ending."""
        return tuple(sorted({path.name.removesuffix(".drv") for path in self.derivations}))


@dataclass(frozen=True, slots=True)
class Inspected:
    """What passed."""

    additions: tuple[StorePath, ...]
    """All that must be added to the store, in order."""
    new: tuple[str, ...]
    """The names of what is built that Guix does not have itself."""
    hosts: frozenset[str]
    """Whence something is downloaded for it."""


def inspect(graph: Graph, wanted: Collection[StorePath], guixs: Collection[StorePath], allowance: Allowance) -> Inspected:
    """Return what there is to do for WANTED derivations; GUIXS are derivations that Guix itself has.

    Raises `DefinitionsRefused` for what is not to be built.
    """
    for path in wanted:
        if path not in graph.derivations:
            raise foreign_item(path)
    known, needed = graph.closure(guixs), graph.closure(wanted)
    new = [path for path in graph.items if path in needed and path not in known]
    derivations = {path: graph.derivations[path] for path in new if path in graph.derivations}
    if len(derivations) > MOST_DERIVATIONS:
        raise too_much(f"there are more than {MOST_DERIVATIONS} derivations")
    hosts: set[str] = set()
    for path, derivation in derivations.items():
        hosts.update(_Inspection(graph, known, allowance, path, derivation).hosts())
    additions = tuple(path for path in graph.items if path in needed)
    return Inspected(additions, tuple(path.name.removesuffix(".drv") for path in derivations), frozenset(hosts))


def _read(path: StorePath, content: bytes) -> Derivation:
    try:
        return read_derivation(content.decode(errors="surrogateescape"))
    except InvalidInput as error:
        raise _refused(path, "is no derivation that Guix would write") from error


class _Inspection:
    """Of one derivation that Guix does not have itself."""

    def __init__(
        self,
        graph: Graph,
        known: frozenset[StorePath],
        allowance: Allowance,
        path: StorePath,
        derivation: Derivation,
    ) -> None:
        self.graph, self.known, self.allowance = graph, known, allowance
        self.path, self.derivation = path, derivation
        self.variables: Mapping[str, str] = dict(derivation.variables)

    def hosts(self) -> Iterator[str]:
        """Yield whence it is downloaded, if it is.  Raises `DefinitionsRefused`."""
        self.form()
        if self.derivation.fixed or self.derivation.builder.startswith("builtin:"):
            self.download()
            yield from (self.host(address) for address in self._addresses())
        else:
            self.build()

    def form(self) -> None:
        item, derivation = self.graph.items[self.path], self.derivation
        if not isinstance(item, AddedText) or frozenset(item.references) != derivation.references:
            raise self.refused("does not say what it needs")
        if len(item.content) > LARGEST_DERIVATION:
            raise too_much(f"a derivation of more than {LARGEST_DERIVATION // 1024} KiB")
        for reference in item.references:
            if reference not in self.graph.items:
                raise foreign_item(reference)
        if derivation.system != self.allowance.system:
            raise self.refused(f"is for another kind of machine, {derivation.system:.40}")
        if not 1 <= len(derivation.outputs) <= _MOST_OUTPUTS:
            raise self.refused("has no outputs, or too many")
        for path, outputs in derivation.inputs:
            other = self.graph.derivations.get(path)
            if other is None or not {output.name for output in other.outputs} >= set(outputs):
                raise self.refused(f"needs an output of {path.name} that there is not")

    def build(self) -> None:
        """Refuse what a build in the daemon's isolation has no use for."""
        there = list(self._there())
        if not any(self.derivation.builder == path or self.derivation.builder.startswith(f"{path}/") for path in there):
            raise self.refused("is built by a program that is no part of what it needs")
        for name in self.variables:
            if name == "impureEnvVars" or name.startswith("__"):
                raise self.refused(f"sets {name:.40}, by which builds reach what is outside of them")
        for word in self.variables.get("exportReferencesGraph", "").split()[1::2]:
            if word not in there:
                raise self.refused("asks what something refers to that is no part of what it needs")

    def download(self) -> None:
        """Refuse every download but a plain one from a host that is allowed."""
        if self.derivation.builder not in _DOWNLOADS or self.derivation.arguments or self.derivation.inputs:
            raise self.refused("is to be downloaded by a program of its own")
        hashed = [output for output in self.derivation.outputs if output.name == "out" and output.digest]
        if len(hashed) != 1 or len(self.derivation.outputs) != 1:
            raise self.refused("is a download whose content is not said beforehand")
        strange = sorted(self.variables.keys() - _OF_DOWNLOADS)
        if strange or not set(self.variables.get("impureEnvVars", "").split()) <= _FROM_THE_DAEMON:
            raise self.refused("is a download that is to be done in an unusual way")
        if self.variables.get("recursive?", "#f") != "#f":
            raise self.refused("is a Git repository with others in it, which may be anywhere")
        for name in _MIRRORS:
            if name in self.variables and self.variables[name] not in self.known:
                raise self.refused("is a download by way of mirrors that are not Guix's")

    def host(self, address: str) -> str:
        match = _URL.fullmatch(address)
        if match is None and "mirrors" in self.variables:
            # They are Guix's own, see above, and what they give has the hash that is said beforehand.
            match = _MIRROR.fullmatch(address)
        if match is None:
            raise self.refused(f"is to be downloaded from {address!r:.200}, which is no plain https address")
        if not any(is_matched(match[1], host.lower()) for host in self.allowance.hosts):
            raise DefinitionsRefused(
                f"{self._shown} is to be downloaded from {match[1]}, and packages of manifests get nothing from there.",
                hint="Keep it in the repository, or ask the administrator to allow that host: "
                "c.ManifestEvaluation.download_hosts",
                details={"derivation": self._shown, "host": match[1]},
            )
        return match[1]

    def refused(self, reason: str) -> DefinitionsRefused:
        return _refused(self.path, reason)

    @property
    def _shown(self) -> str:
        return self.path.name.removesuffix(".drv")

    def _there(self) -> Iterator[str]:
        """Yield the items that the build sees of itself."""
        yield from self.derivation.sources
        for path, names in self.derivation.inputs:
            yield from (output.path for output in self.graph.derivations[path].outputs if output.name in names)

    def _addresses(self) -> list[str]:
        """Return whence it is downloaded: a string, or a list of strings, as Scheme writes them."""
        try:
            data = read_all(self.variables.get("url", ""))
        except ManifestUnreadable:
            data = ()
        listed = data[0].items if len(data) == 1 and isinstance(data[0], Form) else data
        addresses = [item.value for item in listed if isinstance(item, Text)]
        if not addresses or len(addresses) != len(listed):
            raise self.refused("does not say whence it is downloaded")
        return addresses


def _refused(path: StorePath, reason: str) -> DefinitionsRefused:
    shown = path.name.removesuffix(".drv")
    return DefinitionsRefused(
        f"{shown}, which the manifest's packages need, {reason}.",
        hint="This hub builds packages that are made as Guix makes its own.",
        details={"derivation": shown},
    )
