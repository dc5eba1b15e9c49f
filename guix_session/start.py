"""Start a session inside its container: the working copy, the relays, and then the server, in this process.

`preload` may have been called before, in a process that this one was forked from.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from guix_session import relays, surroundings
from guix_session.imports import EXTENSIONS, preload, renew
from guix_session.processes import Answer
from guix_session.surroundings import FOLDER, SERVER_SOCKET, Project, Session

__all__ = ["main", "preload"]

PREPARE_PROJECT = f""". {FOLDER}/session/project.sh; printf '%s\\0%s\\0%s' "$project" "$taken" "$others\""""


def main() -> None:
    """Run the session's server until it ends, with Jupyter's options on the command line.

    Nothing that goes wrong with the working copy keeps it from starting.
    """
    keep_from_others()
    prepare_runtime_folder(os.environ)
    session = Session.read(os.environ)
    # The copy is made while modules are loaded: it takes as long, and waits for the disk.
    answer = Answer([f"{tools(os.environ)}/bash", "-c", PREPARE_PROJECT], without_secrets(os.environ))
    relays.start(session.relays)
    preload()
    renew()
    session = replace(session, project=prepared(session.project, os.fsdecode(answer.wait())))
    surroundings.leave_out(os.environ)
    enter(Path(os.environ["HOME"]), session.project.folder)
    serve(session)


def take_secrets() -> None:
    """Take the variables that were handed over in a pipe, so that they are in the environment of no program but this one.

    Does nothing in a process that has them already.
    """
    number = os.environ.pop("GUIX_SESSION_SECRETS", "")
    if number:
        with os.fdopen(int(number), "rb") as pipe:
            for variable in filter(None, pipe.read().split(b"\0")):
                name, _, value = variable.partition(b"=")
                os.environb[name] = value


def keep_from_others() -> None:
    """Have no other program of the session read this one's memory or environment, although it is the same account's.

    prctl(2), PR_SET_DUMPABLE; what is started from here can be read again (execve(2)).
    """
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def prepare_runtime_folder(variables: Mapping[str, str]) -> None:
    """Make the folder for what only this session's programs may read, such as the keys of its kernels."""
    os.umask(0o022)
    Path(variables["JUPYTER_RUNTIME_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)


def tools(variables: Mapping[str, str]) -> str:
    """Return the folder of the session's own programs."""
    return variables["GUIX_SESSION_TOOLS"]


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """Return VARIABLES without what lets a program act as the server."""
    return {name: value for name, value in variables.items() if not name.startswith(("JUPYTERHUB_", "JPY_"))}


def prepared(project: Project, answer: str) -> Project:
    """Return PROJECT with what `PREPARE_PROJECT` printed of it; all of that may be absent."""
    folder, taken, others, *_ = [*answer.split("\0"), "", "", ""]
    return replace(project, folder=folder, taken=tuple(taken.splitlines()), others=tuple(others.splitlines()))


def enter(home: Path, folder: str) -> None:
    """Work in FOLDER below HOME, or in HOME."""
    try:
        os.chdir(home / folder)
    except OSError:
        os.chdir(home)


def serve(session: Session) -> None:
    """Run the server of SESSION, in this process, until it ends."""
    from jupyterhub.singleuser.extension import JupyterHubSingleUser
    from tornado.httpserver import HTTPServer
    from traitlets.config import Config

    from guix_session import extension
    from guix_session.connections import PatientServer
    from guix_session.settings import default_address, server_settings

    # JupyterHub's own word for what opens first; an administrator's word for all sessions goes before the environment's.
    os.environ["JUPYTERHUB_DEFAULT_URL"] = os.environ.get("JUPYTERHUB_DEFAULT_URL") or default_address(session)
    extension.prepare(session)
    HTTPServer.configure(PatientServer)
    # Named one by one: what is in the home adds no code to the server.
    JupyterHubSingleUser.serverapp_config = {"jpserver_extensions": dict.fromkeys(EXTENSIONS, True)}
    options = sys.argv[1:]
    sys.argv = ["jupyterhub-singleuser"]
    server = JupyterHubSingleUser.initialize_server(
        # Everybody may connect who comes as far as the socket's folder, which the hub guards.
        argv=[f"--ServerApp.sock={SERVER_SOCKET}", "--ServerApp.sock_mode=0666", *options],
        config=Config(server_settings(session)),
    )
    server.start()
