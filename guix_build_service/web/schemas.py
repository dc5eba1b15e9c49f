"""The API's JSON, both ways: what requests may hold and what answers hold.  OpenAPI is generated from these classes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from guix_build_service.hub_client import Session
from guix_build_service.model import (
    LARGEST_PAGE,
    Build,
    BuildFilter,
    BuildState,
    Changes,
    EnvironmentDetail,
    EnvironmentFilter,
    Export,
    NewEnvironment,
    Person,
    Resolved,
    Version,
)
from guix_build_service.places import Located
from guix_environment.records import Visibility
from guix_environment.repository_url import RepositoryUrl


def _printable(text: str) -> str:
    """Return TEXT if a person could have meant every character of it."""
    if any(not character.isprintable() and character not in "\n\t" for character in text):
        raise ValueError("has characters that cannot be shown")
    return text.strip()


def _on_one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("must be on one line")
    return _printable(text)


Line = Annotated[str, AfterValidator(_on_one_line)]
Paragraph = Annotated[str, AfterValidator(_printable)]

Name = Annotated[Line, Field(max_length=80, description="What people call the environment.")]
Description = Annotated[Paragraph, Field(max_length=2000)]
Ref = Annotated[Line, Field(max_length=200, description="Branch, tag or commit; empty for the repository's default branch.")]
Memory = Annotated[int, Field(ge=1 << 26, le=1 << 44, description="Bytes that a session may use.")]
Cpu = Annotated[float, Field(gt=0, le=4096, description="Cores that a session may use.")]
Groups = Annotated[tuple[Annotated[Line, Field(min_length=1, max_length=255)], ...], Field(max_length=50)]


class Incoming(BaseModel):
    """A request's body: exactly these fields, of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Outgoing(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True)


class PageQuery(Incoming):
    """Which part of a list is wanted."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="The most entries.")] = 100
    cursor: Annotated[str, Field(max_length=2000, description="Where to go on: `next` of the part before.")] | None = None


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


class BuildsQuery(PageQuery):
    """Which builds are wanted; whatever is left out does not matter."""

    state: BuildState | None = None
    repo: Annotated[Line, Field(min_length=1, max_length=512, description="Address of the repository.")] | None = None
    requested_by: Annotated[Line, Field(max_length=255, description="You, or anybody for administrators.")] | None = None

    def wanted(self) -> BuildFilter:
        """Return what the manager is asked for.  Raises `InvalidAddress`."""
        repository = RepositoryUrl.parse(self.repo) if self.repo is not None else None
        return BuildFilter(self.state, repository, requested_by=self.requested_by)


class EnvironmentRequest(Incoming):
    """An environment to add: a repository, and what is not chosen by itself."""

    repo: Annotated[Line, Field(min_length=1, max_length=512, description="Address of a Git repository.")]
    ref: Ref = ""
    subdir: Annotated[Line, Field(max_length=200, description="The folder that holds the manifest.")] = ""
    name: Name = ""
    description: Description = ""
    memory: Memory | None = None
    cpu: Cpu | None = None
    visibility: Visibility = Visibility.PRIVATE
    groups: Groups = ()

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

    def as_changes(self) -> Changes:
        """Return what the manager is asked to change."""
        cleared = {name for name in ("memory", "cpu") if name in self.model_fields_set and getattr(self, name) is None}
        return Changes(**{name: getattr(self, name) for name in type(self).model_fields}, cleared=frozenset(cleared))


class BuildRequest(Incoming):
    """A build of what the environment's ref stands for now."""

    force: bool = Field(default=False, description="Build although this commit was built before.")


class RollbackRequest(Incoming):
    """The version to go back to; without one, the version before the current one."""

    version: str | None = None


class ResolveRequest(Incoming):
    """A repository to look at."""

    repo: Annotated[Line, Field(min_length=1, max_length=512)]
    ref: Ref = ""
    subdir: Annotated[Line, Field(max_length=200, description="The folder that holds the manifest.")] = ""


class SessionRequest(Incoming):
    """A session to start."""

    environment: str = Field(description="The environment's id.")
    version: str | None = Field(default=None, description="One of its versions; the current one when left out.")
    memory: Memory | None = None
    cpu: Cpu | None = None
    path: Annotated[Line, Field(max_length=500, description="The file to open first.")] | None = None
    name: str | None = Field(default=None, description="The session's name; made from the repository's when left out.")

    def options(self) -> dict[str, object]:
        """Return the spawner's ``user_options``."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class ProgressAnswer(Outgoing):
    """How far Guix is; ``total`` is 0 while that is not known."""

    phase: str
    done: int
    total: int


class BuildAnswer(Outgoing):
    """The job that makes a version."""

    id: str
    state: BuildState
    repo: str
    ref: str
    subdir: str
    commit: str | None
    requested_by: str | None = Field(description="Whose build it is; null when it is somebody else's.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: dict[str, object] | None
    progress: ProgressAnswer
    position: int | None = Field(description="Of a queued build: 1 for the next one; null where it is not looked for.")
    expected_seconds: float | None = Field(description="Until its turn, by how long builds took lately.")

    @classmethod
    def of(cls, build: Build, person: Person) -> Self:
        """Return BUILD as PERSON may see it: a build is shared by all who asked for the same, and they are not told of."""
        return cls(
            id=build.id,
            state=build.state,
            repo=str(build.repository),
            ref=build.ref,
            subdir=build.subdirectory,
            commit=build.commit,
            requested_by=build.requested_by if person.admin or build.requested_by == person.name else None,
            created=build.created,
            started=build.started,
            finished=build.finished,
            error=dict(build.error) if build.error is not None else None,
            progress=ProgressAnswer(phase=build.progress.phase, done=build.progress.done, total=build.progress.total),
            position=build.expected.position if build.expected else None,
            expected_seconds=build.expected.seconds if build.expected else None,
        )


class VersionAnswer(Outgoing):
    """One built commit of an environment."""

    id: str
    build: str
    commit: str
    ref: str
    subdir: str
    size: int = Field(description="Bytes of the profile and all it needs.")
    kernels: tuple[str, ...]
    packages: tuple[str, ...]
    created: datetime

    @classmethod
    def of(cls, version: Version) -> Self:
        """Return VERSION as the API shows it."""
        return cls(
            id=version.id,
            build=version.build,
            commit=version.commit,
            ref=version.ref,
            subdir=version.subdirectory,
            size=version.size,
            kernels=version.kernels,
            packages=version.packages,
            created=version.created,
        )


class ExportAnswer(Outgoing):
    """What makes a version again on another machine."""

    manifest: str = Field(description="The text of manifest.scm.")
    channels: str = Field(description="The text of channels.scm; empty where the Guix of this hub does not know its own.")
    command: str = Field(description="What to run beside these two files.")

    @classmethod
    def of(cls, export: Export) -> Self:
        """Return EXPORT as the API shows it."""
        return cls(manifest=export.manifest, channels=export.channels, command=export.command)


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
    may_change: bool = Field(description="Whether the caller may change, rebuild and delete it.")
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
            may_change=environment.may_be_changed_by(person),
            created=environment.created,
            updated=environment.updated,
            version=VersionAnswer.of(version) if version else None,
            build=BuildAnswer.of(build, person) if build else None,
        )


class PartAnswer(Outgoing):
    """A part of a list."""

    next: str | None = Field(description="The `cursor` of the next part; null when this is the last one.")


class EnvironmentsAnswer(PartAnswer):
    """What the caller may see, by name."""

    environments: tuple[EnvironmentAnswer, ...]


class VersionsAnswer(PartAnswer):
    """An environment's versions, newest first."""

    versions: tuple[VersionAnswer, ...]
    current: str | None


class BuildsAnswer(PartAnswer):
    """Builds, newest first."""

    builds: tuple[BuildAnswer, ...]


class ResolvedAnswer(Outgoing):
    """What would be built."""

    repo: str
    ref: str
    commit: str
    subdir: str
    path: str = Field(description="The file to open first, where the address was that of a file.")

    @classmethod
    def of(cls, resolved: Resolved, place: Located) -> Self:
        """Return what was RESOLVED of PLACE as the API shows it."""
        return cls(
            repo=str(resolved.repository),
            ref=resolved.ref,
            commit=resolved.commit,
            subdir=place.subdirectory,
            path=place.opens,
        )


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


class CallerAnswer(Outgoing):
    """Who asks, and what they may."""

    name: str = Field(description="As `owner` of environments has it.")
    groups: tuple[str, ...]
    admin: bool = Field(description="Whether they may see and change what is everybody's.")
    may_add: bool = Field(description="Whether they may add environments.")


class GalleryAnswer(PartAnswer):
    """What everyone may start, by name."""

    environments: tuple[GalleryEntry, ...]


class LogEvent(Outgoing):
    """Some of a build's log; its event's ``id`` is where to go on from."""

    text: str


class ErrorAnswer(Outgoing):
    """A refusal: ``code`` is stable, ``message`` and ``hint`` are for people; further fields are details."""

    error: Annotated[Mapping[str, object], Field(examples=[{"code": "not-found", "message": "There is nothing here."}])]


class HealthAnswer(Outgoing):
    """Whether the service can do its work."""

    status: str = Field(description="ok or failing")


class VersionsOfSoftware(Outgoing):
    """What is installed."""

    guixspawner: str
    jupyterhub: str
    api: str
