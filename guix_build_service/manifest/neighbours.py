"""Other files of the repository that a manifest loads, which are data as it is itself."""

import posixpath
from collections.abc import Mapping

from guix_build_service.manifest.reader import unreadable
from guix_build_service.manifest.syntax import Position

MOST_FILES = 20
"""Files that one manifest may load."""

_HINT = "Name the packages in the manifest itself, or in a file of the same repository that is loaded by its relative name."


class NeighbourNeeded(Exception):
    """A file of the repository must be at hand to go on: read it, and begin again."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path
        """Its name from the top of the repository."""


class Neighbours:
    """What is known of other files: their texts by their names, None for those that are no regular files."""

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self._texts = texts
        self.loaded: list[str] = []

    def text(self, path: str, position: Position) -> str:
        """Return the text of PATH.  Raises `NeighbourNeeded` where it is not known yet, and `ManifestUnreadable`."""
        self.loaded.append(path)
        if len(self.loaded) > MOST_FILES:
            raise unreadable(position, f"it loads more than {MOST_FILES} files.", hint=_HINT)
        if path not in self._texts:
            raise NeighbourNeeded(path)
        text = self._texts[path]
        if text is None:
            raise unreadable(position, f"the repository has no file {path:.200} that could be read as text.", hint=_HINT)
        return text


def path_of(name: str, position: Position, *, folder: str) -> str:
    """Return the name from the repository's top of the file NAME, which stands in FOLDER.

    Raises `ManifestUnreadable` for what lies outside of the repository.
    """
    path = posixpath.normpath(posixpath.join(folder, name))
    if not name or name.startswith(("/", "~")) or path == ".." or path.startswith(("../", "/")) or not path.isprintable():
        raise unreadable(
            position, f"{name!r:.200} lies outside of the repository, of which alone files are read.", hint=_HINT
        )
    return path
