"""Which contents the hub's daemon downloads: Guix's own where they can be reached, else the stand-ins."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

from .errors import ExitCode, LabError
from .folder import Contents, Folder

PROBE_SECONDS = 4.0


class Choice(StrEnum):
    """What `up --substitutes` and GUIX_CONTENTS may say."""

    AUTO = "auto"
    OFFICIAL = "official"
    STAND_INS = "stand-ins"


def read_choice(option: str | None) -> Choice:
    """The option, else the environment's GUIX_CONTENTS, else ``auto``."""
    text = option or os.environ.get("GUIX_CONTENTS") or Choice.AUTO
    try:
        return Choice(text)
    except ValueError:
        raise LabError(f"GUIX_CONTENTS is {text!r}; it may be {', '.join(Choice)}.", ExitCode.USAGE) from None


def official_addresses(definitions: str) -> tuple[str, ...]:
    """Guix's own substitute servers, as the text of its ``guix/store.scm`` defines them."""
    _, _, definition = definitions.partition("(define %default-substitute-urls")
    return tuple(re.findall(r'"(https://[^"]+)"', definition.partition("(define")[0]))


def substitute_servers(folder: Folder) -> tuple[str, ...]:
    """The same, of the Guix in the folder."""
    return official_addresses((folder.guix_root / "usr/share/guile/site/3.0/guix/store.scm").read_text())


def answers(address: str) -> bool:
    """Whether a substitute server is really there and not, say, a company's portal."""
    try:
        with urllib.request.urlopen(f"{address}/nix-cache-info", timeout=PROBE_SECONDS) as reply:
            return bool(reply.read(4096).startswith(b"StoreDir: /gnu/store"))
    except (OSError, urllib.error.URLError, ValueError):
        return False


def decide(folder: Folder, choice: Choice) -> Contents:
    """What CHOICE comes to on this machine now."""
    if choice is not Choice.AUTO:
        return Contents(choice)
    servers = substitute_servers(folder)
    with ThreadPoolExecutor(max(1, len(servers))) as pool:
        return Contents.OFFICIAL if any(pool.map(answers, servers)) else Contents.STAND_INS
