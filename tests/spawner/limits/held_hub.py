"""A real hub that holds sessions to limits, and what can be seen of one of its sessions from outside."""

from pathlib import Path

from guixspawner.limits import BackendKind, cgroups
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, first_process

from .conftest import BACKEND

GIVEN = {"environment": ENVIRONMENT}
GIB = 2**30

HELD = f"""
c.SessionLimits.backend = {BACKEND!r}
c.GuixSpawner.mem_limit = "1G"
c.GuixSpawner.cpu_limit = 1
c.SessionLimits.processes = 200
"""


def told(hub: RealHub, user: str) -> dict[str, str]:
    words = Path(f"/proc/{first_process(hub, user).pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if word)


def groups_of(hub: RealHub, user: str) -> set[Path]:
    """Return the folders of the control groups that hold the session, by the name that is in all of them."""
    return {
        folder for folder in cgroups.folders_of(first_process(hub, user).pid).values() if f"{user}.default" in str(folder)
    }


def members_of(hub: RealHub, user: str) -> set[int]:
    return cgroups.members(groups_of(hub, user))


def kills(hub: RealHub, user: str) -> int:
    enforced = cgroups.in_force(first_process(hub, user).pid, BackendKind.NOTHING)
    assert enforced.memory_events
    return int(enforced.memory_events.read_text().rpartition("oom_kill ")[2].split()[0])


def answers(hub: RealHub, user: str) -> bool:
    return hub.request("GET", f"/user/{user}/api/status")[0] == 200
