"""What the build service knows about: environments, their versions, and the builds that make them.

Everything here is a value: the store reads and writes it, the manager hands it to the pages and the API, and nothing in it
can change behind a reader's back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from guix_build_service.model.members import Member, MemberKind, Role, highest
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, StorePath, VersionId
from guix_environment.records import LetGo, Visibility
from guix_environment.repository_url import RepositoryUrl

_Entry_co = TypeVar("_Entry_co", covariant=True)

RECIPE_VERSION = 1
"""Raised whenever the same commit would now give another environment, so that finished ones are not taken for it."""


def now() -> datetime:
    """Return the present moment, in UTC and to the microsecond."""
    return datetime.now(UTC)


class BuildState(StrEnum):
    """Where a build is."""

    QUEUED = "queued"
    """It waits for its turn."""
    RESOLVING = "resolving"
    """The repository is asked which commit the branch or tag stands for."""
    FETCHING = "fetching"
    """That commit is being fetched."""
    READING = "reading"
    """The manifest is read, and Guix is asked what its packages amount to."""
    BUILDING = "building"
    """Guix downloads and builds."""
    READY = "ready"
    """The version is there."""
    FAILED = "failed"
    """It could not be made; the build's error says why."""
    CANCELLED = "cancelled"
    """Somebody stopped it."""

    @property
    def is_final(self) -> bool:
        """Tell whether nothing follows this state."""
        return self in FINAL

    @property
    def is_running(self) -> bool:
        """Tell whether work is being done in this state."""
        return self in RUNNING

    def may_become(self, following: "BuildState") -> bool:
        """Tell whether a build may go from this state to FOLLOWING."""
        return following in TRANSITIONS[self]


RUNNING = frozenset({BuildState.RESOLVING, BuildState.FETCHING, BuildState.READING, BuildState.BUILDING})
FINAL = frozenset({BuildState.READY, BuildState.FAILED, BuildState.CANCELLED})

_ENDS = frozenset({BuildState.FAILED, BuildState.CANCELLED})
_AGAIN = frozenset({BuildState.QUEUED})  # the service ended while it ran

TRANSITIONS: Mapping[BuildState, frozenset[BuildState]] = {
    BuildState.QUEUED: frozenset({BuildState.RESOLVING}) | _ENDS,
    BuildState.RESOLVING: frozenset({BuildState.FETCHING}) | _ENDS | _AGAIN,
    BuildState.FETCHING: frozenset({BuildState.READING}) | _ENDS | _AGAIN,
    BuildState.READING: frozenset({BuildState.BUILDING}) | _ENDS | _AGAIN,
    BuildState.BUILDING: frozenset({BuildState.READY}) | _ENDS | _AGAIN,
    BuildState.READY: frozenset(),
    BuildState.FAILED: frozenset(),
    BuildState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a user of the hub, as the hub describes them."""

    name: str
    groups: frozenset[str] = frozenset()
    admin: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """What a person added, names and shares."""

    id: EnvironmentId
    name: str
    description: str
    repository: RepositoryUrl
    ref: str
    """The branch, tag or commit that new versions are made of; empty for the repository's default branch."""
    subdirectory: str
    owner: str
    visibility: Visibility
    groups: tuple[str, ...]
    memory: int | None
    """Bytes a session may use."""
    cpu: float | None
    """Cores a session may use."""
    current: VersionId | None
    """The version that sessions start from; None until one is ready."""
    created: datetime
    updated: datetime
    members: tuple[Member, ...] = ()
    """With whom it is shared by name, beside those whom `visibility` lets see it."""

    def role_of(self, person: Person) -> Role | None:
        """Return what PERSON is to this environment; None where it does not exist for them."""
        if person.admin or person.name == self.owner:
            return Role.OWNER
        shown = self.visibility is Visibility.EVERYONE or (
            self.visibility is Visibility.GROUPS and not person.groups.isdisjoint(self.groups)
        )
        given = [member.role for member in self.members if member.is_(person.name, person.groups)]
        return highest([*given, *([Role.VIEWER] if shown else [])])

    def member_names(self, kind: MemberKind) -> tuple[str, ...]:
        """Return the names of the members of that KIND."""
        return tuple(member.name for member in self.members if member.kind is kind)

    def may_be_seen_by(self, person: Person) -> bool:
        """Tell whether PERSON may know of this environment and start it."""
        return self.role_of(person) is not None

    def may_be_changed_by(self, person: Person) -> bool:
        """Tell whether PERSON may name, describe and rebuild this environment, and go back to earlier versions."""
        return self.role_of(person) in {Role.EDITOR, Role.OWNER}

    def is_owned_by(self, person: Person) -> bool:
        """Tell whether PERSON may do everything with this environment: share, give away and delete it."""
        return self.role_of(person) is Role.OWNER


@dataclass(frozen=True, slots=True)
class Version:
    """One built commit of an environment's repository."""

    id: VersionId
    environment: EnvironmentId
    build: BuildId
    commit: Commit
    ref: str
    subdirectory: str
    key: str
    """The environment key: equal for all versions that share one profile."""
    profile: StorePath
    size: int
    """Bytes of the closure."""
    kernels: tuple[str, ...]
    """What people choose in JupyterLab, such as ``Python 3 (ipykernel)``."""
    packages: tuple[str, ...]
    """The packages that the manifest names and those that were added, as Guix specifications."""
    created: datetime
    pinned: bool = False
    """Whether somebody wants its profile kept, however long nobody uses it."""
    let_go: LetGo | None = None
    """Since when its profile is no longer kept, and why; None where it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far Guix is, as far as can be told from what it says."""

    phase: str = ""
    """What happens now, in a person's words."""
    done: int = 0
    """Downloads and derivations that are finished."""
    total: int = 0
    """Those that Guix announced; 0 while that is not known."""
    bytes_done: int = 0
    """Of the downloads among them, that have come."""
    bytes_total: int = 0
    """Of all these downloads, as far as servers tell how large they are; 0 where there are none, or none is known yet."""
    item: str = ""
    """The name of what is downloaded or built now; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """When the turn of a build that waits is to be expected."""

    position: int
    """1 for the next one."""
    seconds: float | None
    """Until then, by how long builds took lately; None where there were none."""


@dataclass(frozen=True, slots=True)
class Build:
    """The job that makes a version."""

    id: BuildId
    environments: tuple[EnvironmentId, ...]
    """For whom it is: the environment that asked first, then those that asked for the same while it ran."""
    repository: RepositoryUrl
    ref: str
    subdirectory: str
    commit: Commit | None
    """None until the ref was resolved."""
    state: BuildState
    force: bool
    """Whether to build although this commit was built before."""
    requested_by: str
    created: datetime
    evaluated_for: tuple[str, ...] = ()
    """The groups of whoever asked, as they were then, whose members may have manifests run; others are not kept."""
    started: datetime | None = None
    finished: datetime | None = None
    error: Mapping[str, object] | None = field(default=None, hash=False)
    """Of a failed build: ``code``, ``message``, perhaps ``hint`` and details (`guix_environment.errors`)."""
    progress: Progress = field(default_factory=Progress)
    service: str | None = None
    """Which process of the service runs it, or ran it to its end."""
    expected: Expectation | None = None
    """Of a build that waits, where it was looked for."""


@dataclass(frozen=True, slots=True)
class EnvironmentDetail:
    """An environment with what its page shows beside it."""

    environment: Environment
    build: Build | None
    """The latest build."""
    version: Version | None
    """The current version."""

    @property
    def state(self) -> BuildState:
        """The state of the latest build: what a person who just asked for something waits for."""
        if self.build is not None:
            return self.build.state
        return BuildState.READY if self.version else BuildState.QUEUED


@dataclass(frozen=True, slots=True)
class NewEnvironment:
    """What a person asks for: all that is not given is chosen for them."""

    repository: str
    ref: str = ""
    subdirectory: str = ""
    name: str = ""
    """The repository's name when empty."""
    description: str = ""
    memory: int | None = None
    cpu: float | None = None
    visibility: Visibility = Visibility.PRIVATE
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What of an environment is to become different; None leaves a thing as it is."""

    name: str | None = None
    description: str | None = None
    ref: str | None = None
    memory: int | None = None
    cpu: float | None = None
    visibility: Visibility | None = None
    groups: tuple[str, ...] | None = None
    owner: str | None = None
    """Whom it is given to."""
    cleared: frozenset[str] = frozenset()
    """Those of ``memory`` and ``cpu`` that are to be without a limit."""

    @property
    def of_its_owner(self) -> bool:
        """Tell whether there is something in it that the owner alone may change."""
        theirs = (self.ref, self.memory, self.cpu, self.visibility, self.groups, self.owner)
        return bool(self.cleared) or any(value is not None for value in theirs)


LARGEST_PAGE = 500
"""The most that is listed at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list goes on: behind the entry with this KEY and, where several have that, this ID."""

    key: str
    id: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is wanted."""

    limit: int = 100
    """The most entries, 1 to `LARGEST_PAGE`."""
    after: Place | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[_Entry_co]):
    """A part of a list."""

    items: tuple[_Entry_co, ...]
    following: Place | None
    """Where the rest begins; None when there is no more."""


@dataclass(frozen=True, slots=True)
class EnvironmentFilter:
    """Which environments are wanted; whatever is None does not matter."""

    owner: str | None = None
    state: BuildState | None = None
    text: str | None = None
    """In the name, the description or the repository's address, however it is written there."""
    repository: RepositoryUrl | None = None
    visibility: Visibility | None = None
    startable: bool = False
    """Only those with a current version."""


@dataclass(frozen=True, slots=True)
class BuildFilter:
    """Which builds are wanted; whatever is None does not matter."""

    state: BuildState | None = None
    repository: RepositoryUrl | None = None
    environment: EnvironmentId | None = None
    requested_by: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What would be built: the repository, and of which commit it is as far as that is known before it is fetched."""

    repository: RepositoryUrl
    ref: str
    """The branch or tag, also where the repository chose it; empty for a commit that was given as such."""
    commit: Commit | None
    """None of a version of an archive's record, which `ref` then names: its files alone tell."""
    private: bool = False
    """Whether its host told only after it was given a credential."""


@dataclass(frozen=True, slots=True)
class Resolved(Found):
    """The repository at one commit."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Export:
    """What makes a version again on another machine."""

    manifest: str
    """The text of ``manifest.scm``: our own, which says what was understood of the repository's."""
    channels: str
    """The text of ``channels.scm``; empty where the Guix that built it does not know what it was made of."""

    @property
    def command(self) -> str:
        """The command that gives a shell with the version's packages, beside these files."""
        made = "guix time-machine -C channels.scm -- shell" if self.channels else "guix shell"
        return f"{made} --pure -m manifest.scm"


@dataclass(frozen=True, slots=True)
class LogText:
    """Some of a build's log, made harmless for a terminal and for a page."""

    position: int
    """Bytes of the log up to the end of this text: where to go on from."""
    text: str


@dataclass(frozen=True, slots=True)
class BuildChanged:
    """A build's state or progress became different; also the first and the last event that a follower gets."""

    position: int
    """Bytes of the log that the follower has got so far."""
    build: Build


BuildEvent = LogText | BuildChanged
