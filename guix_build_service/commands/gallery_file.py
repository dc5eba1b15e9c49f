"""A gallery: a YAML file of the environments that a hub is to have.

::

    defaults:
      visibility: everyone
    environments:
      - repo: https://codeberg.org/somebody/analysis
        ref: main
        name: Plots
        description: Draws plots.

An entry takes what the API takes: ``repo``, ``ref``, ``subdir``, ``name``, ``description``, ``visibility``, ``groups``,
``memory`` (also as ``4G``) and ``cpu``; ``defaults`` holds for entries that do not say otherwise.  Everything that cannot be
used is told with its line, all of it at once.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml
from pydantic import ValidationError

from guix_build_service.commands.outcomes import CommandMisused
from guix_build_service.commands.terminal import amount
from guix_build_service.model.asked_for import new_environment
from guix_build_service.model.environments import NewEnvironment, Person
from guix_build_service.providers import read
from guix_build_service.web.schemas.environments import EnvironmentRequest
from guix_environment.errors import GuixSpawnerError

LARGEST_FILE = 1024 * 1024
"""Bytes."""

FIELDS = tuple(name for name in EnvironmentRequest.model_fields if name != "credentials")
_DEFAULTS = frozenset(FIELDS) - {"repo", "name"}


@dataclass(frozen=True, slots=True)
class GalleryEntry:
    """One environment that is to be there."""

    line: int
    request: EnvironmentRequest
    """In it are set those fields alone that the file says something about."""
    place: tuple[str, str, str]
    """Repository, ref and folder in the spelling that the service has for them: an owner has one environment of each."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that cannot be used."""

    line: int
    message: str


class GalleryUnusable(CommandMisused):
    """A gallery with something in it that cannot be used; nothing of it was done."""

    code = "gallery-unusable"

    def __init__(self, file: str, problems: list[Problem]) -> None:
        ordered = sorted(problems, key=lambda problem: problem.line)
        super().__init__(
            f"{file} cannot be used, so nothing was done: "
            + "; ".join(f"line {each.line}: {each.message}" for each in ordered),
            hint="The reference of the command line has an example.",
            details={"file": file, "problems": [{"line": each.line, "message": each.message} for each in ordered]},
        )


def read_gallery(text: str, file: str) -> tuple[GalleryEntry, ...]:
    """Return the entries in TEXT, which FILE holds.  Raises `GalleryUnusable` with everything that is wrong."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise GalleryUnusable(file, [Problem(line, f"this is not YAML: {error.problem}")]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise GalleryUnusable(file, [Problem(1, "this is not YAML")]) from error
    reader = _Reader()
    entries = tuple(reader.entries(root))
    if reader.problems:
        raise GalleryUnusable(file, reader.problems)
    return entries


class _Reader:
    """Goes through the nodes of a file and gathers what is wrong in it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def entries(self, root: yaml.Node | None) -> Iterator[GalleryEntry]:
        """Yield the entries below ROOT that can be used."""
        top = self._fields(root, {"defaults", "environments"}, "the file")
        if "environments" not in top and not self.problems:
            self._wrong(root, "the file must have environments, a list")
        defaults: dict[str, object] = {}
        if "defaults" in top:
            defaults = self._values(self._fields(top["defaults"], _DEFAULTS, "defaults"))
        listed = top.get("environments")
        if listed is not None and not isinstance(listed, yaml.SequenceNode):
            self._wrong(listed, "environments must be a list: each entry begins with a dash")
        known: dict[tuple[str, str, str], int] = {}
        for node in listed.value if isinstance(listed, yaml.SequenceNode) else ():
            entry = self._entry(node, defaults)
            if entry is None:
                continue
            if entry.place in known:
                self._wrong(node, f"this is the same repository, ref and folder as in line {known[entry.place]}")
            known.setdefault(entry.place, entry.line)
            yield entry

    def _entry(self, node: yaml.Node, defaults: Mapping[str, object]) -> GalleryEntry | None:
        before = len(self.problems)
        nodes = self._fields(node, FIELDS, "an entry")
        values = {**defaults, **self._values(nodes)}
        if len(self.problems) > before:
            return None
        try:
            # By way of JSON, whose rules are those of the API itself.
            request = EnvironmentRequest.model_validate_json(json.dumps(values))
            place = read(request.repo)
            if place != type(place)(place.repository):
                self._wrong(nodes["repo"], "repo must be the repository's own address; ref and subdir stand beside it")
                return None
            return GalleryEntry(_line(node), request, _place(request, str(place.repository)))
        except ValidationError as error:
            for each in error.errors(include_url=False, include_context=False, include_input=False):
                name = str(each["loc"][0]) if each["loc"] else ""
                self._wrong(nodes.get(name, node), f"{name}: {each['msg']}")
        except GuixSpawnerError as error:
            self._wrong(nodes.get("repo", node), f"{error.message} {error.hint}".rstrip())
        return None

    def _fields(
        self, node: yaml.Node | None, known: "frozenset[str] | set[str] | tuple[str, ...]", what: str
    ) -> dict[str, yaml.Node]:
        """Return the nodes of the mapping NODE by name; WHAT is what it describes."""
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"{what} must have lines such as “{'environments:' if what == 'the file' else 'ref: main'}”")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in known:
                self._wrong(key, f"{what} has no {str(name)[:40]!r}; it may have {', '.join(sorted(known))}")
            elif name in found:
                self._wrong(key, f"{name} is there twice")
            else:
                found[name] = value
        return found

    def _values(self, nodes: Mapping[str, yaml.Node]) -> dict[str, object]:
        """Return what NODES, the fields of an entry, hold."""
        found: dict[str, object] = {}
        for name, node in nodes.items():
            if isinstance(node, yaml.SequenceNode) and name == "groups":
                found[name] = [self._scalar(name, each) for each in node.value]
            elif isinstance(node, yaml.ScalarNode):
                found[name] = self._scalar(name, node)
            else:
                self._wrong(node, f"{name} must be {'a list of names' if name == 'groups' else 'one value'}")
        return found

    def _scalar(self, name: str, node: yaml.Node) -> object:
        """Return the one value that NODE has for the field NAME."""
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(node, f"{name} must be a list of names")
            return None
        kind = node.tag.rpartition(":")[2]
        try:
            if name == "memory":
                return amount(node.value)
            if name == "cpu":
                return float(node.value)
        except ValueError:
            self._wrong(node, f"{name} must be {'bytes such as 4G' if name == 'memory' else 'a number of cores'}")
            return None
        if kind != "str":
            self._wrong(node, f'{name} must be text: write it in quotation marks, "{node.value[:40]}"')
        return node.value

    def _wrong(self, node: yaml.Node | None, message: str) -> None:
        self.problems.append(Problem(_line(node), message))


def _place(request: EnvironmentRequest, repository: str) -> tuple[str, str, str]:
    wanted = new_environment(NewEnvironment(repository, request.ref, request.subdir), Person(""))
    return str(wanted.repository), wanted.ref, wanted.subdirectory


def _line(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node is not None else 1
