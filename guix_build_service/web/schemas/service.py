"""The API's JSON about the service itself, and about who asks."""

from pydantic import Field

from guix_build_service.web.schemas.fields import Outgoing


class CallerAnswer(Outgoing):
    """Who asks, and what they may."""

    name: str = Field(description="As `owner` of environments has it.")
    groups: tuple[str, ...]
    admin: bool = Field(description="Whether they may see and change what is everybody's.")
    may_add: bool = Field(description="Whether they may add environments.")


class HealthAnswer(Outgoing):
    """Whether the service can do its work."""

    status: str = Field(description="ok or failing")


class VersionsOfSoftware(Outgoing):
    """What is installed."""

    guixspawner: str
    jupyterhub: str
    api: str
