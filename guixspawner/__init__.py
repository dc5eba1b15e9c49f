"""Start people's JupyterLab in containers made of what GNU Guix built for a Git repository."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guixspawner.spawner import GuixSpawner

__all__ = ["GuixSpawner"]


def __getattr__(name: str) -> object:
    """Return the spawner when it is asked for: the gateway, a part of this package, needs nothing of JupyterHub."""
    if name == "GuixSpawner":
        from guixspawner.spawner import GuixSpawner

        return GuixSpawner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
