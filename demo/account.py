"""The accounts of a demonstration: the one that people log in with, and the one that the build service runs as."""

import os
import pwd
import secrets
import sys
from pathlib import Path

from demo.settings import CHECKOUT
from guixspawner.checks import first_closed_folder

NAME = "demo"

SERVICE = "guix-build-service"
"""The account that ``guixlab`` adds to its namespace, and that an administrator may add to a machine."""


def service_account() -> str:
    """Return the account that the service runs as: `SERVICE` where there is one and it can read this program, else ours."""
    try:
        pwd.getpwnam(SERVICE)
    except KeyError:
        return ""
    program = (CHECKOUT, Path(sys.executable), Path(sys.executable).resolve(), Path(sys.base_prefix))
    return "" if any(first_closed_folder(path) for path in program) else SERVICE


def owner_of_examples() -> tuple[int, int]:
    """Return the numbers of the account that reads the example repositories: Git reads nobody else's."""
    entry = pwd.getpwnam(service_account() or pwd.getpwuid(os.geteuid()).pw_name)
    return entry.pw_uid, entry.pw_gid


def password(state: Path) -> str:
    """Return the password of the account `NAME`, the same in every run with this STATE."""
    file = state / "hub" / "demo-password"
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as new:
            new.write(secrets.token_urlsafe(24) + "\n")
    return file.read_text().strip()
