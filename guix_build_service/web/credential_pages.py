"""The page on which people keep what opens their private repositories, see how it went, and have it forgotten."""

import asyncio
import contextlib

from guix_build_service.credentials.envelope import Kept
from guix_build_service.providers.place import Pasted
from guix_build_service.web.pages import PageHandler
from guix_build_service.web.schemas.credentials import CredentialRequest
from guix_environment.errors import GuixSpawnerError, InvalidInput, NotFound
from guix_environment.repository_url import RepositoryUrl


class CredentialsPage(PageHandler):
    """All that the visitor keeps, and a form to keep more."""

    route = "credentials"

    async def get(self) -> None:
        """Show; a link may name the host that the form is for."""
        await self._show(host_in(self.get_query_argument("host", "")), "", None)

    async def post(self) -> None:
        """Keep what the form says, or show the form again with what is wrong, and without the secret."""
        host, user = host_in(self.get_body_argument("host", "")), self.get_body_argument("user", "")
        try:
            request = self.form(CredentialRequest, "user", "password", "ssh_key")
            await self.manager.vault.put(self.person.name, host, await asyncio.to_thread(request.opener))
        except GuixSpawnerError as refusal:
            self.set_status(refusal.status)
            await self._show(host, user, refusal)
            return
        self.go("credentials")

    async def _show(self, host: str, user: str, refusal: GuixSpawnerError | None) -> None:
        kept = await self.manager.vault.credentials(self.person.name)
        self.render_page("credentials.html", kept=kept, host=host, user=user, refusal=refusal)


class ForgetCredentialForm(PageHandler):
    """Where what the visitor keeps for one host is forgotten; a page that asks first, for browsers without scripts."""

    route = "credentials/{host}/delete"

    async def get(self, host: str) -> None:
        """Ask."""
        self.render_page("delete_credential.html", each=await self._kept(host))

    async def post(self, host: str) -> None:
        """Forget."""
        place = (await self._kept(host)).place
        await self.manager.vault.remove(self.person.name, place.host, place.kind)
        self.go("credentials")

    async def _kept(self, host: str) -> Kept:
        kind = self.get_argument("kind", "")
        for kept in await self.manager.vault.credentials(self.person.name):
            if kept.place.host == host and kind in {"", kept.place.kind}:
                return kept
        raise NotFound("You keep no credential for this host.")


def host_in(text: str) -> str:
    """Return the host that TEXT is or, where somebody pasted the address of a repository, names; else TEXT itself.

    >>> host_in("https://codeberg.org/ada/plots/src/branch/main")
    'codeberg.org'
    >>> host_in("git@codeberg.org:ada/plots.git")
    'codeberg.org'
    """
    text = text.strip()
    if "@" in text:
        with contextlib.suppress(InvalidInput):
            return RepositoryUrl.parse(text).authority
    pasted = Pasted.parse(text) if "/" in text else None
    return pasted.authority if pasted is not None else text
