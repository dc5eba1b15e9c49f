"""What all pages have in common: a visitor without a login is sent to the hub, and forms are read like the API's bodies."""

import json
from http import HTTPStatus

from tornado.web import StaticFileHandler

from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.api import Body, validated
from guix_build_service.web.auth import LoginCallback, Shared
from guix_build_service.web.rendering import PageAnswers
from guix_build_service.web.sessions import SessionLogReader, SessionStarter


class PageHandler(PageAnswers, SessionStarter):
    """A page, or where the form of one goes."""

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares."""
        super().initialize(shared)
        self.web = shared.settings

    def refuse_stranger(self) -> None:
        """Send a visitor who opens a page to the hub's login, from where they come back; refuse everything else."""
        opens_page = self.request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        if self.changes_something or not opens_page:
            super().refuse_stranger()
        self.redirect(self.get_login_url())

    def form(self, kind: type[Body], *names: str, **further: object) -> Body:
        """Return the fields NAMES of the form that was sent, and FURTHER ones, as KIND; those left empty are left out.

        Raises `InvalidInput`.
        """
        values = {name: self.get_body_argument(name, "") for name in names}
        given = {name: value for name, value in values.items() if value} | further
        return validated(kind, json.dumps(given).encode())

    def go(self, path: str) -> None:
        """Send the visitor on, after a form, to the page PATH of this service."""
        self.redirect(self.web.prefix + path, status=HTTPStatus.SEE_OTHER)


class SessionLogPage(SessionLogReader, PageHandler):
    """What one of the visitor's sessions printed, where pages lead to."""

    route = "sessions/{name}/log"

    async def get(self, name: str) -> None:
        """Show."""
        await self.give_log(name)


class LoginCallbackPage(PageAnswers, LoginCallback):
    """Where the hub sends people after they logged in; what goes wrong there is told on a page."""

    route = "oauth_callback"

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares."""
        super().initialize(shared)
        self.web = shared.settings


class Front(AnsweringHandler):
    """The service's address without its last slash."""

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares."""
        self._prefix = shared.settings.prefix

    async def get(self) -> None:
        """Lead to the address with it."""
        self.redirect(self._prefix, permanent=True)


class StaticFiles(AnsweringHandler, StaticFileHandler):
    """Style and scripts, the same for everybody and without a login."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - tornado's signature
        """Let browsers keep a file as long as it is the same."""
        self.set_header("Cache-Control", "no-cache")
