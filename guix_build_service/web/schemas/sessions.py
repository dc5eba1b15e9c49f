"""The API's JSON about sessions, and what they can be started in."""

from typing import Annotated, Self

from pydantic import Field

from guix_build_service.model.environments import EnvironmentDetail, Version
from guix_build_service.web.hub_client import Session, SessionName
from guix_build_service.web.schemas.fields import (
    Cpu,
    EnvironmentName,
    Incoming,
    Line,
    Memory,
    Outgoing,
    PartAnswer,
    VersionName,
    formed,
)


class SessionRequest(Incoming):
    """A session to start."""

    environment: EnvironmentName = Field(description="The environment's id.")
    version: VersionName | None = Field(default=None, description="One of its versions; the current one when left out.")
    memory: Memory | None = None
    cpu: Cpu | None = None
    path: Annotated[Line, Field(max_length=500, description="The file to open first.")] | None = None
    name: Annotated[str, Field(json_schema_extra=formed(SessionName.form.pattern))] | None = Field(
        default=None, description="The session's name; made from the repository's when left out."
    )

    def options(self) -> dict[str, object]:
        """Return the spawner's ``user_options``."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class SessionAnswer(Outgoing):
    """A session of the caller's."""

    name: str
    title: str
    environment: str | None
    state: str = Field(description="starting, running, stopping or stopped")
    url: str
    pending_url: str = Field(description="The hub's page that shows how the start goes on, and then leads to the session.")
    started: str | None
    last_activity: str | None

    @classmethod
    def of(cls, session: Session, pending_url: str) -> Self:
        """Return SESSION as the API shows it."""
        return cls(
            name=session.name,
            title=session.title,
            environment=session.environment or None,
            state=session.state,
            url=session.url,
            pending_url=pending_url,
            started=session.started or None,
            last_activity=session.last_activity or None,
        )


class SessionsAnswer(Outgoing):
    """The caller's sessions."""

    sessions: tuple[SessionAnswer, ...]


class SessionOption(Outgoing):
    """An environment that a session can be started in."""

    environment: str
    name: str
    repo: str
    commit: str
    memory: int | None
    cpu: float | None
    kernels: tuple[str, ...]

    @classmethod
    def of(cls, detail: EnvironmentDetail, version: Version) -> Self:
        """Return what DETAIL, whose current VERSION it is, offers."""
        environment = detail.environment
        return cls(
            environment=environment.id,
            name=environment.name,
            repo=str(environment.repository),
            commit=version.commit,
            memory=environment.memory,
            cpu=environment.cpu,
            kernels=version.kernels,
        )


class SessionOptionsAnswer(PartAnswer):
    """What a session can be started with."""

    environments: tuple[SessionOption, ...]


class GalleryEntry(SessionOption):
    """An environment that everyone may start."""

    description: str
    owner: str
    link: str = Field(description="The page from which a person starts it.")


class GalleryAnswer(PartAnswer):
    """What everyone may start, by name."""

    environments: tuple[GalleryEntry, ...]
