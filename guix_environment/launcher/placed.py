"""Load what runs in a session (`guix_session`) on the machine as if it were in the session already.

Modules know where they are, and some find files beside them.  Those loaded before the container exists must name the place
that they will be at in it.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from os.path import isdir, isfile

from guix_environment.session_layout import PYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

_PACKAGE = "guix_session"


def preload(root: str) -> None:
    """Load `guix_session`, whose files are below ROOT here, and every module that it says a server needs."""
    finder = _Finder(root)
    sys.meta_path.insert(0, finder)
    try:
        from guix_session.imports import preload as load_all

        load_all()
    finally:
        sys.meta_path.remove(finder)


class _Loader(SourceFileLoader):
    """Reads a module's source below another folder than the one that the module is told."""

    def __init__(self, name: str, path: str, root: str) -> None:
        super().__init__(name, path)
        self._root = root

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - named as importlib names it
        """Return the code of the module, compiled for the place that it will be at."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def get_data(self, path: str) -> bytes:
        """Return the content of what will be at PATH."""
        return super().get_data(self._root + path.removeprefix(PYTHON))


class _Finder(MetaPathFinder):
    def __init__(self, root: str) -> None:
        self._root = root

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to load the module NAME, if it is of the package."""
        del path, target
        if name.partition(".")[0] != _PACKAGE:
            return None
        place = "/" + name.replace(".", "/")
        if isdir(self._root + place):
            file = f"{PYTHON}{place}/__init__.py"
            return spec_from_file_location(
                name, file, loader=_Loader(name, file, self._root), submodule_search_locations=[PYTHON + place]
            )
        file = f"{PYTHON}{place}.py"
        if not isfile(f"{self._root}{place}.py"):
            return None
        return spec_from_file_location(name, file, loader=_Loader(name, file, self._root))
