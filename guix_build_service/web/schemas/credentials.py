"""The API's JSON about credentials: what opens a person's private repositories goes in, and never comes out."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, SecretStr

from guix_build_service.credentials.envelope import LONGEST, Kept, Secret
from guix_build_service.web.schemas.fields import Incoming, Outgoing


class CredentialRequest(Incoming):
    """What opens repositories of a host."""

    user: Annotated[SecretStr, Field(max_length=LONGEST)] = Field(
        default=SecretStr("x-access-token"), description="A name; forges that take a token take any."
    )
    password: Annotated[SecretStr, Field(min_length=1, max_length=LONGEST)] = Field(
        description="A token that may read the repositories, or a password."
    )

    def secret(self) -> Secret:
        """Return what is to be kept.  Raises `InvalidInput`."""
        return Secret(self.user.get_secret_value(), self.password.get_secret_value())


class CredentialAnswer(Outgoing):
    """That something is kept for a host, and how it went."""

    host: str
    created: datetime
    used: datetime | None = Field(description="When Git was given it last.")
    refused: datetime | None = Field(description="When its host did not accept it; null since it did.")

    @classmethod
    def of(cls, kept: Kept) -> Self:
        """Return KEPT as the API shows it."""
        return cls(host=kept.place.host, created=kept.created, used=kept.used, refused=kept.refused)


class CredentialsAnswer(Outgoing):
    """What the caller keeps, by host."""

    credentials: tuple[CredentialAnswer, ...]
