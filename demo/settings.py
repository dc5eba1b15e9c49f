"""What a person chooses about a run, from the environment of ``make run``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
"""The checkout that runs."""

LEAST_FREE = 6.0
"""Gigabytes that must be free below STATE before anything is fetched: a Guix, its packages and the examples take 5 GiB."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_STATE = re.compile(r"/[A-Za-z0-9._/@+-]+")


class UnsuitableGround(Exception):
    """One sentence on why this machine, or what was asked of it, will not do, and what would."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings."""

    port: int
    """Where people's browsers find the hub, on 127.0.0.1."""
    state: Path
    """The folder below which everything is kept: Guix, database, homes."""
    private_hosts: tuple[str, ...]
    """Git hosts on private addresses that may be used, as ``host`` or ``host:port``."""
    contents: str
    """Where packages come from when this folder has a Guix of its own: ``auto``, ``official`` or ``stand-ins``."""
    least_free: float = LEAST_FREE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings that ENVIRONMENT names.  Raises `UnsuitableGround`."""
        return cls(
            port=_port(environment.get("PORT") or "8000"),
            state=_state(environment.get("STATE") or str(CHECKOUT / ".state")),
            private_hosts=_hosts(environment.get("PRIVATE_HOSTS", "")),
            contents=_contents(environment.get("GUIX_CONTENTS") or "auto"),
            least_free=float(environment.get("LEAST_FREE") or LEAST_FREE),
        )

    @property
    def address(self) -> str:
        """The address that a person opens."""
        return f"http://127.0.0.1:{self.port}/"


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise UnsuitableGround(f"PORT is {text!r}, which is no port; leave it out for 8000.")
    return int(text)


def _state(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not _STATE.fullmatch(str(path)):
        raise UnsuitableGround(
            f"STATE is {text!r}; choose a folder whose path has only letters, digits and . _ - @ + in it."
        )
    return path


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(text.replace(",", " ").split())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise UnsuitableGround(f"PRIVATE_HOSTS names {host!r}; write hosts as 127.0.0.1:3000, with spaces between.")
    return hosts


def _contents(text: str) -> str:
    if text not in {"auto", "official", "stand-ins"}:
        raise UnsuitableGround(f"GUIX_CONTENTS is {text!r}; it can be auto, official or stand-ins.")
    return text
