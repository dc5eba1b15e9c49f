"""The API's JSON about what environments hold of the disk."""

from datetime import datetime
from typing import Self

from pydantic import Field

from guix_build_service.model.storage import EnvironmentStorage, Share, VersionStorage
from guix_build_service.web.schemas.fields import Outgoing


class ShareAnswer(Outgoing):
    """Bytes of what is held."""

    size: int
    alone: int = Field(description="Of what no other version of any environment holds, nor the server of sessions.")
    shared: int = Field(description="Of what others hold too.")
    frees: int = Field(description="Of what of `alone` no running session holds: deleting it frees that much at most.")

    @classmethod
    def of(cls, share: Share) -> Self:
        """Return SHARE as the API shows it."""
        return cls(size=share.size, alone=share.alone, shared=share.shared, frees=share.frees)


class VersionStorageAnswer(Outgoing):
    """What a version holds."""

    version: str
    bytes: ShareAnswer | None = Field(description="null for what was built before sizes of items were noted.")
    in_session: bool | None = Field(description="Whether a running session holds its profile; null where that is not known.")
    used: datetime | None = Field(description="When a session was last seen to hold its profile; null for never.")

    @classmethod
    def of(cls, storage: VersionStorage) -> Self:
        """Return STORAGE as the API shows it."""
        return cls(
            version=storage.version,
            bytes=ShareAnswer.of(storage.share) if storage.share else None,
            in_session=storage.in_session,
            used=storage.used,
        )


class StorageAnswer(Outgoing):
    """What an environment holds."""

    environment: str
    bytes: ShareAnswer | None = Field(description="Of all its versions together; null where that of one is.")
    in_session: bool | None
    used: datetime | None
    versions: tuple[VersionStorageAnswer, ...]

    @classmethod
    def of(cls, storage: EnvironmentStorage) -> Self:
        """Return STORAGE as the API shows it."""
        return cls(
            environment=storage.environment,
            bytes=ShareAnswer.of(storage.share) if storage.share else None,
            in_session=storage.in_session,
            used=storage.used,
            versions=tuple(VersionStorageAnswer.of(each) for each in storage.versions),
        )
