"""Start people's JupyterLab in containers made of what GNU Guix built for a Git repository."""

from guixspawner.spawner import GuixSpawner

__all__ = ["GuixSpawner"]
