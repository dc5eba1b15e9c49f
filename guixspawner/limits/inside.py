"""What a session is told of its limits, and sees of the kernel's counts."""

import json
from dataclasses import replace

from guix_environment import session_layout as layout
from guix_environment.container import ContainerPlan, Mount
from guixspawner.limits.model import Enforced

MEMORY_EVENTS = f"{layout.FOLDER}/memory-events"
"""Where the session finds the kernel's count of what was ended for want of memory."""


def with_limits(plan: ContainerPlan, enforced: Enforced, network: str) -> ContainerPlan:
    """Return PLAN for a session that is held to what is ENFORCED, with NETWORK as people are told of it.

    It is told of what is in force and not of what was asked for, so that nobody relies on more.
    """
    variables = {"GUIX_SESSION_LIMITS": json.dumps({**enforced.as_json(), "network": network})}
    mounts = plan.mounts
    if enforced.memory_events:
        variables["GUIX_SESSION_MEMORY_EVENTS"] = MEMORY_EVENTS
        mounts = (*mounts, Mount(str(enforced.memory_events), MEMORY_EVENTS))
    return replace(plan, variables={**plan.variables, **variables}, mounts=mounts)
