"""How long sessions live, and what is left when one has ended."""

from guixspawner.life.settings import SessionLife

__all__ = ["SessionLife"]
