"""A hub that is ended, killed and upgraded at any moment, while sessions start and stop: none is lost, and none left behind.

``RESTARTS=100 pytest tests/spawner/test_restarts.py`` does it a hundred times; ``SEED`` repeats a run's moments.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jupyterhub
import pytest

from guix_environment.processes import ProcessIdentity, identify, is_running
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, built_records, running_hub, wait_for
from tests.spawner.test_hub import first_process, leases

pytestmark = [
    pytest.mark.guix,
    pytest.mark.hub,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="whose a process is shows by its number, which only root gives"),
]

RESTARTS = int(os.environ.get("RESTARTS", "4"))
SEED = int(os.environ.get("SEED", "1"))
STEADY = ("steady-one", "steady-two")
RESTLESS = ("rest-one", "rest-two", "rest-three")
GIVEN = {"environment": ENVIRONMENT}
OLDER = Path(__file__).parents[2] / ".cache" / "hub-5"

FIRST = 90000 + os.getpid() % 1000 * 9
"""Numbers of this run's own, so that other tests' sessions on this machine are not counted."""

MORE = f"""
c.SessionAccounts.first_uid = {FIRST}
c.SessionAccounts.most_people = 9
c.GuixSpawner.grace = 2
c.JupyterHub.concurrent_spawn_limit = 0
"""


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as folder:
        yield folder


class Restless:
    """People who start and stop their sessions without end, and mind no hub that does not answer."""

    def __init__(self, hub: RealHub, chance: random.Random) -> None:
        self.hub = hub
        self.asked = 0
        self._chance = chance
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(name, chance.random())) for name in RESTLESS]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _live(self, name: str, seed: float) -> None:
        chance = random.Random(seed)
        while not self._ended.is_set():
            method = chance.choice(["POST", "POST", "DELETE"])
            status, _ = self.hub.request(method, f"/hub/api/users/{name}/server", GIVEN if method == "POST" else None)
            self.asked += status in {201, 202, 204}
            self._ended.wait(chance.random() * (2 if status else 0.3))


def running(hub: RealHub) -> dict[str, ProcessIdentity]:
    """Return the sessions that the hub says are ready, with their first processes."""
    users = json.loads(hub.request("GET", "/hub/api/users")[1])
    return {user["name"]: first_process(hub, user["name"]) for user in users if user["servers"].get("", {}).get("ready")}


def pending(hub: RealHub) -> list[str]:
    users = json.loads(hub.request("GET", "/hub/api/users")[1])
    return [user["name"] for user in users if any(server.get("pending") for server in user["servers"].values())]


def strays(known: list[ProcessIdentity]) -> list[str]:
    """Return this run's people's processes that are in no container of the KNOWN first processes."""
    namespaces = {Path(f"/proc/{one.pid}/ns/pid_for_children").readlink() for one in known}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = FIRST <= folder.stat().st_uid < FIRST + 9
            if mine and (folder / "ns/pid").readlink() not in namespaces and identify(int(folder.name)):
                found.append(f"{folder.name} {(folder / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def check(hub: RealHub) -> None:
    """Fail unless exactly the sessions that the hub knows are there, answer, and have left traces."""
    wait_for(lambda: not pending(hub), 120)
    sessions = running(hub)
    assert all(is_running(one) for one in sessions.values())
    for name in sessions:
        assert hub.request("GET", f"/user/{name}/api/status")[0] == 200, name
    wait_for(lambda: not strays(list(sessions.values())), 30)
    identities = {path.parent.name for path in hub.state.glob("sessions/*/[!.]*.json")}
    assert identities == sessions.keys()
    assert leases(hub) == sorted(f"{name}.default.{kind}" for name in sessions for kind in ("environment", "server"))
    sockets = hub.state / "run" / "s"
    assert {path.name for path in sockets.iterdir()} == {f"{name}.default" for name in sessions}
    assert groups() in ({f"{name}.default" for name in sessions}, set())


def groups() -> set[str]:
    """Return the sessions of these people that have a control group anywhere."""
    people = {*STEADY, *RESTLESS}
    found = set()
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        found |= {name for name in below if name.partition(".")[0] in people and name.count(".") == 1}
        if folder.count("/") > 8:
            below.clear()
    return found


def test_a_hub_that_is_ended_and_killed_at_any_moment_loses_no_session_and_leaves_none(records: Path) -> None:
    chance = random.Random(SEED)
    with running_hub(records, MORE) as hub:
        for name in (*STEADY, *RESTLESS):
            hub.request("POST", f"/hub/api/users/{name}")
        for name in STEADY:
            assert hub.spawn(name, GIVEN)[0] == 201, hub.session_log(name)
        steady = {name: first_process(hub, name) for name in STEADY}
        asked = 0
        for number in range(RESTARTS):
            restless = Restless(hub, chance)
            with restless:
                time.sleep(chance.random() * 4)
                kill = chance.random() < 0.6
                print(f"{number}: {'kill' if kill else 'end'} with {pending(hub)} under way", flush=True)
                hub.kill() if kill else hub.end()
                hub.start()
                time.sleep(chance.random() * 2)
            asked += restless.asked
            check(hub)
            assert {name: first_process(hub, name) for name in STEADY} == steady
        assert asked > RESTARTS, "sessions started and stopped meanwhile"
        for name in (*STEADY, *RESTLESS):
            hub.stop(name)
        check(hub)
        assert strays([]) == []
        assert not any(is_running(one) for one in steady.values())


@pytest.mark.skipif(not OLDER.is_dir(), reason="needs JupyterHub 5 beside this one, as tools/run_tests puts it there")
def test_a_hub_that_is_upgraded_from_5_to_6_finds_its_sessions(records: Path) -> None:
    if jupyterhub.__version__.startswith("5."):
        pytest.skip("this is the older one")
    with running_hub(records, MORE, older=OLDER) as hub:
        assert json.loads(hub.request("GET", "/hub/api/")[1])["version"].startswith("5.")
        for name in STEADY:
            assert hub.spawn(name, GIVEN)[0] == 201, hub.session_log(name)
        steady = {name: first_process(hub, name) for name in STEADY}
        hub.end()
        hub.older = None
        upgrade = [sys.executable, "-m", "jupyterhub", "upgrade-db", "--db", f"sqlite:///{hub.state}/hub/jupyterhub.sqlite"]
        done = subprocess.run(upgrade, cwd=hub.state, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        hub.start()
        assert json.loads(hub.request("GET", "/hub/api/")[1])["version"].startswith("6.")
        for name in STEADY:
            wait_for(lambda name=name: hub.model(name).get("ready"))
        check(hub)
        assert {name: first_process(hub, name) for name in STEADY} == steady
        for name in STEADY:
            hub.stop(name)
        check(hub)
