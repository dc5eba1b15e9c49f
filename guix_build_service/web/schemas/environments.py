"""The API's JSON about environments."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from guix_build_service.model.environments import (
    BuildState,
    Changes,
    EnvironmentDetail,
    EnvironmentFilter,
    Found,
    NewEnvironment,
    Person,
)
from guix_build_service.model.members import Role
from guix_build_service.providers.located import Located
from guix_build_service.web.schemas.builds import BuildAnswer
from guix_build_service.web.schemas.credentials import CredentialRequest
from guix_build_service.web.schemas.fields import (
    Cpu,
    Incoming,
    Line,
    Memory,
    Outgoing,
    PageQuery,
    Paragraph,
    PartAnswer,
    Ref,
)
from guix_build_service.web.schemas.members import MemberName
from guix_build_service.web.schemas.versions import VersionAnswer
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl

RepositoryAddress = Annotated[
    Line,
    Field(
        min_length=1,
        max_length=512,
        description="Address of a Git repository, or of a page of one at its forge.",
        examples=["https://codeberg.org/somebody/analysis"],
    ),
]
Name = Annotated[Line, Field(max_length=80, description="What people call the environment.")]
Description = Annotated[Paragraph, Field(max_length=2000)]
Groups = Annotated[tuple[Annotated[Line, Field(min_length=1, max_length=255)], ...], Field(max_length=50)]


class EnvironmentsQuery(PageQuery):
    """Which environments are wanted; whatever is left out does not matter."""

    owner: Annotated[Line, Field(max_length=255)] | None = None
    state: BuildState | None = Field(default=None, description="State of the latest build.")
    text: Annotated[Line, Field(max_length=200, description="In name, description or repository.")] | None = None
    repo: Annotated[Line, Field(min_length=1, max_length=512, description="Address of the repository.")] | None = None
    visibility: Visibility | None = None

    def wanted(self) -> EnvironmentFilter:
        """Return what the manager is asked for.  Raises `InvalidAddress`."""
        repository = RepositoryUrl.parse(self.repo) if self.repo is not None else None
        return EnvironmentFilter(self.owner, self.state, self.text or None, repository, self.visibility)


class EnvironmentRequest(Incoming):
    """An environment to add: a repository, and what is not chosen by itself."""

    repo: RepositoryAddress
    ref: Ref = ""
    subdir: Annotated[Line, Field(max_length=200, description="The folder that holds the manifest.")] = ""
    name: Name = ""
    description: Description = ""
    memory: Memory | None = None
    cpu: Cpu | None = None
    visibility: Visibility = Visibility.PRIVATE
    groups: Groups = ()
    credentials: CredentialRequest | None = Field(
        default=None,
        description="What opens the repository, where it is private and you keep nothing for its host yet, or something "
        "older: kept for the host, as by PUT credentials/{host}, once the repository was read with it.",
    )

    def as_request(self) -> NewEnvironment:
        """Return what the manager is asked for."""
        return NewEnvironment(
            repository=self.repo,
            ref=self.ref,
            subdirectory=self.subdir,
            name=self.name,
            description=self.description,
            memory=self.memory,
            cpu=self.cpu,
            visibility=self.visibility,
            groups=self.groups,
        )


class EnvironmentChanges(Incoming):
    """What of an environment becomes different; a field that is left out stays as it is."""

    name: Annotated[Name, Field(min_length=1)] | None = None
    description: Description | None = None
    ref: Ref | None = None
    memory: Memory | None = Field(default=None, description="null for no limit of its own.")
    cpu: Cpu | None = Field(default=None, description="null for no limit of its own.")
    visibility: Visibility | None = None
    groups: Groups | None = None
    owner: MemberName | None = Field(default=None, description="Whom to give it to.")

    def as_changes(self) -> Changes:
        """Return what the manager is asked to change."""
        cleared = {name for name in ("memory", "cpu") if name in self.model_fields_set and getattr(self, name) is None}
        return Changes(**{name: getattr(self, name) for name in type(self).model_fields}, cleared=frozenset(cleared))


class ResolveRequest(Incoming):
    """A repository to look at."""

    repo: RepositoryAddress
    ref: Ref = ""
    subdir: Annotated[Line, Field(max_length=200, description="The folder that holds the manifest.")] = ""


class ResolvedAnswer(Outgoing):
    """What would be built."""

    repo: str
    ref: str
    commit: str | None = Field(description="Null for an archive's record, whose files alone tell; `ref` is its number then.")
    subdir: str
    path: str = Field(description="The file to open first, where the address was that of a file.")

    @classmethod
    def of(cls, resolved: Found, place: Located) -> Self:
        """Return what was RESOLVED of PLACE as the API shows it."""
        return cls(
            repo=str(resolved.repository),
            ref=resolved.ref,
            commit=resolved.commit,
            subdir=place.subdirectory,
            path=place.opens,
        )


class EnvironmentAnswer(Outgoing):
    """An environment with its current version and its latest build."""

    id: str
    name: str
    description: str
    repo: str
    ref: str
    subdir: str
    commit: str | None = Field(description="Of the current version, or else of the build; null until it is known.")
    state: BuildState
    owner: str
    visibility: Visibility
    groups: tuple[str, ...]
    memory: int | None
    cpu: float | None
    role: Role = Field(description="What the caller is to it; administrators are what its owner is.")
    may_change: bool = Field(description="Whether the caller may name, describe and build it, and go back.")
    created: datetime
    updated: datetime
    version: VersionAnswer | None
    build: BuildAnswer | None

    @classmethod
    def of(cls, detail: EnvironmentDetail, person: Person) -> Self:
        """Return DETAIL as PERSON may see it."""
        environment, version, build = detail.environment, detail.version, detail.build
        commit = version.commit if version else build.commit if build else None
        return cls(
            id=environment.id,
            name=environment.name,
            description=environment.description,
            repo=str(environment.repository),
            ref=environment.ref,
            subdir=environment.subdirectory,
            commit=commit,
            state=detail.state,
            owner=environment.owner,
            visibility=environment.visibility,
            groups=environment.groups,
            memory=environment.memory,
            cpu=environment.cpu,
            role=environment.role_of(person) or Role.VIEWER,
            may_change=environment.may_be_changed_by(person),
            created=environment.created,
            updated=environment.updated,
            version=VersionAnswer.of(version) if version else None,
            build=BuildAnswer.of(build, person) if build else None,
        )


class EnvironmentsAnswer(PartAnswer):
    """What the caller may see, by name."""

    environments: tuple[EnvironmentAnswer, ...]
