"""Hubs over one set of records that the real Guix built, each starting sessions another way."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.frame import OURS, say
from guix_environment.records import Records, ServerRecord
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import PROXY_APART, RealHub
from tests.spawner.real_hub import proxy_apart as run_proxy

PERSON = "ada"
"""Whose sessions start one after the other."""

COLD, WARM, GUIX_SHELL, LOCAL = "ours, cold", OURS, "guix shell", "LocalProcessSpawner"

_COMMON = """
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.JupyterHub.concurrent_spawn_limit = 0
# The answer to a request for a start comes when it is over, so nobody has to ask again and again.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 120}
"""
_COLD = "c.WarmStart.enabled = False"
_WARM = "c.WarmStart.shared = {shared}"
_LOCAL = """
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = os.environ["STATE"] + "/homes/{{username}}"
c.Spawner.environment = {variables}
c.Spawner.cmd = {command}
"""
"""Without accounts of the machine, for which every person would need one; nothing that takes time is missing."""


@dataclass(frozen=True, slots=True)
class Way:
    """A hub that starts sessions in one way."""

    name: str
    hub: RealHub
    options: Mapping[str, object]

    def start(self, user: str) -> float:
        """Start the session of USER, and return the seconds from the request until its JupyterLab answered at the proxy."""
        began = time.perf_counter()
        status, text = self.hub.request("POST", f"/hub/api/users/{user}/server", self.options)
        while status == 202 and not self.hub.model(user).get("ready"):
            time.sleep(0.01)
        self.expect_answer(user, text)
        return time.perf_counter() - began

    def expect_answer(self, user: str, told: str = "") -> None:
        """Have USER's JupyterLab show its page; raise with what was TOLD when it does not."""
        status, page = self.hub.request("GET", f"/user/{user}/lab")
        if status != 200 or "jupyter-config-data" not in page:
            log = self.hub.session_log(user) or self.hub.log.read_text()[-5000:]
            raise RuntimeError(f"{self.name}: no JupyterLab ({status}). {told}\n{log}")

    def stop(self, user: str) -> None:
        """Stop the session of USER and wait until it is gone."""
        self.hub.request("DELETE", f"/hub/api/users/{user}/server")
        while self.hub.model(user):
            time.sleep(0.02)

    def first_process(self, user: str) -> int:
        """Return the number of the process that the hub knows USER's session by."""
        state = self.hub.model(user)["state"]
        return int(state["process"]["pid"] if "process" in state else state["pid"])

    def add_people(self, names: list[str]) -> None:
        """Make the accounts NAMES at the hub."""
        self.hub.request("POST", "/hub/api/users", {"usernames": names})


def names_of(people: int) -> list[str]:
    """Return the names of so many PEOPLE."""
    return [f"person-{number:02}" for number in range(people)]


@contextmanager
def hubs(*names: str, shared: int = 1, proxy_apart: bool = False) -> Iterator[dict[str, Way]]:
    """Yield a running hub for each way of NAMES; their warm starts share one loading of the modules SHARED times.

    With PROXY_APART, proxies are processes that their hubs find and leave alone.
    """
    with contextlib.ExitStack() as kept:
        say("building what sessions are made of…")
        records = kept.enter_context(built_records())
        server = Records(records).read_server()
        ways = {}
        for name in names:
            proxy = PROXY_APART if proxy_apart else ""
            hub = RealHub(records, _COMMON + proxy + _configuration(name, server, shared))
            kept.callback(_end, hub)
            if proxy_apart:
                kept.enter_context(run_proxy(hub))
            hub.start()
            ways[name] = Way(name, hub, {"environment": ENVIRONMENT} if name in {COLD, WARM} else {})
        yield ways


def _end(hub: RealHub) -> None:
    with contextlib.suppress(AttributeError):
        hub.end()
    shutil.rmtree(hub.state, ignore_errors=True)


def _configuration(name: str, server: ServerRecord, shared: int) -> str:
    singleuser = [f"{server.profile}/bin/jupyterhub-singleuser", "--allow-root"]
    if name == COLD:
        return _COLD
    if name == WARM:
        return _WARM.format(shared=shared)
    if name == LOCAL:
        variables = {"PATH": f"{server.profile}/bin", "LANG": "C.UTF-8"}
        return _LOCAL.format(variables=variables, command=singleuser)
    shell = ["guix", "shell", "--container", "--network", "--no-cwd", f"--user={PERSON}", f"--profile={server.profile}"]
    shell += ["--preserve=^(JUPYTERHUB_|JPY_)", "--", *singleuser]
    return _LOCAL.format(variables={}, command=shell)
