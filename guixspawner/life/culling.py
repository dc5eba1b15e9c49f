"""The service that ends sessions which nobody uses, or which are too old: JupyterHub's own idle culler."""

import sys

NAME = "cull-idle"
"""The service's name at the hub."""

SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
"""All that it may do (its README): see who has which servers and when they were used, and stop them."""

_NEVER = 100 * 365 * 24 * 3600
"""Seconds for what is never to happen; the culler itself knows no such word for idleness."""


def culler_command(idle_timeout: float, maximal_age: float) -> list[str]:
    """Return the command of the service for sessions idle for IDLE_TIMEOUT or as old as MAXIMAL_AGE seconds, 0 for never."""
    shortest = min(seconds for seconds in (idle_timeout, maximal_age, _NEVER) if seconds)
    return [
        *(sys.executable, "-m", "jupyterhub_idle_culler"),
        f"--timeout={max(1, round(idle_timeout)) if idle_timeout else _NEVER}",
        f"--max-age={max(1, round(maximal_age)) if maximal_age else 0}",
        f"--cull-every={max(1, min(600, round(shortest / 10)))}",
        # Otherwise it would read a file of this name from the folder that the hub was started in.
        "--config=",
    ]


def culler_service(idle_timeout: float, maximal_age: float, account: str = "") -> dict[str, object]:
    """Return the hub's entry for the service, which runs as ACCOUNT, or as the hub itself."""
    owner = {"user": account} if account else {}
    return {**owner, "name": NAME, "command": culler_command(idle_timeout, maximal_age)}


def culler_role() -> dict[str, object]:
    """Return the role that gives the service what it needs and nothing more."""
    return {"name": NAME, "scopes": list(SCOPES), "services": [NAME]}
