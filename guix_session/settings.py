"""How the session's server is set up, and what it shows first."""

import math
import os
from pathlib import Path

from guix_session.apps import App, find_apps, proxied
from guix_session.surroundings import Session

LONGEST_SILENCE = 300.0
"""Seconds between one time and the next that the server tells the hub when it was last used; less for a short idle time."""

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
    from jupyter_core.paths import jupyter_config_dir

    apps, lab = apps_of(session), Path(jupyter_config_dir(), "lab")
    return {
        # Told, as modules ask the environment when they are loaded, and that may have been before this was a session.
        "LabApp": {
            "extra_labextensions_path": [str(LABEXTENSIONS)],
            "user_settings_dir": os.environ.get("JUPYTERLAB_SETTINGS_DIR") or str(lab / "user-settings"),
            "workspaces_dir": os.environ.get("JUPYTERLAB_WORKSPACES_DIR") or str(lab / "workspaces"),
        },
        "HubOAuth": {
            # Cookies belong to addresses below it: with another one, other people's servers would be sent them.
            "base_url": os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/"),
            "api_url": os.environ.get("JUPYTERHUB_API_URL", ""),
        },
        "JupyterHubSingleUser": {
            "hub_activity_interval": math.ceil(min(LONGEST_SILENCE, (session.idle_seconds or LONGEST_SILENCE * 5) / 5)),
        },
        "Session": {"username": os.environ.get("USER", "username")},
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
