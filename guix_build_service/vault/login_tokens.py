"""The tokens with which people logged in to the hub at a forge, used for that forge's repositories: read when Git asks.

A hub whose authenticator is of a forge (as those of ``oauthenticator``) can keep what it was given there as the person's
*authentication state*. Nothing of it is kept here: it is asked of the hub at the moment in which a host wants a password.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from guix_build_service.credentials.envelope import Secret
from guix_environment.errors import CredentialUnusable, GuixSpawnerError, InvalidInput, NotFound, Refused
from guix_environment.repository_url import RepositoryUrl

log = logging.getLogger("guix_build_service.vault")

ANY_USER = "oauth2"
"""The user beside a token of OAuth: GitLab wants this one, and other forges take any."""

ReadAuthState = Callable[[str], Awaitable[Mapping[str, object]]]
"""From a person's name to how the hub describes them, with ``auth_state`` where it lets the service read that."""

ReadScopes = Callable[[], Awaitable[frozenset[str]]]
"""To what the hub lets the service do, as scopes with all that they comprise."""

SCOPES = ("admin:auth_state", "read:users:name")
"""What it takes to read people's authentication state, and of people at all (``jupyterhub/apihandlers/users.py``)."""


class LoginTokens:
    """What the hub knows, as far as the administrator lists the host that it belongs to."""

    def __init__(self, places: Mapping[str, str], read: ReadAuthState, read_scopes: ReadScopes) -> None:
        """Find the token for each host of PLACES at the path, names with dots between, that stands beside it."""
        self._places = dict(places)
        self._read = read
        self._read_scopes = read_scopes
        self.hindrance = ""
        """Why tokens cannot be read, as was found last; empty where they can, or before anybody looked."""

    async def look(self) -> None:
        """Find out, before anybody needs a token, whether the hub lets the service read them; log where it does not."""
        try:
            scopes = {scope.partition("!")[0] for scope in await self._read_scopes()}
        except GuixSpawnerError as error:
            self.hindrance = f"Whether this service may read the tokens of logins is not known. {error.message}"
        else:
            lacking = [scope for scope in SCOPES if scope not in scopes]
            self.hindrance = _without(lacking) if lacking else ""
        if self.hindrance:
            log.error("%s", self.hindrance)

    def may_open(self, url: RepositoryUrl) -> bool:
        """Tell whether a token of a login may be used for URL: for exactly this host and port, and never over SSH."""
        return url.scheme != "ssh" and bool(url.host) and url.authority in self._places

    async def secret(self, person: str, url: RepositoryUrl) -> Secret | None:
        """Return the token with which PERSON logged in at the host of URL; None where the hub has none.

        Raises `CredentialUnusable` where the hub does not let the service read it, and `HubUnavailable`.
        """
        try:
            described = await self._read(person)
        except NotFound:
            return None
        except Refused:
            described = {}
        if "auth_state" not in described:
            self.hindrance = _without(SCOPES[:1])
            log.error("%s", self.hindrance)
            raise CredentialUnusable(
                f"The hub does not tell this service with which token you logged in at {url.authority}.",
                hint="Tell its administrator: the service's log says why. Or keep a token on the page of credentials.",
            )
        self.hindrance = ""
        found = described["auth_state"]
        if found is None:
            log.warning(
                "The hub keeps no authentication state of %r: enable_auth_state is off, or was at their login.", person
            )
        for name in self._places[url.authority].split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        try:
            return Secret(ANY_USER, found) if isinstance(found, str) else None
        except InvalidInput:
            return None


def _without(scopes: Sequence[str]) -> str:
    """Return what it means that the service lacks SCOPES."""
    named = f"the scope{'' if len(scopes) == 1 else 's'} {' and '.join(scopes)}"
    return f"The hub does not let this service read the tokens of logins: it lacks {named}."
