"""What a person may ask of a session, read from a form, a link or a program's request.

The hub stores a program's request word for word, so nothing of it is believed: what is not of the one known shape is
refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote

from guix_environment.errors import InvalidInput, InvalidOptions
from guix_environment.identifiers import CheckedString, EnvironmentId, VersionId

KNOWN = frozenset({"environment", "version", "memory", "cpu", "path", "urlpath"})
"""Every option there is."""

PRESELECTED = "preselected"
"""A field of the form: the environment that a link named, to which what else it named belongs."""

LONGEST_PATH = 1024
LEAST_MEMORY = 128 * 1024 * 1024
"""Bytes below which JupyterLab does not start."""

_BYTES = re.compile(r"(?P<number>[0-9]{1,15})(?P<unit>[KMGT]?)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_Checked = TypeVar("_Checked", bound=CheckedString)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What somebody asks for; whether they may have it is decided elsewhere."""

    environment: EnvironmentId
    version: VersionId | None = None
    """None for the environment's current one."""
    memory: int | None = None
    """Bytes."""
    cpu: float | None = None
    """Cores."""
    path: str = ""
    """What to open first, below the repository; empty for what the environment says."""
    urlpath: str = ""
    """What to show first instead, below the server's own address, such as ``lab``; ``app`` for the repository's app."""


@dataclass(frozen=True, slots=True)
class Preselection:
    """What a link to the spawn page suggests; nothing starts by it."""

    environment: EnvironmentId | None = None
    version: VersionId | None = None
    path: str = ""
    urlpath: str = ""


def parse_options(given: object) -> SessionOptions:
    """Return GIVEN, the ``user_options`` of a spawn, as what it must be.  Raises `InvalidOptions`."""
    if not isinstance(given, Mapping):
        raise InvalidOptions("The options of a session are an object with the field “environment”.")
    if not given:
        raise InvalidOptions("Choose an environment to start.", hint="The start page lists those you may use.")
    unknown = sorted(str(name)[:40] for name in given if name not in KNOWN)
    if unknown:
        raise InvalidOptions(
            f"A session has no option {', '.join(unknown[:5])}.", hint=f"There are {', '.join(sorted(KNOWN))}."
        )
    version = given.get("version")
    return SessionOptions(
        environment=_identifier(given.get("environment"), EnvironmentId),
        version=None if version is None else _identifier(version, VersionId),
        memory=_memory(given.get("memory")),
        cpu=_cpu(given.get("cpu")),
        path=_path(given.get("path", "")),
        urlpath=_urlpath(given.get("urlpath", "")),
    )


def environment_in(given: object) -> EnvironmentId | None:
    """Return the environment that GIVEN, the ``user_options`` of a spawn, ask for; None where they are not right."""
    try:
        return parse_options(given).environment
    except InvalidOptions:
        return None


def options_from_fields(fields: Mapping[str, Sequence[object]]) -> dict[str, object]:
    """Return the form FIELDS, which arrive as lists of texts, as ``user_options``; empty ones are left out.

    What a link named for one environment is left out when the person chose another.  Nothing is judged here but repeated
    fields: `parse_options` does so for every way that options come in.
    """
    options: dict[str, object] = {}
    for name, values in fields.items():
        if name == "_xsrf":
            continue
        if len(values) > 1:
            raise InvalidOptions(f"The option {name[:40]} was given twice.")
        if values and values[0] != "":
            options[name] = values[0]
    if options.pop(PRESELECTED, options.get("environment")) != options.get("environment"):
        for name in ("version", "path", "urlpath"):
            options.pop(name, None)
    if isinstance(cpu := options.get("cpu"), str):
        try:
            options["cpu"] = float(cpu)
        except ValueError:
            raise InvalidOptions("The number of cores is no number.") from None
    return options


def preselection(arguments: Mapping[str, Sequence[bytes]]) -> Preselection:
    """Return what the query ARGUMENTS of a link to the spawn page suggest; whatever cannot be understood is nothing."""

    def last(name: str) -> str:
        # JupyterHub 6 wants the prefix, JupyterHub 5 knows none.
        values = arguments.get(f"opt-{name}") or arguments.get(name) or [b""]
        return values[-1].decode(errors="replace")

    try:
        environment = EnvironmentId(last("environment"))
        version = VersionId(last("version")) if last("version") else None
        return Preselection(environment, version, _path(last("path")), _urlpath(last("urlpath")))
    except InvalidInput:
        return Preselection()


def _identifier(value: object, kind: type[_Checked]) -> _Checked:
    try:
        if isinstance(value, str):
            return kind(value)
    except InvalidInput:
        pass
    raise InvalidOptions(f"This is not {kind.noun}: {value!r:.60}", hint="The start page lists those you may use.")


def _memory(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and (match := _BYTES.fullmatch(value)):
        value = int(match["number"]) * _UNITS[match["unit"]]
    if not isinstance(value, int) or not LEAST_MEMORY <= value < 2**60:
        raise InvalidOptions(
            "This is not an amount of memory that a session can have.", hint="Write it as 2G or 512M; 128M is the least."
        )
    return value


def _cpu(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidOptions("The number of cores is no number.")
    if not 0 < value <= 4096:  # also false for what is not a number
        raise InvalidOptions("This is not a number of cores that a session can have.")
    return float(value)


def _path(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_PATH:
        raise InvalidOptions("The path to open is too long, or no text.")
    path = value.strip("/")
    if any(part in {"", ".", ".."} for part in path.split("/") if path) or not all(map(str.isprintable, path)):
        raise InvalidOptions("The path to open does not lie in the repository.")
    return path


def _urlpath(value: object) -> str:
    """Return VALUE as part of an address below the server's own; without the slash at its beginning."""
    if not isinstance(value, str) or len(value) > LONGEST_PATH or not all("!" <= letter <= "~" for letter in value):
        raise InvalidOptions("The address to show first is too long, or no part of an address.")
    found = value.removeprefix("/")
    parts = unquote(found.partition("?")[0].partition("#")[0]).split("/")
    if set(found) & set('\\"<>') or ":" in parts[0] or {".", ".."} & set(parts) or "" in parts[:-1]:
        raise InvalidOptions("The address to show first does not lie below the server's own.")
    return found
