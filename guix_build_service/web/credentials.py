"""The API's credentials: what opens a person's private repositories, which goes in and never comes out."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self

from pydantic import Field, SecretStr

from guix_build_service.credentials.envelope import LONGEST, Kept, Secret
from guix_build_service.web.api import ApiHandler, operation
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


class Credentials(ApiHandler):
    """All that the caller keeps."""

    route = "credentials"

    @operation("List the hosts that you keep a credential for", gives=CredentialsAnswer)
    async def get(self) -> None:
        """List."""
        kept = await self.manager.vault.credentials(self.person.name)
        self.give(CredentialsAnswer(credentials=tuple(CredentialAnswer.of(each) for each in kept)))


class OneCredential(ApiHandler):
    """What the caller keeps for one host."""

    route = "credentials/{host}"

    @operation(
        "Keep a token or password for a host, to read private repositories there",
        takes=CredentialRequest,
        gives=CredentialAnswer,
    )
    async def put(self, host: str) -> None:
        """Keep."""
        secret = self.body(CredentialRequest).secret()
        self.give(CredentialAnswer.of(await self.manager.vault.put(self.person.name, host, secret)))

    @operation("Forget what you keep for a host", statuses=(HTTPStatus.NO_CONTENT,))
    async def delete(self, host: str) -> None:
        """Forget."""
        await self.manager.vault.remove(self.person.name, host)
        self.set_status(HTTPStatus.NO_CONTENT)
