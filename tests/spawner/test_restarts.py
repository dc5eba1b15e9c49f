"""A hub that is ended, killed and upgraded at any moment, while sessions start and stop: none is lost, and none left behind.

``RESTARTS=100 pytest -s tests/spawner/test_restarts.py`` does it a hundred times and says how; ``SEED`` repeats a run's
choices, though not what the machine makes of them.
"""

import contextlib
import enum
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import jupyterhub
import pytest

from guix_environment.process_identity import ProcessIdentity, identify, is_running
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, first_process, leases, running_hub, wait_for

pytestmark = [
    pytest.mark.guix,
    pytest.mark.hub,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="whose a process is shows by its number, which only root gives"),
]

RESTARTS = int(os.environ.get("RESTARTS", "5"))
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
        self.asked: Counter[str] = Counter()
        self._chance = chance
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(name, chance.random())) for name in RESTLESS]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _live(self, name: str, seed: float) -> None:
        chance = random.Random(seed)
        while not self._ended.is_set():
            method = chance.choice(["POST", "POST", "DELETE"])
            status, _ = self.hub.request(method, f"/hub/api/users/{name}/server", GIVEN if method == "POST" else None)
            self.asked[f"{method} {status}"] += 1
            self._ended.wait(chance.random() * (2 if status in {201, 202, 204} else 0.6))


class Way(enum.StrEnum):
    """How a hub comes to an end."""

    ENDED = "ended"
    """With a chance to do something, as a service manager ends it."""
    KILLED = "killed"
    KILLED_TWICE = "killed, and killed again while it began"
    UPGRADED = "ended, and another version begun"


def end_in_some_way(hub: RealHub, way: Way, chance: random.Random) -> None:
    """End the HUB in this WAY; its proxy goes on where it was killed, as it would anywhere."""
    if way in {Way.ENDED, Way.UPGRADED}:
        hub.end()
    else:
        kill(hub)
    if way is Way.KILLED_TWICE:
        hub.launch()
        time.sleep(chance.random() * 6)
        kill(hub)
    if way is Way.UPGRADED:
        upgrade(hub)


def kill(hub: RealHub) -> None:
    hub.process.kill()
    hub.process.wait()


def upgrade(hub: RealHub) -> None:
    """Have the HUB, which does not run, be of the newer version."""
    hub.older = None
    command = [sys.executable, "-m", "jupyterhub", "upgrade-db", "--db", f"sqlite:///{hub.state}/hub/jupyterhub.sqlite"]
    # It calls alembic by its name.
    variables = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=hub.state, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def series(hub: RealHub) -> str:
    return str(json.loads(hub.request("GET", "/hub/api/")[1])["version"]).partition(".")[0]


def running(hub: RealHub) -> dict[str, ProcessIdentity]:
    """Return the sessions that the hub says are ready, with their first processes."""
    users = json.loads(hub.request("GET", "/hub/api/users")[1])
    return {user["name"]: first_process(hub, user["name"]) for user in users if user["servers"].get("", {}).get("ready")}


def pending(hub: RealHub) -> list[str]:
    users = json.loads(hub.request("GET", "/hub/api/users")[1])
    return [user["name"] for user in users if any(server.get("pending") for server in user["servers"].values())]


def strays(known: Mapping[str, ProcessIdentity]) -> list[str]:
    """Return this run's people's processes that are in no container of the KNOWN first processes, nor its way out."""
    namespaces = {Path(f"/proc/{one.pid}/ns/pid_for_children").readlink() for one in known.values()}
    ways_out = Counter(Path(f"/proc/{one.pid}").stat().st_uid for one in known.values())
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            owner = folder.stat().st_uid
            if not FIRST <= owner < FIRST + 9 or (folder / "ns/pid").readlink() in namespaces:
                continue
            command = (folder / "cmdline").read_bytes()
            if b"slirp4netns" in command and ways_out[owner]:
                ways_out[owner] -= 1
            elif identify(int(folder.name)):
                found.append(f"{folder.name} {command!r}")
        except OSError:
            continue
    return found


def soon(reading: Callable[[], object], expected: object, seconds: float = 30) -> None:
    """Return once READING gives what is EXPECTED; fail with what it gives after so many SECONDS."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: reading() == expected, seconds)
        return
    assert reading() == expected


def check(hub: RealHub) -> None:
    """Fail unless exactly the sessions that the hub knows are there, answer, and have left traces."""
    soon(lambda: pending(hub), [], 120)
    sessions = running(hub)
    assert all(is_running(one) for one in sessions.values())
    soon(lambda: [name for name in sessions if not hub.serves(name)], [])
    soon(lambda: strays(sessions), [])
    # What a session leaves is cleared away once its processes are gone.
    soon(lambda: {path.parent.name for path in hub.state.glob("sessions/*/[!.]*.json")}, sessions.keys())
    soon(lambda: leases(hub), sorted(f"{name}.default.{kind}" for name in sessions for kind in ("environment", "server")))
    keys = {f"{name}.default" for name in sessions}
    soon(lambda: {path.name for path in (hub.state / "run" / "s").iterdir()}, keys)
    soon(lambda: groups(hub) in (keys, set()), True)


def groups(hub: RealHub) -> set[str]:
    """Return the sessions of the HUB that have a control group in any tree."""
    mine = f"guix_sessions_{hashlib.sha256(str(hub.state).encode()).hexdigest()[:12]}"
    found = set()
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        if Path(folder).name == mine:
            # The process for warm starts has one of its own, named after itself.
            found |= {name for name in below if not name.startswith("warm-")}
        if folder.count("/") > 8:
            below.clear()
    return found


@pytest.mark.parametrize("first", ["5", "6"])
def test_a_hub_that_is_ended_and_killed_at_any_moment_loses_no_session_and_leaves_none(records: Path, first: str) -> None:
    older = OLDER if first == "5" else None
    if older and (jupyterhub.__version__.startswith("5.") or not OLDER.is_dir()):
        pytest.skip("needs JupyterHub 5 beside this one, as tools/run_tests puts it there")
    chance = random.Random(SEED)
    ways: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    interrupted = 0
    with running_hub(records, MORE, older=older) as hub:
        for name in (*STEADY, *RESTLESS):
            hub.request("POST", f"/hub/api/users/{name}")
        for name in STEADY:
            assert hub.spawn(name, GIVEN)[0] == 201, hub.session_log(name)
        steady = {name: first_process(hub, name) for name in STEADY}
        for number in range(RESTARTS):
            way = chance.choice([Way.ENDED, Way.KILLED, Way.KILLED, Way.KILLED_TWICE])
            if older and number == RESTARTS // 2:
                assert series(hub) == "5"
                way = Way.UPGRADED
            with Restless(hub, chance) as restless:
                time.sleep(chance.random() * 4)
                under_way = pending(hub)
                print(f"{number}: {way} with {under_way} under way", flush=True)
                end_in_some_way(hub, way, chance)
                hub.start()
                time.sleep(chance.random() * 2)
            ways[way] += 1
            asked += restless.asked
            interrupted += bool(under_way)
            check(hub)
            assert {name: first_process(hub, name) for name in STEADY} == steady
        print(json.dumps({"ways": ways, "asked": asked, "while something was under way": interrupted}), flush=True)
        assert sum(asked.values()) > RESTARTS, "sessions started and stopped meanwhile"
        assert series(hub) == jupyterhub.__version__.partition(".")[0]
        for name in (*STEADY, *RESTLESS):
            hub.stop(name)
        check(hub)
        assert strays({}) == []
        assert not any(is_running(one) for one in steady.values())
