"""The API's JSON about the versions of environments."""

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field

from guix_build_service.model.environments import Export, Version
from guix_build_service.web.schemas.fields import Incoming, Outgoing, PartAnswer, VersionName


class RollbackRequest(Incoming):
    """The version to go back to; without one, the version before the current one."""

    version: VersionName | None = None


class VersionChanges(Incoming):
    """What is to become different of a version."""

    pinned: bool = Field(description="Whether its profile is to be kept, however long nobody uses it.")


class ProfileState(StrEnum):
    """Whether the profile of a version is kept."""

    PRESENT = "present"
    """Sessions can start from it."""
    GONE = "gone"
    """It was let go and may be collected; it can be built again."""


class LetGoAnswer(Outgoing):
    """That a profile was let go."""

    since: datetime
    why: str


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
    pinned: bool = Field(description="Whether its profile is kept, however long nobody uses it.")
    profile: ProfileState
    let_go: LetGoAnswer | None = Field(description="Since when its profile is gone, and why; null where it is not.")

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
            pinned=version.pinned,
            profile=ProfileState.GONE if version.let_go else ProfileState.PRESENT,
            let_go=LetGoAnswer(since=version.let_go.since, why=version.let_go.why) if version.let_go else None,
        )


class VersionsAnswer(PartAnswer):
    """An environment's versions, newest first."""

    versions: tuple[VersionAnswer, ...]
    current: str | None


class ExportAnswer(Outgoing):
    """What makes a version again on another machine."""

    manifest: str = Field(description="The text of manifest.scm.")
    channels: str = Field(description="The text of channels.scm; empty where the Guix of this hub does not know its own.")
    command: str = Field(description="What to run beside these two files.")

    @classmethod
    def of(cls, export: Export) -> Self:
        """Return EXPORT as the API shows it."""
        return cls(manifest=export.manifest, channels=export.channels, command=export.command)
