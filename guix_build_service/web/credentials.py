"""The API's credentials: what opens a person's private repositories, which goes in and never comes out."""

import asyncio
from http import HTTPStatus

from guix_build_service.web.api import ApiHandler, operation
from guix_build_service.web.schemas.credentials import (
    CredentialAnswer,
    CredentialQuery,
    CredentialRequest,
    CredentialsAnswer,
)


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
        "Keep a token, password or SSH key for a host, to read private repositories there",
        takes=CredentialRequest,
        gives=CredentialAnswer,
    )
    async def put(self, host: str) -> None:
        """Keep."""
        opener = await asyncio.to_thread(self.body(CredentialRequest).opener)
        self.give(CredentialAnswer.of(await self.manager.vault.put(self.person.name, host, opener)))

    @operation("Forget what you keep for a host", query=CredentialQuery, statuses=(HTTPStatus.NO_CONTENT,))
    async def delete(self, host: str) -> None:
        """Forget."""
        await self.manager.vault.remove(self.person.name, host, self.query(CredentialQuery).kind)
        self.set_status(HTTPStatus.NO_CONTENT)
