"""A real JupyterHub and proxy with the service behind it, and visitors who come to it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from guixspawner.configure import proxy_command
from tests.ports import free_ports

CHECKOUT = Path(__file__).parents[3]
PATIENCE = 300
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
c.ConfigurableHTTPProxy.command = {proxy_command}
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
    folder: Path
    """Of its configuration, its files and its log."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def service(self) -> str:
        return f"{self.base_url}services/guix/"

    def browser(self, name: str) -> Visitor:
        visitor = Visitor(self.address)
        visitor.login(name, self.base_url)
        return visitor

    def program(self, name: str) -> Visitor:
        return Visitor(self.address, TOKENS[name])

    def start(self) -> None:
        """Run the hub, and wait until it and its service answer."""
        command = [sys.executable, "-m", "jupyterhub", "-f", str(self.folder / "jupyterhub_config.py")]
        with (self.folder / "hub.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.process = process
        while process.poll() is None:
            with contextlib.suppress(URLError, ConnectionError):
                asked = (f"{self.base_url}hub/health", f"{self.service}api/v1/health")
                if all(Visitor(self.address).ask("GET", path).status == HTTPStatus.OK for path in asked):
                    return
            time.sleep(0.2)
        raise AssertionError((self.folder / "hub.log").read_text())

    def kill(self) -> None:
        """End the hub with SIGKILL, which leaves its service and its proxy behind."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the hub with all that it runs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def running_hub(folder: Path, base_url: str, further: str = "") -> Iterator[RealHub]:
    """Run a hub below BASE_URL, with its files and its log in FOLDER and FURTHER configuration, until the context ends."""
    (folder / "service").mkdir()
    ports = free_ports(4)
    configuration = folder / "jupyterhub_config.py"
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    configuration.write_text(
        CONFIGURATION.format(
            ports=ports,
            base_url=base_url,
            folder=folder,
            checkout=CHECKOUT,
            path=path,
            tokens=TOKENS,
            proxy_command=proxy_command(),
        )
        + further
    )
    hub = RealHub(f"http://127.0.0.1:{ports[0]}", base_url, folder)
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()
