"""How the session's server is set up, and what it shows first."""

import os
from pathlib import Path

from guix_session.apps import App, find_apps, proxied
from guix_session.surroundings import Session

LABEXTENSIONS = Path(__file__).parent / "labextensions"
"""What JupyterLab in the browser loads of this package."""

THE_APP = "app"
"""The word in `Session.urlpath` for whichever app the repository has."""


def apps_of(session: Session) -> list[App]:
    """Return the apps that SESSION offers; the first is the repository's own."""
    if not session.profile or not session.project.folder:
        return []
    project = Path(os.environ["HOME"], session.project.folder)
    return find_apps(Path(session.profile), project, _plain(session.project.opens))


def server_settings(session: Session) -> dict[str, object]:
    """Return Jupyter's configuration for SESSION.  What a person sets in their home goes before it."""
    apps = apps_of(session)
    return {
        "LabApp": {"extra_labextensions_path": [str(LABEXTENSIONS)]},
        "ServerProxy": {"servers": {app.name: proxied(app) for app in apps}},
    }


def default_address(session: Session) -> str:
    """Return what SESSION shows first, below the server's own address: what was asked for, or the working copy."""
    if session.urlpath == THE_APP:
        apps = apps_of(session)
        if apps:
            return f"/{apps[0].name}/"
    elif session.urlpath:
        return f"/{session.urlpath}"
    project = session.project
    if not project.folder:
        return "/lab"
    return "/".join(filter(None, ("/lab/tree", project.folder, project.opens)))


def _plain(quoted: str) -> str:
    from urllib.parse import unquote

    return unquote(quoted)
