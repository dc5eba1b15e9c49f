"""The API's JSON about credentials: what opens a person's private repositories goes in, and never comes out."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from guix_build_service.credentials.envelope import LONGEST, Kept, Kind, Secret
from guix_build_service.credentials.ssh_keys import LONGEST_KEY, SshKey
from guix_build_service.web.schemas.fields import Incoming, Outgoing


class CredentialRequest(Incoming):
    """What opens repositories of a host: a token or password, for addresses of HTTPS, or a key, for those of SSH."""

    user: Annotated[SecretStr, Field(max_length=LONGEST)] = Field(
        default=SecretStr("x-access-token"), description="A name; forges that take a token take any."
    )
    password: Annotated[SecretStr, Field(min_length=1, max_length=LONGEST)] | None = Field(
        default=None, description="A token that may read the repositories, or a password."
    )
    ssh_key: Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_KEY)] | None = Field(
        default=None, description="In its place, a private key of SSH without a passphrase, as ssh-keygen writes it."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.password is None) is (self.ssh_key is None):
            raise ValueError("is to have a token or password, or an SSH key, and not both")
        return self

    def opener(self) -> Secret | SshKey:
        """Return what is to be kept.  Blocks for a moment.  Raises `InvalidInput`."""
        if self.ssh_key is not None:
            return SshKey.parse(self.ssh_key.get_secret_value())
        assert self.password is not None
        return Secret(self.user.get_secret_value(), self.password.get_secret_value())


class CredentialQuery(Incoming):
    """Which of what is kept for a host is meant."""

    kind: Kind | None = Field(default=None, description="Only what is of this kind.")


class CredentialAnswer(Outgoing):
    """That something is kept for a host, and how it went."""

    host: str
    kind: Kind
    fingerprint: str = Field(description="Of a key, by which the forge knows it too; empty for a token or password.")
    created: datetime
    used: datetime | None = Field(description="When Git was given it last.")
    refused: datetime | None = Field(description="When its host did not accept it; null since it did.")

    @classmethod
    def of(cls, kept: Kept) -> Self:
        """Return KEPT as the API shows it."""
        place = kept.place
        return cls(
            host=place.host,
            kind=place.kind,
            fingerprint=kept.fingerprint,
            created=kept.created,
            used=kept.used,
            refused=kept.refused,
        )


class CredentialsAnswer(Outgoing):
    """What the caller keeps, by host."""

    credentials: tuple[CredentialAnswer, ...]
