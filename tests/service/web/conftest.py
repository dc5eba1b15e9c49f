"""A running web application over a real manager, and people with browsers and tokens in front of it."""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets

from guix_build_service.isolation.levels import Finding, Level, Report, State
from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import EnvironmentDetail, NewEnvironment, Person
from guix_build_service.web.application import make_application, make_server
from guix_build_service.web.limits import RequestLimits
from guix_build_service.web.settings import Example, WebSettings, shared_folder
from guix_environment.records import Visibility
from tests.service.web.fake_hub import FakeHub
from tests.service.web.scripted import HOSTILE, ScriptedPipeline, running_manager

PREFIX = "/services/guix/"

ISOLATION = Report(
    (
        Finding("containers", Level.TEAM, State.HELD, "Containers can be made.", "Nothing."),
        Finding("rights", Level.PEOPLE, State.MISSING, f"It runs as {HOSTILE}.", f"Give it {HOSTILE} of its own."),
        Finding("guix", Level.PEOPLE, State.UNKNOWN, "Guix does not answer.", "Start it."),
    ),
    Level.STRANGERS,
)
"""What a machine is like whose answers are hostile."""


@dataclass
class Site:
    """The service as its visitors reach it."""

    address: str
    hub: FakeHub
    manager: Manager
    pipeline: ScriptedPipeline
    sessions: Path
    """The folder of sessions' logs."""
    settings: WebSettings
    prefix: str = PREFIX

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        json_body: object = None,
        token: str = "",
    ) -> HTTPResponse:
        """Ask for PATH below the service's prefix, or for a whole path when it begins with a slash; follow nothing."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"token {token}"
        if json_body is not None:
            body = json.dumps(json_body)
            sent.setdefault("Content-Type", "application/json")
        request = HTTPRequest(
            self.address + (path if path.startswith("/") else self.prefix + path),
            method=method,
            headers=sent,
            body=body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=30,
        )
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def login(self, name: str) -> "Browser":
        """Log NAME in the way that a browser does it, by way of the hub."""
        browser = Browser(self)
        to_hub = await browser.get("")
        assert to_hub.code == 302
        address = urlsplit(to_hub.headers["Location"])
        assert address.path.endswith("/hub/api/oauth2/authorize")
        state = parse_qs(address.query)["state"][0]
        back = await browser.get("oauth_callback?" + urlencode({"code": name, "state": state}))
        assert back.code == 302, back.body
        assert back.headers["Location"] == self.prefix
        page = await browser.get("")
        if page.code == 200:
            found = re.search(r'data-xsrf="([^"]+)"', page.body.decode())
            assert found is not None
            browser.xsrf = found[1]
        return browser

    async def ready(self, repository: str, owner: str, *, visibility: Visibility = Visibility.PRIVATE) -> EnvironmentDetail:
        """Add an environment and wait for its build to end."""
        request = NewEnvironment(repository=f"https://git.example/a/{repository}", visibility=visibility)
        person = Person(owner)
        detail = await self.manager.add_environment(request, person)
        assert detail.build is not None
        async for _ in self.manager.follow(detail.build.id, person):
            pass
        return await self.manager.environment(detail.environment.id, person)


@dataclass
class Browser:
    """Somebody's browser, with its cookies."""

    site: Site
    cookies: dict[str, str] = field(default_factory=dict)
    xsrf: str = ""
    set_cookies: list[str] = field(default_factory=list)
    """All ``Set-Cookie`` headers so far."""

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        """Open a page."""
        return await self.ask("GET", path, headers={"Sec-Fetch-Mode": "navigate", **_named(headers)})

    async def submit(self, path: str, **values: str) -> HTTPResponse:
        """Send a form of one of the service's own pages."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        return await self.ask("POST", path, headers=headers, body=urlencode({"_xsrf": self.xsrf, **values}))

    async def ask(self, method: str, path: str, **request: object) -> HTTPResponse:
        """Ask with this browser's cookies, and keep those that come."""
        headers = dict(request.pop("headers", None) or {})  # type: ignore[call-overload] # a mapping
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.site.ask(method, path, headers=headers, **request)  # type: ignore[arg-type] # as it was given
        for line in answer.headers.get_list("Set-Cookie"):
            self.set_cookies.append(line)
            for name, cookie in SimpleCookie(line).items():
                if cookie.value:
                    self.cookies[name] = cookie.value
                else:
                    self.cookies.pop(name, None)
        return answer


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def refusal(answer: HTTPResponse) -> str:
    """Return the code of the refusal that ANSWER is."""
    error = json.loads(answer.body)["error"]
    assert error["message"]
    return str(error["code"])


def header_lines(headers: HTTPHeaders) -> str:
    """Return HEADERS as they were sent."""
    return "\n".join(f"{name}: {value}" for name, value in headers.get_all())


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """Give a hub with people of all kinds."""
    hub = FakeHub()
    hub.add("ada", groups=("lab",))
    hub.add("eve")
    hub.add("root", admin=True)
    hub.add("stranger", access=False)
    hub.add_service("watcher")
    hub.add_service("keeper", "admin:users")
    hub.serve()
    yield hub
    await hub.stop()
    # JupyterHub 6 keeps a client for each event loop, and every test has a loop of its own.
    with contextlib.suppress(ImportError):
        from jupyterhub.httpclient import JupyterHubHTTPClient

        await JupyterHubHTTPClient.loop_instance().close()


@pytest.fixture
def limits() -> RequestLimits:
    """Give what one person may ask of the service."""
    return RequestLimits()


@pytest.fixture
async def site(hub: FakeHub, limits: RequestLimits, tmp_path: Path) -> AsyncIterator[Site]:
    """Give the service, in front of that hub."""
    async with running_manager(tmp_path) as running, served_site(hub, limits, tmp_path, *running) as site:
        yield site


@contextlib.asynccontextmanager
async def served_site(
    hub: FakeHub, limits: RequestLimits, folder: Path, manager: Manager, pipeline: ScriptedPipeline
) -> AsyncIterator[Site]:
    """Serve MANAGER, which runs below FOLDER, to the people of HUB."""

    async def isolation() -> Report:
        return ISOLATION

    settings = WebSettings(
        api_url=hub.api_url,
        api_token="the-service's-own",
        client_id="service-guix",
        cookie_secret=b"0" * 32,
        templates=shared_folder("templates/service"),
        static=shared_folder("static"),
        isolation=isolation,
        prefix=PREFIX,
        examples=(Example("An example", "https://git.example/a/example", "It is small."),),
        limits=limits,
    )
    server = make_server(make_application(manager, settings))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    yield Site(address, hub, manager, pipeline, folder / "sessions", settings)
    server.stop()
    await server.close_all_connections()
