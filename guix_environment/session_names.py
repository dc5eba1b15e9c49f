"""How a person and their servers are called in paths: what the hub writes under such a name, the service finds."""

import hashlib
import re
import unicodedata
from pathlib import Path

UNNAMED = "default"
"""What a person's server without a name is called in the names of files."""

_PLAIN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def slug(name: str) -> str:
    """Return a name that can stand for NAME in paths and as an account: no two names share one, however they are chosen.

    At most 32 of ``a-z``, ``0-9`` and ``-``, first a letter.  A plain name is its own; any other gets 80 bits of its digest
    after two dashes, which no plain name has.
    """
    if len(name) <= 32 and _PLAIN.fullmatch(name) and name != UNNAMED:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:20]
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    prefix = re.sub(r"[^a-z0-9]+", "-", letters).lstrip("-0123456789")[:10].rstrip("-")
    return f"{prefix or 'x'}--{digest}"


def server_slug(name: str) -> str:
    """Return the name in paths of a person's server NAME, which is empty for the one without a name."""
    return slug(name) if name else UNNAMED


def session_log(folder: Path, user: str, server: str) -> Path:
    """Return where below FOLDER the session SERVER of USER, as the hub names both, has its log.

    What the session before it printed is beside it, with ``.1`` at the end.
    """
    return folder / slug(user) / f"{server_slug(server)}.log"
