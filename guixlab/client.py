"""The ``guix`` command inside the entered view: Debian's guix, over the caller's files and variables.

Root mounts directly; anybody else in a user namespace with unchanged ids.  The process becomes guix, so signals and
exit status are guix's own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import LabError
from .mounts import enter_namespace
from .namespace import GUIX, list_directory, plan_root

# What of the caller's /etc Guix sees; anything else is its own root file system's.
CALLERS_ETC = ("resolv.conf", "hosts", "passwd", "group", "guix")


def main() -> None:
    """Become ``guix`` with this process's arguments."""
    root = Path(GUIX, "root")
    etc = {name: f"/etc/{name}" for name in CALLERS_ETC if Path("/etc", name).exists()}
    plan = plan_root({"/": list_directory(Path("/"))}, root, list_directory(root), etc)
    try:
        enter_namespace(plan, Path(GUIX, "mount"))
    except LabError as error:
        sys.exit(f"guix: {error.message}")
    # In there, `guix` is guix itself.
    path = os.environ.get("PATH", "/usr/bin:/bin").split(":")
    os.environ["PATH"] = ":".join(part for part in path if part != f"{GUIX}/bin")
    os.execv("/usr/bin/guix", ["guix", *sys.argv[1:]])
