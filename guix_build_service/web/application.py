"""The whole web of the service: every address and who answers there."""

import logging
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler, stream_request_body

from guix_build_service.manager.manager import Manager
from guix_build_service.web import (
    about,
    api_page,
    audit,
    binderhub,
    binderhub_pages,
    build_pages,
    builds,
    change_pages,
    credential_pages,
    credentials,
    environment_pages,
    environments,
    events,
    export_pages,
    front_page,
    isolation_page,
    members,
    pages,
    retention,
    sessions,
    sharing_pages,
    storage,
    webhook_pages,
    webhooks,
)
from guix_build_service.web.answers import LARGEST_BODY, AnsweringHandler, security_headers, too_large
from guix_build_service.web.auth import Shared, make_hub_auth
from guix_build_service.web.callers import Caller
from guix_build_service.web.hub_client import HubClient
from guix_build_service.web.limits import Pace
from guix_build_service.web.openapi import describe
from guix_build_service.web.rendering import PageAnswers, make_templates
from guix_build_service.web.settings import WebSettings
from guix_environment.errors import GuixSpawnerError, NotFound

log = logging.getLogger("guix_build_service.access")

API: tuple[type[AnsweringHandler], ...] = (
    environments.Environments,
    environments.OneEnvironment,
    environments.Versions,
    environments.OneVersion,
    environments.VersionExport,
    storage.Storage,
    environments.EnvironmentBuilds,
    environments.Rollback,
    members.Members,
    members.OneMember,
    environments.Resolve,
    builds.Builds,
    builds.OneBuild,
    builds.Cancel,
    builds.Log,
    events.Events,
    sessions.Sessions,
    sessions.OneSession,
    sessions.SessionLog,
    sessions.SessionOptions,
    sessions.Gallery,
    credentials.Credentials,
    credentials.OneCredential,
    webhooks.Webhook,
    webhooks.Deliveries,
    audit.AuditLog,
    retention.Retention,
    Caller,
    about.Health,
    about.SoftwareVersions,
    about.Metrics,
    about.Description,
)
"""Everything below ``api/v1/``."""

PAGES: tuple[type[AnsweringHandler], ...] = (
    front_page.FrontPage,
    environment_pages.EnvironmentPage,
    environment_pages.StartForm,
    environment_pages.StopForm,
    environment_pages.BuildForm,
    environment_pages.RollbackForm,
    environment_pages.PinForm,
    environment_pages.DeleteVersionForm,
    environment_pages.DeleteForm,
    change_pages.ChangePage,
    export_pages.ExportPage,
    export_pages.ExportedFile,
    sharing_pages.ShareForm,
    sharing_pages.UnshareForm,
    sharing_pages.GiveForm,
    webhook_pages.WebhookForm,
    build_pages.BuildPage,
    build_pages.CancelForm,
    binderhub_pages.LinkPage,
    credential_pages.CredentialsPage,
    credential_pages.ForgetCredentialForm,
    pages.SessionLogPage,
    isolation_page.IsolationPage,
    api_page.ApiPage,
    pages.LoginCallbackPage,
)
"""Everything else below the service's prefix."""

BESIDE: tuple[type[AnsweringHandler], ...] = (
    binderhub.BuildStream,
    binderhub_pages.Badge,
    binderhub_pages.OldBadge,
    binderhub_pages.BinderHealth,
    binderhub_pages.BinderVersions,
    about.Metrics,
)
"""What programs that know BinderHub look for at the service's prefix itself."""

LARGEST_REQUEST = 1024 * 1024
"""Bytes beyond which a request is not even read to its end."""


class Nowhere(PageAnswers):
    """Every address that there is not, answered without a look at who asks."""

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares."""
        self.web = shared.settings

    async def prepare(self) -> None:
        """Refuse."""
        raise NotFound("There is nothing at this address.")

    def write_refusal(self, refusal: GuixSpawnerError) -> None:
        """Write REFUSAL for a program or for a person, whoever asks at such an address."""
        if self.request.path.startswith(f"{self.web.prefix}api/"):
            AnsweringHandler.write_refusal(self, refusal)
        else:
            super().write_refusal(refusal)


@stream_request_body
class TooLarge(Nowhere):
    """Whatever comes with a body beyond what its address takes: refused before the body is read."""

    def initialize(self, shared: Shared, most: int = LARGEST_BODY) -> None:
        """Take what every handler shares, and how many bytes would be the MOST."""
        super().initialize(shared)
        self._most = most

    async def prepare(self) -> None:
        """Refuse, and have the connection closed: to read on would be the only other way to an end of the request."""
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_max_body_size(sys.maxsize)  # else tornado writes an answer of its own behind this one
        raise too_large(self._most)

    def data_received(self, chunk: bytes) -> None:
        """Drop what of the body came with the headers."""


class ServiceApplication(Application):
    """Tornado's, which also looks at how much is about to be sent."""

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:  # noqa: ANN401 - as tornado has it
        """Return who answers REQUEST, of which the headers are known."""
        found = super().find_handler(request, **kwargs)
        most = getattr(getattr(found, "handler_class", None), "largest_body", LARGEST_BODY)
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > most:
            return self.get_handler_delegate(request, TooLarge, {**self.settings["default_handler_args"], "most": most})
        return found


def make_application(manager: Manager, settings: WebSettings) -> Application:
    """Return the web application over MANAGER."""
    prefix = settings.prefix
    places: list[tuple[str, type[RequestHandler]]] = [
        *((f"{prefix}api/v1/{handler.route}", handler) for handler in API),
        *((f"{prefix}{handler.route}", handler) for handler in (*PAGES, *BESIDE)),
        (prefix.rstrip("/"), pages.Front),
    ]
    return _application(places, _shared(manager, settings), settings)


def make_local_application(manager: Manager, settings: WebSettings) -> Application:
    """Return the API over MANAGER as the accounts of this machine reach it, right below ``/api/v1/``."""
    places = [(f"/api/v1/{handler.route}", handler) for handler in API]
    return _application(places, replace(_shared(manager, settings), local=True), settings)


def _shared(manager: Manager, settings: WebSettings) -> Shared:
    limits = settings.limits
    return Shared(
        manager,
        settings,
        make_hub_auth(settings),
        HubClient(settings.api_url),
        reading=Pace(limits.reads_a_minute),
        changing=Pace(limits.changes_a_minute),
        delivering=Pace(limits.deliveries_a_minute),
    )


def _application(places: Iterable[tuple[str, type[RequestHandler]]], given: Shared, settings: WebSettings) -> Application:
    """Return what answers at PLACES by their handlers, each of which is GIVEN the same."""
    shared, prefix = {"shared": given}, settings.prefix
    return ServiceApplication(
        [(pattern(place), handler, shared) for place, handler in places],
        default_handler_class=Nowhere,
        default_handler_args=shared,
        cookie_secret=settings.cookie_secret,
        security_headers=security_headers(settings.hub_host),
        openapi=describe(API, prefix),
        templates=make_templates(settings.templates),
        static_path=str(settings.static),
        static_url_prefix=f"{prefix}static/",
        static_handler_class=pages.StaticFiles,
        xsrf_cookie_kwargs={"samesite": "Lax", "httponly": True},
        log_function=log_request,
    )


def make_server(application: Application) -> HTTPServer:
    """Return a server for APPLICATION behind the hub's proxy, which no request can fill up or hold for long."""
    return HTTPServer(
        application,
        xheaders=True,
        max_body_size=LARGEST_REQUEST,
        max_header_size=32 * 1024,
        body_timeout=30.0,
        idle_connection_timeout=120.0,
    )


WITH_SLASHES = frozenset({"spec"})
"""The variables of addresses that take slashes too."""


def pattern(path: str) -> str:
    """Return the regular expression of PATH, whose variables are in braces."""
    parts: Iterable[str] = re.split(r"{(\w+)}", path)
    return "".join(_variable(part) if number % 2 else re.escape(part) for number, part in enumerate(parts)) + "$"


def _variable(name: str) -> str:
    return f"(?P<{name}>.+)" if name in WITH_SLASHES else f"(?P<{name}>[^/]+)"


def log_request(handler: RequestHandler) -> None:
    """Log a finished request without its query, which may hold what is nobody else's business."""
    status = handler.get_status()
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    person = getattr(handler, "person", None)
    log.log(
        level,
        "%s %s %s %r %.0f ms",
        status,
        handler.request.method,
        handler.request.path[:300],
        person.name[:100] if person else "",
        1000 * handler.request.request_time(),
    )
