"""The account that people try the hub with."""

import os
import secrets
from pathlib import Path

NAME = "demo"


def password(state: Path) -> str:
    """Return the password of the account `NAME`, the same in every run with this STATE."""
    file = state / "hub" / "demo-password"
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        with file.open("x", opener=_private) as new:
            new.write(secrets.token_urlsafe(24) + "\n")
    except FileExistsError:
        pass
    return file.read_text().strip()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
