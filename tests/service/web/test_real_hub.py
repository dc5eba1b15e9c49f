"""The service behind a real JupyterHub: logins, its own rules against forged requests, and sessions started as a person."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

CHECKOUT = Path(__file__).parents[3]
PATIENCE = 60
TOKENS = {name: f"{name}-token-of-the-test" for name in ("ada", "eve", "root", "stranger", "watcher")}

CONFIGURATION = """
import os, sys
c = get_config()
port, hub, proxy, service = {ports}
c.JupyterHub.bind_url = f"http://127.0.0.1:{{port}}{base_url}"
c.JupyterHub.hub_port = hub
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/hub-cookie-secret"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{{proxy}}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.ConfigurableHTTPProxy.command = ["node", "{checkout}/node_modules/configurable-http-proxy/bin/configurable-http-proxy"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"root"}}
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.allow_named_servers = True
c.Spawner.cmd = [sys.executable, "-c", "import time; time.sleep(600)"]
access = "access:services!service=guix"
c.JupyterHub.load_groups = {{"people": {{"users": ["ada", "eve", "root"]}}}}
c.JupyterHub.load_roles = [
    {{"name": "people", "scopes": [access], "groups": ["people"]}},
    {{"name": "watcher", "scopes": [access], "services": ["watcher"]}},
]
tokens = {tokens}
c.JupyterHub.api_tokens = {{tokens[name]: name for name in ("ada", "eve", "root", "stranger")}}
c.JupyterHub.services = [
    {{
        "name": "guix",
        "url": f"http://127.0.0.1:{{service}}",
        "command": [sys.executable, "-m", "tests.service.web.served"],
        "cwd": "{checkout}",
        "environment": {{"SERVED_FOLDER": "{folder}/service", "PYTHONPATH": "{path}"}},
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": [access, "servers!user"],
    }},
    {{"name": "watcher", "api_token": tokens["watcher"]}},
]
"""


@dataclass
class Answer:
    status: int
    headers: Message
    text: str
    url: str


@dataclass
class Visitor:
    """Somebody's browser, or a program with a token."""

    address: str
    token: str = ""
    jar: CookieJar = field(default_factory=CookieJar)
    xsrf: str = ""

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        """Ask for PATH and follow where it leads."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"token {self.token}"
        request = Request(self.address + path, method=method, headers=sent, data=body.encode() if body is not None else None)
        opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.jar))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode(), answer.url)
        except HTTPError as error:
            return Answer(error.code, error.headers, error.read().decode(), error.url or "")

    def login(self, name: str, base_url: str) -> None:
        """Log in at the hub and open the service."""
        page = self.ask("GET", f"{base_url}hub/login", Sec_Fetch_Mode="navigate")
        token = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        assert token is not None
        form = urlencode({"username": name, "password": "x", "_xsrf": token[1]})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Mode": "navigate"}
        self.ask("POST", f"{base_url}hub/login?next={base_url}hub/token", form, **headers)
        page = self.ask("GET", f"{base_url}services/guix/", Sec_Fetch_Mode="navigate")
        found = re.search(r'data-xsrf="([^"]+)"', page.text)
        self.xsrf = found[1] if found else ""


@dataclass
class RealHub:
    address: str
    base_url: str

    @property
    def service(self) -> str:
        return f"{self.base_url}services/guix/"

    def browser(self, name: str) -> Visitor:
        visitor = Visitor(self.address)
        visitor.login(name, self.base_url)
        return visitor

    def program(self, name: str) -> Visitor:
        return Visitor(self.address, TOKENS[name])


def free_ports(number: int) -> list[int]:
    listeners = [socket.socket() for _ in range(number)]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="module", params=["/", "/base/"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    folder = tmp_path_factory.mktemp("hub")
    (folder / "service").mkdir()
    ports = free_ports(4)
    configuration = folder / "jupyterhub_config.py"
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    configuration.write_text(
        CONFIGURATION.format(ports=ports, base_url=request.param, folder=folder, checkout=CHECKOUT, path=path, tokens=TOKENS)
    )
    with (folder / "hub.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterhub", "-f", str(configuration)]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        hub = RealHub(f"http://127.0.0.1:{ports[0]}", request.param)
        try:
            wait_until_ready(hub, process, folder / "hub.log")
            yield hub
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def wait_until_ready(hub: RealHub, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(PATIENCE * 5):
        assert process.poll() is None, log.read_text()
        try:
            if Visitor(hub.address).ask("GET", f"{hub.service}api/v1/health").status == HTTPStatus.OK:
                return
        except (URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text())


pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]


def test_a_person_logs_in_by_way_of_the_hub_and_comes_back(hub: RealHub) -> None:
    stranger = Visitor(hub.address).ask("GET", hub.service, Sec_Fetch_Mode="navigate")
    assert f"{hub.base_url}hub/login" in stranger.url
    browser = hub.browser("ada")
    page = browser.ask("GET", f"{hub.service}?x=1", Sec_Fetch_Mode="navigate")
    assert (page.status, page.url) == (HTTPStatus.OK, f"{hub.address}{hub.service}?x=1")
    assert "good" in page.text
    assert f'href="{hub.base_url}hub/static/css/style.min.css"' in page.text
    style = Visitor(hub.address).ask("GET", f"{hub.base_url}hub/static/css/style.min.css")
    assert (style.status, "data-bs-theme" in style.text) == (HTTPStatus.OK, True)


def test_without_the_right_xsrf_token_a_cookie_changes_nothing(hub: RealHub) -> None:
    browser = hub.browser("ada")
    body = json.dumps({"repo": "https://git.example/a/good"})
    path = f"{hub.service}api/v1/resolve"
    assert browser.xsrf
    hubs_own = next(cookie.value for cookie in browser.jar if cookie.name == "_xsrf" and cookie.path.endswith("/hub/"))
    for token in ("", "wrong", hubs_own or "", hub.browser("eve").xsrf):
        answer = browser.ask("POST", path, body, Content_Type="application/json", X_XSRFToken=token)
        assert answer.status == HTTPStatus.FORBIDDEN, token
    headers = {"Content-Type": "application/json", "X-XSRFToken": browser.xsrf}
    assert browser.ask("POST", path, body, **headers).status == HTTPStatus.OK
    assert browser.ask("POST", path, body, **headers, Sec_Fetch_Site="same-site").status == HTTPStatus.FORBIDDEN
    listed = browser.ask("GET", f"{hub.service}api/v1/environments", Sec_Fetch_Mode="cors")
    assert listed.status == HTTPStatus.FORBIDDEN
    listed = browser.ask("GET", f"{hub.service}api/v1/environments?_xsrf={browser.xsrf}", Sec_Fetch_Mode="cors")
    assert listed.status == HTTPStatus.OK


@pytest.mark.parametrize(
    ("name", "status", "repositories"),
    [
        ("ada", 200, ["good", "slow"]),
        ("eve", 200, ["good"]),
        ("root", 200, ["good", "slow"]),
        ("watcher", 200, ["good"]),
        ("stranger", 403, []),
    ],
)
def test_tokens_open_what_their_owners_may_see(hub: RealHub, name: str, status: int, repositories: list[str]) -> None:
    answer = hub.program(name).ask("GET", f"{hub.service}api/v1/environments")
    assert answer.status == status
    if status == HTTPStatus.OK:
        assert [each["name"] for each in json.loads(answer.text)["environments"]] == repositories
    else:
        assert json.loads(answer.text)["error"]["code"] == "no-access"


def test_an_unknown_token_and_no_token_are_told_so(hub: RealHub) -> None:
    for visitor in (Visitor(hub.address), Visitor(hub.address, "unknown")):
        answer = visitor.ask("GET", f"{hub.service}api/v1/environments")
        assert (answer.status, json.loads(answer.text)["error"]["code"]) == (HTTPStatus.UNAUTHORIZED, "not-logged-in")


def test_someone_without_access_is_told_on_a_page(hub: RealHub) -> None:
    answer = hub.browser("stranger").ask("GET", hub.service, Sec_Fetch_Mode="navigate")
    assert answer.status == HTTPStatus.FORBIDDEN


def test_a_browser_starts_its_own_session_and_is_led_to_the_hub(hub: RealHub) -> None:
    browser = hub.browser("eve")
    listed = browser.ask("GET", f"{hub.service}api/v1/environments", Sec_Fetch_Mode="navigate")
    [environment] = json.loads(listed.text)["environments"]
    form = urlencode({"_xsrf": browser.xsrf})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Mode": "navigate"}
    headers["Sec-Fetch-Site"] = "same-origin"
    answer = browser.ask("POST", f"{hub.service}environments/{environment['id']}/start", form, **headers)
    name = f"good-{environment['id']}"
    assert answer.url.endswith(f"{hub.base_url}hub/spawn-pending/eve/{name}")
    sessions = json.loads(browser.ask("GET", f"{hub.service}api/v1/sessions", Sec_Fetch_Mode="navigate").text)["sessions"]
    assert [(each["name"], each["environment"], each["state"]) for each in sessions] == [
        (name, environment["id"], "starting")
    ]
    assert sessions[0]["url"] == f"{hub.base_url}user/eve/{name}/"
    stopped = browser.ask("DELETE", f"{hub.service}api/v1/sessions/{name}", X_XSRFToken=browser.xsrf)
    assert stopped.status in {HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED}


def test_a_stream_resumes_behind_the_proxy(hub: RealHub) -> None:
    ada = hub.program("ada")
    environments = json.loads(ada.ask("GET", f"{hub.service}api/v1/environments").text)["environments"]
    build = next(each["build"]["id"] for each in environments if each["name"] == "good")
    events = f"{hub.service}api/v1/builds/{build}/events"
    whole = ada.ask("GET", events)
    assert whole.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    positions = [int(found) for found in re.findall(r"^id: (\d+)$", whole.text, re.MULTILINE)]
    assert positions == sorted(positions)
    assert "event: log" in whole.text
    assert ada.ask("GET", events, Last_Event_ID=str(positions[-1])).status == HTTPStatus.NO_CONTENT
    part = ada.ask("GET", f"{hub.service}api/v1/builds/{build}/log", Range="bytes=0-3")
    assert (part.status, len(part.text)) == (HTTPStatus.PARTIAL_CONTENT, 4)


def test_no_secret_is_in_the_hubs_and_services_log(hub: RealHub, tmp_path_factory: pytest.TempPathFactory) -> None:
    browser = hub.browser("ada")
    browser.ask("GET", f"{hub.service}api/v1/environments?_xsrf={browser.xsrf}", Sec_Fetch_Mode="cors")
    logs = list(tmp_path_factory.getbasetemp().glob("hub*/hub.log"))
    assert logs
    for log in logs:
        text = log.read_text()
        assert browser.xsrf not in text
        for token in TOKENS.values():
            assert token not in text
