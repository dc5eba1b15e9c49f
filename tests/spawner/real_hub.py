"""A real hub with its proxy for the tests."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from guix_environment.process_identity import ProcessIdentity, from_record
from guixspawner.configure import internal_ports, proxy_command
from tests.ports import free_port

TOKEN = "0123456789abcdef0123456789abcdef"
"""Of a service of the tests that may do everything; not a secret of anybody's."""

PATIENCE = float(os.environ.get("GUIX_TEST_PATIENCE", "1"))
"""By how much longer than usual everything may take, as on a machine that is itself a program."""

CONFIGURATION = """
import json
import os
import random
from pathlib import Path

from guixspawner.configure import configure

c = get_config()
options = {"idle_timeout": 0, **json.loads(os.environ["OPTIONS"])}
configure(c, state_folder=Path(os.environ["STATE"]), port=int(os.environ["PORT"]), **options)
# Of the services only those that end sessions, and one of the tests' own, which has every right.
ending = [service for service in c.JupyterHub.services if service["name"] == "cull-idle"]
c.JupyterHub.services = [{"name": "tests", "api_token": os.environ["TOKEN"]}, {"name": "guix"}, *ending]
everything = ["admin:users", "admin:servers", "access:servers", "admin:groups", "tokens"]
c.JupyterHub.load_roles.append({"name": "tests", "scopes": everything, "services": ["tests"]})
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"root-like"}
c.GuixSpawner.grace = 5
patience = float(os.environ.get("GUIX_TEST_PATIENCE", "1"))
c.GuixSpawner.start_timeout = int(120 * patience)
c.GuixSpawner.http_timeout = int(30 * patience)
exec(os.environ.get("MORE", ""))
"""

PROXY_APART = """
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.auth_token = os.environ["TOKEN"]
"""
"""For a hub beside which `proxy_apart` runs."""


class RealHub:
    """A hub that can be ended, killed and started again over the same state."""

    def __init__(
        self, records: Path, more: str = "", options: Mapping[str, object] | None = None, older: Path | None = None
    ) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="guixspawner-hub-"))
        self.state.chmod(0o755)
        shutil.copytree(records, self.state / "records", symlinks=True)
        self.port = free_port()
        self.more = more
        self.options = dict(options or {})
        self.older = older
        self.before: tuple[str, ...] = ()
        """What the hub's command follows, such as one that becomes somebody else."""
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = self.state / "hub.log"
        (self.state / "configuration.py").write_text(CONFIGURATION)

    def start(self) -> None:
        """Start the hub, and return once it answers; fail as soon as it ends."""
        self.launch()
        wait_for(lambda: self.process.poll() is not None or self.request("GET", "/hub/api/")[0] == 200, 300)
        assert self.process.poll() is None, self.log.read_text()[-5000:]

    def launch(self) -> None:
        """Start the hub, and return at once."""
        programs = str(Path(sys.executable).parent)
        variables = {"STATE": str(self.state), "PORT": str(self.port), "TOKEN": TOKEN, "MORE": self.more}
        variables["OPTIONS"] = json.dumps(self.options)
        if self.older:
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self.older), os.environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "jupyterhub", "--config", self.state / "configuration.py"],
                cwd=self.state,
                env=os.environ | variables | {"PATH": f"{programs}:{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60 * PATIENCE)

    def kill(self) -> None:
        """End the hub without giving it a chance to do anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        proxy = self.state / "hub" / "proxy.pid"
        # There is none of one that runs apart.
        if proxy.exists():
            os.kill(int(proxy.read_text()), signal.SIGTERM)

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Return the status and text of an answer, without following anywhere; as the tests' own service unless HEADERS."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"token {TOKEN}"} if headers is None else dict(headers)
        try:
            with urlopen(Request(self.address + path, data, sent, method=method), timeout=120 * PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def spawn(self, user: str, options: object, server: str = "") -> tuple[int, str]:
        """Have the person USER, who is made when there is none, start a server with OPTIONS, and wait until it is there."""
        self.request("POST", f"/hub/api/users/{user}")
        status, text = self.request("POST", self.server_path(user, server), options)
        if status == 202:
            wait_for(lambda: not self.model(user, server).get("pending"), 120)
            return (201 if self.model(user, server).get("ready") else 500), text
        return status, text

    def stop(self, user: str, server: str = "") -> None:
        self.request("DELETE", self.server_path(user, server))
        wait_for(lambda: not self.model(user, server), 60)

    def model(self, user: str, server: str = "") -> dict[str, Any]:
        """Return what the hub says of a server, with its state; empty when it does not run."""
        _, text = self.request("GET", f"/hub/api/users/{user}")
        found = json.loads(text).get("servers", {}).get(server, {})
        return found if isinstance(found, dict) else {}

    def serves(self, user: str) -> bool:
        """Tell whether the hub knows USER's session and its proxy leads there, as it does some time after a start."""
        return bool(self.model(user).get("ready")) and self.request("GET", f"/user/{user}/api/status")[0] == 200

    def session_log(self, user: str, server: str = "default") -> str:
        file = self.state / "sessions" / user / f"{server}.log"
        return file.read_text() if file.exists() else ""

    @staticmethod
    def server_path(user: str, server: str) -> str:
        """Return where the hub's API has the server SERVER, or the one without a name, of USER."""
        return f"/hub/api/users/{user}/servers/{server}" if server else f"/hub/api/users/{user}/server"

    async def run_code(self, user: str, code: str, kernel: str = "python3", server: str = "") -> str:
        """Return what CODE prints in a new kernel of the person's server, through the proxy and a web socket."""
        base = f"/user/{user}/{server}" if server else f"/user/{user}"
        status, text = await asyncio.to_thread(self.request, "POST", f"{base}/api/kernels", {"name": kernel})
        assert status == 201, text
        identifier = json.loads(text)["id"]
        address = f"{self.address.replace('http', 'ws')}{base}/api/kernels/{identifier}/channels?session_id=x"
        connection = await connected(address)
        await connection.write_message(json.dumps(execute_request(code)))
        printed, awaited = "", {"execute_reply", "idle"}
        while awaited:
            message = await _received(connection)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") == "m":
                awaited -= {kind, content.get("execution_state")}
            if kind == "stream":
                printed += content["text"]
            elif kind == "display_data":
                printed += " ".join(content["data"])
            elif kind == "error":
                printed += f"{content['ename']}: {content['evalue']}"
        connection.close()
        await asyncio.to_thread(self.request, "DELETE", f"{base}/api/kernels/{identifier}")
        return printed.strip()

    async def run_in_terminal(self, user: str, line: str) -> str:
        """Return what a terminal of the person's server shows for LINE."""
        _, text = await asyncio.to_thread(self.request, "POST", f"/user/{user}/api/terminals")
        name = json.loads(text)["name"]
        address = f"{self.address.replace('http', 'ws')}/user/{user}/terminals/websocket/{name}"
        connection = await connected(address)
        await connection.write_message(json.dumps(["stdin", f"{line}; echo E''ND\r"]))
        shown = ""
        while "END" not in shown:
            kind, *rest = await _received(connection)
            shown += rest[0] if kind == "stdout" else ""
        connection.close()
        await asyncio.to_thread(self.request, "DELETE", f"/user/{user}/api/terminals/{name}")
        return shown


async def connected(address: str) -> WebSocketClientConnection:
    """Return a web socket to ADDRESS; that of a kernel is there once the kernel is."""
    seconds = 120 * PATIENCE
    headers = {"Authorization": f"token {TOKEN}"}
    return await websocket_connect(HTTPRequest(address, headers=headers, connect_timeout=seconds, request_timeout=seconds))


async def _received(connection: WebSocketClientConnection) -> Any:
    message = await asyncio.wait_for(asyncio.ensure_future(connection.read_message()), 60 * PATIENCE)
    assert message, "the other side went away"
    return json.loads(message)


def execute_request(code: str) -> dict[str, object]:
    header = {"msg_id": "m", "username": "", "session": "x", "msg_type": "execute_request", "version": "5.3", "date": ""}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}


def wait_for(condition: Any, seconds: float = 60) -> None:
    """Return once CONDITION holds; fail when that takes longer than SECONDS, times `PATIENCE`."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        # Where everything takes longer, so do answers, and what is waited for is waited for the longer.
        time.sleep(0.1 * PATIENCE)


@contextmanager
def running_hub(
    records: Path,
    more: str = "",
    options: Mapping[str, object] | None = None,
    older: Path | None = None,
    before: Sequence[str] = (),
    owner: int | None = None,
) -> Iterator[RealHub]:
    """Yield a running hub; what it and its sessions logged goes to standard output, for tests that fail.

    BEFORE is a command that its own follows, and OWNER the number of whose its folder is, where it is not ours.
    """
    # A hub gives a proxy that it starts fifteen seconds, which is too little where everything takes longer.
    apart = PATIENCE > 1
    hub = RealHub(records, (PROXY_APART if apart else "") + more, options, older)
    hub.before = tuple(before)
    with proxy_apart(hub) if apart else nullcontext():
        if owner is not None:
            for path in (hub.state, *hub.state.rglob("*")):
                os.chown(path, owner, owner, follow_symlinks=False)
        yield from _run(hub)


def _run(hub: RealHub) -> Iterator[RealHub]:
    hub.start()
    try:
        yield hub
    finally:
        status, users = hub.request("GET", "/hub/api/users")
        for user in json.loads(users) if status == 200 else []:
            for server in user.get("servers", {}):
                hub.request("DELETE", hub.server_path(user["name"], server))
        hub.end()
        for log in (hub.log, *hub.state.glob("sessions/*/*.log")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-20000:]}")
        shutil.rmtree(hub.state, ignore_errors=True)


@contextmanager
def proxy_apart(hub: RealHub) -> Iterator[None]:
    """Run the proxy of HUB, of which its configuration says so (`PROXY_APART`); the hub finds it and leaves it alone."""
    local, ports = "127.0.0.1", internal_ports(hub.state, hub.port)
    words = ["--ip", local, "--port", str(hub.port), "--api-ip", local, "--api-port", str(ports["proxy"])]
    words += ["--error-target", f"http://{local}:{ports['hub']}/hub/error"]
    variables = os.environ | {"CONFIGPROXY_AUTH_TOKEN": TOKEN}
    command = [*proxy_command(), *words]
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as proxy:
        try:
            wait_for(lambda: proxy.poll() is not None or (_listens(hub.port) and _listens(ports["proxy"])), 60)
            yield
        finally:
            proxy.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def first_process(hub: RealHub, user: str, server: str = "default") -> ProcessIdentity:
    """Return the first process of USER's session, as the hub wrote it down."""
    found = from_record(json.loads((hub.state / "sessions" / user / f"{server}.json").read_text()))
    assert found
    return found


def leases(hub: RealHub) -> list[str]:
    """Return the names of the links that hold the profiles of HUB's sessions."""
    name = hashlib.sha256(str(hub.state).encode()).hexdigest()[:12]
    folder = Path("/var/guix/profiles/per-user/root/guix-build-service/sessions") / name
    return sorted(link.name for link in folder.iterdir()) if folder.exists() else []
