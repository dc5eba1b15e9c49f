"""Runs a command where ``/gnu``, ``/var/guix`` and a ``guix`` command are those of a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .folder import Folder, MachineFolder
from .mounts import enter_namespace
from .namespace import GUIX, list_host, list_way, plan_entered
from .processes import run_supervised

PACKAGE = Path(__file__).resolve().parent


def entered_environment(environment: Mapping[str, str], folder: Folder) -> dict[str, str]:
    """The caller's variables, with the ``guix`` command first on PATH and the folder named."""
    path = environment.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    parts = [part for part in path.split(":") if part != f"{GUIX}/bin"]
    return {**environment, "PATH": ":".join([f"{GUIX}/bin", *parts]), "GUIXLAB": str(folder.path)}


def enter(folder: Folder, command: Sequence[str], hub: MachineFolder, reachable: Path) -> int:
    """Run COMMAND in the entered view, with HUB's store and daemon, and return its wait status.

    Every account can reach the path REACHABLE there, even where a directory above it is closed, as root's home is.
    """
    reachable = reachable.resolve()
    plan = plan_entered(list_host(), folder, hub, PACKAGE, reachable=reachable, way=list_way(reachable))
    environment = entered_environment(os.environ, folder)
    return run_supervised(command, lambda: enter_namespace(plan, folder.mount_point), environment)
