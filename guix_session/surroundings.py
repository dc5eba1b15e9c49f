"""What a session is told about itself: the variables that the spawner sets, each as what it must be.

The names are the spawner's side of the agreement (`guixspawner.session`); all of them may be absent.  They are read once, at
the start, and then taken out of the environment: kernels and terminals have no use for them.
"""

import json
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from guix_session.relays import Relay

PREFIXES = ("GUIX_PROJECT_", "GUIX_SESSION_")
KEPT = frozenset({"GUIX_SESSION_TOOLS"})
"""What programs in the session may need: where its own tools are."""

FOLDER = Path("/run/guix-environment")
SERVER_SOCKET = str(FOLDER / "sockets/server.sock")
"""Where the server listens; on the other side the hub's proxy waits."""


@dataclass(frozen=True, slots=True)
class Project:
    """The environment's repository, and the version of it that this session was started from."""

    source: str = ""
    """The bare repository that holds the commits of all versions."""
    address: str = ""
    commit: str = ""
    ref: str = ""
    """The branch or tag that the environment follows; empty for the repository's default branch."""
    opens: str = ""
    """What to open first, below the working copy, as it stands in addresses."""
    folder: str = ""
    """The working copy's name below the home; empty when there is none."""
    taken: tuple[str, ...] = ()
    """Where it had to be made in this session: those of its names that something else in the home has."""
    others: tuple[str, ...] = ()
    """Where it was made in this session: earlier copies of it, to which the person has given other names."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session."""

    started: float
    """When it was started, in seconds since 1970."""
    idle_seconds: float | None = None
    """After how long without work it is ended."""
    maximal_age: float | None = None
    """After how many seconds it is ended in any case."""
    limits: Mapping[str, object] = field(default_factory=dict)
    """What is in force: ``memory``, ``disk`` (bytes), ``cpu`` (cores), ``processes``, ``enforced_by``, ``network``."""
    memory_events: str = ""
    """The file in which the kernel counts programs that it ended for want of memory."""
    relays: tuple[Relay, ...] = ()
    environment: str = ""
    """The environment's name."""
    profile: str = ""
    """The environment's profile."""
    urlpath: str = ""
    """What to show first instead of JupyterLab, below the server's own address."""
    project: Project = Project()

    @classmethod
    def read(cls, variables: Mapping[str, str], *, now: float | None = None) -> "Session":
        """Return what VARIABLES tell.  Raises `ValueError` for what the spawner never writes."""
        limits = json.loads(variables.get("GUIX_SESSION_LIMITS") or "{}")
        relays = json.loads(variables.get("GUIX_SESSION_RELAYS") or "[]")
        return cls(
            started=_number(variables, "GUIX_SESSION_STARTED") or (time.time() if now is None else now),
            idle_seconds=_number(variables, "GUIX_SESSION_IDLE_SECONDS"),
            maximal_age=_number(variables, "GUIX_SESSION_MAXIMAL_AGE"),
            limits=limits if isinstance(limits, dict) else {},
            memory_events=variables.get("GUIX_SESSION_MEMORY_EVENTS", ""),
            relays=tuple(Relay(int(port), str(path)) for port, path in relays),
            environment=variables.get("GUIX_SESSION_ENVIRONMENT", ""),
            profile=variables.get("GUIX_SESSION_PROFILE", ""),
            urlpath=variables.get("GUIX_SESSION_URLPATH", ""),
            project=Project(
                source=variables.get("GUIX_PROJECT_SOURCE", ""),
                address=variables.get("GUIX_PROJECT_ADDRESS", ""),
                commit=variables.get("GUIX_PROJECT_COMMIT", ""),
                ref=variables.get("GUIX_PROJECT_REF", ""),
                opens=variables.get("GUIX_PROJECT_OPEN", ""),
            ),
        )

    @property
    def ends(self) -> float | None:
        """When it is ended for its age, in seconds since 1970."""
        return None if self.maximal_age is None else self.started + self.maximal_age


def leave_out(variables: MutableMapping[str, str]) -> None:
    """Take what `Session.read` has read out of VARIABLES."""
    for name in [name for name in variables if name.startswith(PREFIXES) and name not in KEPT]:
        del variables[name]


def _number(variables: Mapping[str, str], name: str) -> float | None:
    value = variables.get(name)
    return float(value) if value else None
