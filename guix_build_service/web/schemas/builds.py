"""The API's JSON about builds."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from guix_build_service.model.environments import Build, BuildFilter, BuildState, Person, Progress
from guix_build_service.web.schemas.fields import Incoming, Line, Outgoing, PageQuery, PartAnswer, VersionName
from guix_environment.identifiers import VersionId
from guix_environment.repository_url import RepositoryUrl


class BuildsQuery(PageQuery):
    """Which builds are wanted; whatever is left out does not matter."""

    state: BuildState | None = None
    repo: Annotated[Line, Field(min_length=1, max_length=512, description="Address of the repository.")] | None = None
    requested_by: Annotated[Line, Field(max_length=255, description="You, or anybody for administrators.")] | None = None

    def wanted(self) -> BuildFilter:
        """Return what the manager is asked for.  Raises `InvalidAddress`."""
        repository = RepositoryUrl.parse(self.repo) if self.repo is not None else None
        return BuildFilter(self.state, repository, requested_by=self.requested_by)


class BuildRequest(Incoming):
    """A build of what the environment's ref stands for now."""

    force: bool = Field(default=False, description="Build although this commit was built before.")
    version: VersionName | None = Field(
        default=None,
        description="Build the commit of this version instead, from what is kept of it, as when its profile went.",
    )

    def wanted(self) -> VersionId | None:
        """Return the version whose commit is to be built, if it is one's.  Raises `InvalidInput`."""
        return VersionId(self.version) if self.version is not None else None


class ProgressAnswer(Outgoing):
    """How far Guix is; totals are 0 while they are not known, and grow where more comes up."""

    phase: str = Field(description="What happens now, in words.")
    done: int = Field(description="Downloads and derivations that are finished.")
    total: int
    bytes_done: int = Field(default=0, description="Of these downloads, that have come.")
    bytes_total: int = Field(
        default=0,
        description="Of all these downloads, as their servers tell; where one does not, what becomes of its file counts.",
    )
    item: str = Field(default="", description="The name of what is downloaded or built now.")

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """Return PROGRESS as the API has it."""
        return cls(
            phase=progress.phase,
            done=progress.done,
            total=progress.total,
            bytes_done=progress.bytes_done,
            bytes_total=progress.bytes_total,
            item=progress.item,
        )


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
        return cls.telling(build, whose=person.admin or build.requested_by == person.name)

    @classmethod
    def telling(cls, build: Build, *, whose: bool) -> Self:
        """Return BUILD, and WHOSE it is only where that is to be told."""
        return cls(
            id=build.id,
            state=build.state,
            repo=str(build.repository),
            ref=build.ref,
            subdir=build.subdirectory,
            commit=build.commit,
            requested_by=build.requested_by if whose else None,
            created=build.created,
            started=build.started,
            finished=build.finished,
            error=dict(build.error) if build.error is not None else None,
            progress=ProgressAnswer.of(build.progress),
            position=build.expected.position if build.expected else None,
            expected_seconds=build.expected.seconds if build.expected else None,
        )


class BuildsAnswer(PartAnswer):
    """Builds, newest first."""

    builds: tuple[BuildAnswer, ...]


class LogEvent(Outgoing):
    """Some of a build's log; its event's ``id`` is where to go on from."""

    text: str
