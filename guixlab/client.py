"""The ``guix`` command inside the entered view: Debian's guix, over the caller's files and variables.

Root mounts directly; anybody else in a user namespace with unchanged ids.  The process becomes guix, so signals and
exit status are guix's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .errors import LabError
from .mounts import enter_namespace
from .namespace import GUIX, list_directory, network_etc, plan_root

# What of the entered view's /etc Guix sees besides; anything else is its own root file system's.
ACCOUNTS_AND_KEYS = ("passwd", "group", "guix")
# The locales that are there; with any other, Guix begins everything it says with a complaint about it.
LOCALES = ("C", "POSIX", "C.UTF-8", "C.utf8")
LOCALE_VARIABLES = ("LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LANG")


def guix_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's variables for Guix: in there `guix` is guix itself, and there is one locale."""
    path = environment.get("PATH", "/usr/bin:/bin").split(":")
    changed = {**environment, "PATH": ":".join(part for part in path if part != f"{GUIX}/bin")}
    if any(environment.get(name, "C") not in (*LOCALES, "") for name in LOCALE_VARIABLES):
        changed["LC_ALL"] = "C.UTF-8"
    return changed


def main() -> None:
    """Become ``guix`` with this process's arguments."""
    root = Path(GUIX, "root")
    etc = {name: f"/etc/{name}" for name in ACCOUNTS_AND_KEYS}
    plan = plan_root({"/": list_directory(Path("/"))}, root, list_directory(root), {**network_etc(), **etc})
    try:
        enter_namespace(plan, Path(GUIX, "mount"))
    except LabError as error:
        sys.exit(f"guix: {error.message}")
    os.execve("/usr/bin/guix", ["guix", *sys.argv[1:]], guix_environment(os.environ))
