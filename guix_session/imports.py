"""The modules that a server needs, loaded without doing anything yet.

That takes most of a start.  It can be done in a process that starts many sessions, once, for all of them: nothing here reads
the home, opens a file for longer than reading it, or starts a thread.  What modules keep of the environment as it was when
they were loaded, `renew` and `guix_session.settings.server_settings` put right for the session.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSIONS = ("jupyter_server_proxy", "jupyter_server_terminals", "jupyterlab", "guix_session.extension")
"""Jupyter Server's extensions in a session.  Not among them: jupyter_lsp, as the server layer has no language servers, and
notebook_shim, which is for the settings of the classic notebook."""

_NEEDED = (
    "jupyterhub.singleuser",
    "jupyterlab.labapp",
    "jupyterlab.handlers.announcements",
    "jupyter_server_proxy",
    "jupyter_server_terminals.app",
    "jupyter_server.services.kernels.connection.channels",
    "jupyter_server.services.sessions.sessionmanager",
    "jupyter_server.services.contents.largefilemanager",
    "guix_session.extension",
)


def preload() -> None:
    """Load everything that a start needs; returns at once when that was done.

    JupyterHub's single-user server asks for the hub's own pages, for the sake of one class, and with them come the database
    and all that it needs: a third of all modules. None is used here, so each stands ready to be loaded only if it ever is.
    """
    if "jupyterhub.singleuser" in sys.modules:
        return
    finder = _LoadedWhenUsed()
    sys.meta_path.insert(0, finder)
    sys.modules.update(_hub_pages())
    try:
        for name in _NEEDED:
            importlib.import_module(name)
    finally:
        sys.meta_path.remove(finder)


def renew() -> None:
    """Have what read the environment as it was loaded read it anew, in a process that is a session now."""
    importlib.reload(sys.modules["send2trash.plat_other"])


class _LoadedWhenUsed(MetaPathFinder):
    """Finds the hub's database modules, and has each loaded at its first use (`importlib.util.LazyLoader`)."""

    _NAMES = frozenset({"alembic", "jupyterhub.orm", "jupyterhub.roles", "sqlalchemy"})

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to load the module NAME, if it is one of those."""
        if name not in self._NAMES:
            return None
        for finder in sys.meta_path:
            found = None if finder is self else finder.find_spec(name, path, target)
            if found and found.loader:
                found.loader = importlib.util.LazyLoader(found.loader)
                return found
        return None


class HealthCheckHandler:
    """In the place of the hub's class of that name: its log looks whether a request was for it, and here none is."""


def _hub_pages() -> dict[str, ModuleType]:
    package, pages = ModuleType("jupyterhub.handlers"), ModuleType("jupyterhub.handlers.pages")
    package.__path__ = []
    vars(pages)["HealthCheckHandler"] = HealthCheckHandler
    vars(package)["pages"] = pages
    return {module.__name__: module for module in (package, pages)}
