"""What a build's steps are given and what they pass on."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.logs.build_logs import Log
from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.manifest.canonical import PackageList
from guix_build_service.manifest.pinned_channels import PinnedChannel
from guix_build_service.model.clocks import Clocks, working_clocks
from guix_build_service.model.environments import BuildState, Progress, Resolved
from guix_environment.archived import ArchiveSites
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import BuildId, Commit, EnvironmentId, StorePath, VariableName
from guix_environment.records import Records
from guix_environment.repository_url import RepositoryUrl
from guix_environment.roots import Roots

MARK = "GUIX_BUILD_SERVICE_BUILD"
"""The variable that every process of a build has in its environment, with the build's name."""

RUN_BY = "GUIX_BUILD_SERVICE_PROCESS"
"""The variable beside it that says which process of the service began it, by the name that it has in the database."""

COPIES = "GUIX_BUILD_SERVICE_COPIES"
"""The variable that also the process has which copies the others' output into the log (`written_to_log`)."""


@dataclass(frozen=True, slots=True)
class ChannelGuix:
    """The Guix of the channels that a repository pins."""

    key: str
    """The name of its root."""
    profile: StorePath
    channels: tuple[PinnedChannel, ...]
    """All that it is made of, with what these depend on, each at its commit."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all builds share: tools, places and limits."""

    git: Git
    guix: GuixCommand
    hosts: Hosts
    records: Records
    roots: Roots
    state_folder: Path
    """For what the service keeps for itself: what it knows of finished profiles, and builds' own folders."""
    build_seconds: float
    """How long Guix may take for one environment."""
    silent_seconds: int = 3600
    """How long one package's build may say nothing."""
    evaluation: Evaluation | None = None
    """How manifests are run that are no data; None where none is."""
    allowed_channels: tuple[AllowedChannel, ...] = ()
    """Channels that the administrator means beside Guix's own."""
    secrets: Callable[[str, RepositoryUrl], Awaitable[tuple[str, ...]]] | None = None
    """What must be in no log of a person's build of a repository, in all the forms that are looked for."""
    leases: Roots | None = None
    """Where sessions hold what they use; None where that is not known."""
    clocks: Clocks = field(default_factory=working_clocks)
    """By which is seen whether the machine's clock leaps, or the machine sleeps."""
    channel_guix: ChannelGuix | None = None
    """What ``guix`` is of, where it is not the machine's own."""

    archives: ArchiveSites = field(default_factory=ArchiveSites)
    """Which hosts are archives, and no Git hosts."""
    vault_pause: float = 5.0
    """Seconds between two questions whether Software Heritage has prepared something."""

    @property
    def channel_roots(self) -> Roots:
        """What holds the Guixes of pinned channels."""
        return Roots(self.roots.folder / "channels")


@dataclass(frozen=True, slots=True)
class Job:
    """One build, as its steps see it."""

    build: BuildId
    repository: RepositoryUrl
    ref: str
    subdirectory: str
    commit: Commit | None
    """Where it is known already; then only that commit is built."""
    force: bool
    folder: Path
    """A folder of the job's own, gone when the job ends."""
    log: Log
    person: str = ""
    """Who asked for it, and whose credentials are used."""
    groups: frozenset[str] = frozenset()
    """Those of their groups, when they asked, whose members may have manifests run."""
    environments: tuple[EnvironmentId, ...] = ()
    """For whom it is, when it began."""
    service: str = ""
    """Which process of the service does it."""
    begun: float = field(default_factory=time.monotonic)
    """When it began, by the clock that does not leap."""

    @property
    def took(self) -> float:
        """The seconds since it began."""
        return time.monotonic() - self.begun

    @property
    def marks(self) -> Mapping[str, str]:
        """What the job's processes have in their environment."""
        return {MARK: str(self.build), RUN_BY: self.service}

    @property
    def clone(self) -> Path:
        """The job's own bare repository."""
        return self.folder / "repository.git"


class Reporter(Protocol):
    """Who wants to know how a job goes on."""

    async def entered(self, state: BuildState) -> None:
        """The job is in STATE now."""

    async def resolved(self, resolved: Resolved) -> None:
        """The job's commit is known now."""

    async def progressed(self, progress: Progress) -> None:
        """Guix is this far now."""


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """What the repository asks for."""

    packages: PackageList
    source: str
    """The file that says so."""
    notebook: str
    """The notebook to open first; empty for none."""
    remarks: tuple[str, ...] = ()
    """What people should know of how the repository was read."""
    additions: Path | None = None
    """The index of what is added to the store before its packages can be built; None where they are all Guix's own."""
    channels: tuple[PinnedChannel, ...] = ()
    """The channels to take the packages from; none for those of the hub's own Guix."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that was built, and all that must be known of it to start sessions."""

    key: str
    """Its environment key, and the name of its root."""
    path: StorePath
    closure: tuple[StorePath, ...]
    size: int
    """Bytes of the closure."""
    variables: Mapping[VariableName, str]
    channels: str = ""
    """A channels file of the Guix that made it; empty where that is not known."""
    sizes: tuple[int, ...] = ()
    """Bytes of each item of the closure, in its order; empty where they were not noted."""


@dataclass(frozen=True, slots=True)
class Made:
    """All of a finished build but the versions that are made of it."""

    resolved: Resolved
    manifest: ReadManifest
    profile: Profile
    known: bool = False
    """Whether the profile was there already."""
