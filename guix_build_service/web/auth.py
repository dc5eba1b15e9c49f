"""Who is asking: the hub's users, by their browser's login or by a token; at the local socket, the machine's accounts.

A request is let through in this order: the hub says whose token or cookie it carries; with a cookie it must also carry the
XSRF token of our own pages, and what changes something must come from this very origin; and the hub's scopes must give
access to this service. What a person may see or change within it is decided by the manager.

`HubOAuth` asks the hub without blocking (its ``current_user`` would), keeps an answer for a minute, and is asked anew for
everything that changes something, so that a right that was taken away is soon gone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError

from guix_build_service.local.door import Visitor
from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import Person
from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.hub_client import HubClient, HubUnavailable
from guix_build_service.web.limits import Pace
from guix_build_service.web.refusals import NoAccess, NotLoggedIn, RequestForged, TooManyRequests
from guix_build_service.web.settings import WebSettings

IDENTITY_SECONDS = 60
"""How long the hub's answer about a token is believed."""

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing."""


def make_hub_auth(settings: WebSettings) -> HubOAuth:
    """Return the hub's own client for logins, set up without a look at this process's environment."""
    hub_auth = HubOAuth(
        api_url=settings.api_url,
        api_token=settings.api_token,
        base_url=settings.prefix,
        hub_host=settings.hub_host,
        hub_prefix=settings.hub_prefix,
        oauth_client_id=settings.client_id,
        cache_max_age=IDENTITY_SECONDS,
        access_scopes=set(settings.access_scopes),
        allow_token_in_url=False,
        allow_websocket_cookie_auth=False,
    )
    hub_auth.cookie_options = {"samesite": "Lax", **hub_auth.cookie_options}
    if settings.callback_url:
        hub_auth.oauth_redirect_uri = settings.callback_url
    return hub_auth


def person_from(model: Mapping[str, object], *, scopes_admin: bool) -> Person:
    """Return the hub's user or service MODEL as the one who asks.

    An administrator is whom the hub marks as such, or whose token may administer every user (SCOPES_ADMIN). A service gets
    a name that no user can have, with a slash in it (``jupyterhub.auth.Authenticator.validate_username``).
    """
    name = str(model["name"])
    if model.get("kind") == "service":
        return Person(f"service/{name}", frozenset(), scopes_admin)
    groups = model.get("groups")
    members = frozenset(str(group) for group in groups) if isinstance(groups, list) else frozenset()
    return Person(name, members, scopes_admin or model.get("admin") is True)


@dataclass(frozen=True, slots=True)
class Shared:
    """What every handler is given."""

    manager: Manager
    settings: WebSettings
    hub_auth: HubOAuth
    hub_client: HubClient
    reading: Pace
    """How fast each person may read."""
    changing: Pace
    """How fast each person may change something."""
    delivering: Pace
    """How fast each address may send what forges send."""
    local: bool = False
    """Whether it is the service's own account that asks, or root, at the socket in the service's folder."""


class Authenticated(HubOAuthenticated, AnsweringHandler):  # type: ignore[misc] # jupyterhub is untyped
    """A handler whose methods run only for somebody who may use the service, known as ``self.person``."""

    person: Person
    """Who asks; set before any method of the handler runs."""

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares; called by tornado for each request."""
        self.shared = shared
        self.manager = shared.manager
        self._hub_auth = shared.hub_auth

    async def prepare(self) -> None:
        """Let the request through.

        Raises `NotLoggedIn`, `NoAccess`, `RequestForged`, `TooManyRequests` or `HubUnavailable`.
        """
        await super().prepare()
        self.current_user = None
        if self.shared.local:
            self._admit_account()
            return
        model = await self._identify()
        if model is None:
            self.refuse_stranger()
            return
        self._admit(model)
        self._check_pace()

    def _admit_account(self) -> None:
        """Let in whoever came to the local socket and may; its administrators need no pace."""
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        visitor = Visitor.of(connection.stream.socket)
        if not visitor.may_enter:
            raise NoAccess("Only root and the service's own account enter here.", hint="Ask at the hub, with a token.")
        self.current_user = {"name": f"local/{visitor.name}"}
        self.person = Person(f"local/{visitor.name}", admin=True)

    async def identify_again(self) -> None:
        """Make sure, long after the request came in, that its login and access still hold; raises as `prepare` does."""
        if self.shared.local:
            return  # as long as the connection is there, it is the same account's
        model = await self._identify()
        if model is None:
            raise NotLoggedIn("The login has ended.", hint="Log in to the hub again.")
        self._admit(model)

    def _admit(self, model: Mapping[str, object]) -> None:
        if not self.hub_auth.check_scopes(self.hub_auth.access_scopes, model):
            raise NoAccess(
                "You have no access to the environments of this hub.",
                hint="Ask the people who run it for access to the service.",
            )
        self.current_user = model
        self.person = person_from(model, scopes_admin=bool(self.hub_auth.check_scopes({"admin:users"}, model)))

    def _check_pace(self) -> None:
        pace = self.shared.changing if self.changes_something else self.shared.reading
        if seconds := pace.wait(self.person.name):
            raise TooManyRequests(
                "You ask for more than anybody can have at once.",
                hint="Wait a little; programs do so for as long as Retry-After says.",
                details={"retry_after": math.ceil(seconds)},
            )

    @property
    def changes_something(self) -> bool:
        """Tell whether this request may change something."""
        return self.request.method not in READING_METHODS

    @property
    def by_token(self) -> bool:
        """Tell whether the request brought its token itself, in the Authorization header."""
        return bool(getattr(self, "_token_authenticated", False))

    @property
    def token(self) -> str:
        """The caller's own token at the hub, to act there as them; never ours."""
        return str(self.hub_auth.get_token(self) or "")

    def refuse_stranger(self) -> None:
        """Answer a request of which nobody knows whose it is; pages send a visitor to the hub instead."""
        raise NotLoggedIn(
            "Nobody is logged in, or the login has ended.",
            hint="Log in to the hub, or send a token of the hub in the Authorization header.",
        )

    async def _identify(self) -> dict[str, object] | None:
        """Return the hub's model of who asks, or None."""
        if self.request.headers.get("Sec-Fetch-Mode") == "websocket":
            raise RequestForged("There are no web sockets here.")
        model: dict[str, object] | None
        try:
            model = await self.hub_auth.get_user(self, sync=False)
            if model is not None and (self.changes_something or self.current_user):
                model = await self._ask_hub()
        except HTTPError as error:
            raise HubUnavailable("The hub does not answer.", hint="Try again in a minute.") from error
        if self.token and not self.hub_auth.get_token(self, in_cookie=False):
            self._check_origin_of_browser_request()
        return model

    async def _ask_hub(self) -> dict[str, object] | None:
        """Return the hub's model of the token's owner as it is now, not as it was up to a minute ago."""
        session = self.hub_auth.get_session_id(self)
        model: dict[str, object] | None = await self.hub_auth.user_for_token(
            self.token, use_cache=False, session_id=session, sync=False
        )
        return model

    def _check_origin_of_browser_request(self) -> None:
        """Raise `RequestForged` unless this request with a cookie comes from one of our own pages.

        The XSRF token is the first check, by the rules of the hub itself; where a browser says where a request comes from,
        that is the second one, for everything that changes something.
        """
        try:
            self.check_xsrf_cookie()
        except HTTPError as error:
            raise RequestForged(
                "This request did not come from a page of this service, or the page is too old.",
                hint="Reload the page and try again.",
            ) from error
        if self.changes_something and not self._is_from_here():
            raise RequestForged("This request came from another site.", hint="Use the buttons of this service's own pages.")

    def _is_from_here(self) -> bool:
        site = self.request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site in {"same-origin", "none"}
        origin = self.request.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc.lower() == self.request.host.lower()


class LoginCallback(HubOAuthCallbackHandler, AnsweringHandler):  # type: ignore[misc] # jupyterhub is untyped
    """Where the hub sends people after they logged in; from here they go where they wanted to."""

    def initialize(self, shared: Shared) -> None:
        """Take the hub's client; called by tornado for each request."""
        self._hub_auth = shared.hub_auth

    async def prepare(self) -> None:
        """Find out who it is, if anybody, without blocking: the hub's own handler would ask and wait."""
        await super().prepare()
        self.current_user = None
        self.current_user = await self.hub_auth.get_user(self, sync=False)
