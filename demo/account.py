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
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as new:
            new.write(secrets.token_urlsafe(24) + "\n")
    return file.read_text().strip()
