"""The API's JSON about the service itself, and about who asks."""

from dataclasses import asdict
from typing import Self

from pydantic import Field

from guix_build_service.model.health import Health
from guix_build_service.web.schemas.fields import Outgoing


class DiskAnswer(Outgoing):
    """What somebody's environments hold of the disk."""

    used: int = Field(description="Bytes of all that their versions need, each item of the store once.")
    limit: int | None = Field(description="Bytes beyond which nothing more is built for them; null for none.")


class CallerAnswer(Outgoing):
    """Who asks, and what they may."""

    name: str = Field(description="As `owner` of environments has it.")
    groups: tuple[str, ...]
    admin: bool = Field(description="Whether they may see and change what is everybody's.")
    may_add: bool = Field(description="Whether they may add environments.")
    disk: DiskAnswer


class HealthAnswer(Outgoing):
    """Whether the service can do its work."""

    status: str = Field(description="ok or failing")
    store: str = Field(description="Why the database cannot be used; empty where it can.")
    queue: str = Field(description="Why no build begins; empty where they do.")
    retention: str = Field(description="Why nothing is let go for its age; empty where it is.")
    logins: str = Field(
        description="Why the tokens of people's logins cannot be read; empty where they can, or need not be."
    )

    @classmethod
    def of(cls, health: Health) -> Self:
        """Return HEALTH as the API shows it."""
        return cls(status=health.status, **asdict(health))


class VersionsOfSoftware(Outgoing):
    """What is installed."""

    guixspawner: str
    jupyterhub: str
    api: str
