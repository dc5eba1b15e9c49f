"""What a gateway is told by the hub, in a file, and by what it is known whether one that runs still is the right one."""

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from guix_environment.files import read_json, write_json

FILE = "settings.json"
CONTROL = "control.sock"
LOCK = "lock"
LOG = "log"
STATE = "state.json"
"""What is in the gateway's own folder, which the hub's account alone can enter."""

HUB = "hub.sock"
FILTER = "filter.sock"
"""What is in the folder of each session that it sees."""

_SHARED = ("addresses", "proxy_requests", "resolution", "streams")
"""What a gateway has in common with the build service."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Everything that a gateway is told."""

    sockets: str
    """The folder of all sessions' sockets."""
    api: str
    """The address of the hub's API, ``http://127.0.0.1:8081/hub/api/``."""
    allowed: tuple[str, ...] = ()
    """Whom the filter lets through, in the words of `guixspawner.network.gateway.allowed`."""
    refused: tuple[str, ...] = ()
    """Networks that it never lets through, in addition to those that are not public."""
    linger: float = 60.0
    """Seconds for which it waits, with neither a hub nor a session there, before it ends."""

    @property
    def fingerprint(self) -> str:
        """What tells this gateway from one with other settings, or of another release."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        shared = [resources.files("guix_environment") / f"{name}.py" for name in _SHARED]
        for file in [*sorted(resources.files(__package__).iterdir(), key=lambda file: file.name), *shared]:
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Put these settings where the gateway of FOLDER reads them."""
        write_json(folder / FILE, asdict(self), mode=0o600)

    @classmethod
    def read(cls, folder: Path) -> "GatewaySettings":
        """Return the settings of the gateway of FOLDER.  Raises `OSError` or `ValueError`."""
        values = read_json(folder / FILE)
        allowed, refused = (_texts(values[name]) for name in ("allowed", "refused"))
        return cls(str(values["sockets"]), str(values["api"]), allowed, refused, float(str(values["linger"])))


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("the gateway's settings are damaged")  # noqa: TRY004 - one error for one damaged file
    return tuple(str(text) for text in value)
