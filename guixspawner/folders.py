"""Folders of the machine that people see in their sessions, by the administrator's list: data, and what groups share."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Self

from traitlets import Dict, List, TraitError, validate
from traitlets.config import Configurable

from guix_environment.container import Mount
from guix_environment.errors import InvalidInput

_TARGET = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){1,8}")
"""Where a folder may be in a session; never through a hidden folder, ``..`` or a quoted name."""

_SESSIONS_OWN = ("bin", "dev", "etc", "gnu", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var")
"""Below which everything is the session's own, or the kernel's."""

_MACHINES_OWN = ("/dev", "/etc", "/proc", "/root", "/run", "/sys", "/boot")
"""What of the machine, and what below it, no session is shown."""

_KEYS = {"source", "target", "writable", "people", "groups"}


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A folder of the machine, where sessions see it, and whose sessions."""

    source: Path
    target: str
    writable: bool
    people: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the folder that VALUE, a dictionary of the configuration, describes.

        Links on the way to the source are followed once in the life of the hub.  Raises `InvalidInput`.
        """
        if not isinstance(value, Mapping) or not {"source", "target"} <= value.keys() <= _KEYS:
            raise InvalidInput(
                f"A shared folder has a source, a target, and perhaps writable, people and groups: {_shown(value)}"
            )
        target, writable = value["target"], value.get("writable", False)
        if not isinstance(writable, bool):
            raise InvalidInput(f"writable is true or false: {_shown(value)}")
        named = Path(str(value["source"]))
        if not named.is_absolute():
            raise InvalidInput(f"The source of a shared folder begins with a slash: {_shown(value)}")
        try:
            source = _without_links(named)
        except OSError as error:
            raise InvalidInput(f"This folder cannot be reached: {_shown(value)}") from error
        if _is_the_machines(named) or _is_the_machines(source):
            raise InvalidInput(f"This folder is the machine's own, and no session may see it: {_shown(value)}")
        return cls(source, checked_target(target), writable, _names(value, "people"), _names(value, "groups"))

    def is_for(self, person: str, groups: Collection[str]) -> bool:
        """Tell whether PERSON, who is in GROUPS, has it; a folder for nobody in particular is for everybody."""
        everybody = not self.people and not self.groups
        return everybody or person in self.people or not self.groups.isdisjoint(groups)


def _is_the_machines(source: Path) -> bool:
    return source == Path("/") or any(source.is_relative_to(own) for own in _MACHINES_OWN)


@lru_cache
def _without_links(source: Path) -> Path:
    """Return SOURCE without links on the way, as they are when the hub first reads its configuration.

    What is not there yet, such as another machine's disk, may be there when a session starts.
    """
    return source.resolve()


def checked(values: Sequence[object]) -> tuple[SharedFolder, ...]:
    """Return the folders that VALUES describe.  Raises `InvalidInput`, also for one that would be inside of another."""
    folders = tuple(SharedFolder.parse(value) for value in values)
    targets = {folder.target for folder in folders}
    for target in targets:
        outer = next((other for other in targets if target.startswith(f"{other}/")), None)
        if outer:
            raise InvalidInput(f"The folder {target} would be inside of the folder {outer}.")
    return folders


def checked_target(target: object) -> str:
    """Return TARGET when a folder may be there in a session.  Raises `InvalidInput`."""
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise InvalidInput(f"A folder cannot be at this place in a session: {_shown(target)}")
    first = PurePosixPath(target).parts[1]
    if first in _SESSIONS_OWN:
        raise InvalidInput(f"A folder cannot be below /{first} in a session: {_shown(target)}")
    if first == "home":
        raise InvalidInput(f"A folder cannot be in or over people's homes in a session: {_shown(target)}")
    return target


def folders_for(folders: Sequence[SharedFolder], person: str, groups: Collection[str]) -> tuple[SharedFolder, ...]:
    """Return those of FOLDERS that PERSON, who is in GROUPS, sees: the last of the list for each place."""
    chosen = {folder.target: folder for folder in folders if folder.is_for(person, groups)}
    return tuple(chosen.values())


def mounts(folders: Sequence[SharedFolder]) -> tuple[Mount, ...]:
    """Return FOLDERS as parts of a container's plan."""
    return tuple(Mount(str(folder.source), folder.target, writable=folder.writable) for folder in folders)


def present(folders: Sequence[SharedFolder]) -> tuple[tuple[SharedFolder, ...], tuple[str, ...]]:
    """Return those of FOLDERS whose source is there, and a sentence for the log for each that is not.  Blocks."""
    there, missing = [], []
    for folder in folders:
        # A link where there was none: somebody who may write beside the folder would show people another in its place.
        if folder.source.is_dir() and folder.source.resolve() == folder.source:
            there.append(folder)
        else:
            missing.append(f"The shared folder {folder.source} is not there; the session starts without {folder.target}.")
    return tuple(there), tuple(missing)


class SessionFolders(Configurable):
    """Folders of the machine that people see in their sessions."""

    folders = List(
        Dict(),
        help="""
        Folders of the machine that people see in their sessions.

        Each is a dictionary: `source`, the folder on the machine; `target`, where sessions see it, such as `/data`;
        `writable`, false unless set; `people` and `groups`, names at the hub of those who have it, everybody unless one of
        them is set. A folder that is not there when a session starts is left out, and the hub's log says so. Of two with
        one target that a person may see, the later one counts.
        """,
    ).tag(config=True)

    @validate("folders")
    def _check(self, proposal: Mapping[str, Sequence[object]]) -> Sequence[object]:
        try:
            checked(proposal["value"])
        except InvalidInput as error:
            raise TraitError(str(error)) from error
        return proposal["value"]

    def for_session(self, person: str, groups: Collection[str]) -> tuple[tuple[Mount, ...], tuple[str, ...]]:
        """Return what the session of PERSON, who is in GROUPS, sees, and sentences for the log.  Blocks."""
        there, missing = present(folders_for(checked(self.folders), person, groups))
        return mounts(there), missing


def _names(value: Mapping[str, object], key: str) -> frozenset[str]:
    names = value.get(key, ())
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise InvalidInput(f"{key} is a list of names: {_shown(value)}")
    return frozenset(names)


def _shown(value: object) -> str:
    return json.dumps(value, default=str)[:200]
