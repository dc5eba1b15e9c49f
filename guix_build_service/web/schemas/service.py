"""The API's JSON about the service itself, and about who asks."""

from pydantic import Field

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


class VersionsOfSoftware(Outgoing):
    """What is installed."""

    guixspawner: str
    jupyterhub: str
    api: str
