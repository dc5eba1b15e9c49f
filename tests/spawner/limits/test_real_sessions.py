"""Limits of real sessions: JupyterLab and kernels that the real Guix built, on whatever this machine enforces limits by."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guix_environment import process_identity
from guix_environment.identifiers import EnvironmentId
from guix_environment.records import Records, Visibility
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT, environment
from tests.spawner.real_hub import RealHub, connected, first_process, running_hub, wait_for

from .conftest import BACKEND, EXPECTED
from .held_hub import GIB, GIVEN, HELD, answers, groups_of, kills, told

pytestmark = [
    pytest.mark.guix,
    pytest.mark.hub,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0 and not EXPECTED, reason="only root finds control groups everywhere"),
]

UNHELD = """
c.SessionLimits.backend = "nothing"
c.GuixSpawner.mem_guarantee = int(0.6 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
"""

BOMB = """
import os, signal, time
started = []
try:
    while len(started) < 1000:
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        started.append(pid)
except OSError as error:
    print(error.strerror, end=" ")
print(len(started))
for pid in started:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""

SPIN = """
import os, resource, time
def compute():
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        pass
    os._exit(0)
begun = time.monotonic()
started = [os.fork() or compute() for _ in range(2)]
for pid in started:
    os.waitpid(pid, 0)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) / (time.monotonic() - begun))
"""


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as folder:
        yield folder


@pytest.fixture(scope="module")
def hub(records: Path) -> Iterator[RealHub]:
    with running_hub(records, HELD) as hub:
        yield hub


@pytest.fixture(scope="module")
def ada(hub: RealHub) -> str:
    """A person with a running server."""
    assert hub.spawn("ada", GIVEN)[0] == 201, hub.session_log("ada")
    return "ada"


def test_a_session_is_told_what_is_in_force(hub: RealHub, ada: str) -> None:
    limits = json.loads(told(hub, ada)["GUIX_SESSION_LIMITS"])
    assert (limits["memory"], limits["cpu"], limits["processes"], limits["disk"]) == (GIB, 1, 200, None)
    assert limits["enforced_by"] in ({"systemd", "cgroup-v2", "cgroup-v1"} if BACKEND == "auto" else {BACKEND})
    assert "to: 1024 MiB of memory, 1 cores, 200 processes" in hub.log.read_text()


async def test_too_much_memory_ends_the_kernel_and_the_server_answers(hub: RealHub, ada: str) -> None:
    server, before = first_process(hub, ada), kills(hub, ada)
    _, text = await asyncio.to_thread(hub.request, "POST", f"/user/{ada}/api/kernels", {"name": "python3"})
    address = f"{hub.address.replace('http', 'ws')}/user/{ada}/api/kernels/{json.loads(text)['id']}/channels?session_id=x"
    connection = await connected(address)
    await connection.write_message(json.dumps(_execute("kept = bytearray(b'x' * (3 * 2**30))")))
    while True:
        message = await connection.read_message()
        assert message
        if json.loads(message)["content"].get("execution_state") in {"restarting", "autorestarting", "dead"}:
            break
    connection.close()
    assert kills(hub, ada) > before
    assert process_identity.is_running(server)
    assert await asyncio.to_thread(answers, hub, ada)
    assert await hub.run_code(ada, "print('goes on')") == "goes on"


def _execute(code: str) -> dict[str, Any]:
    header = {"msg_id": "m", "username": "", "session": "x", "msg_type": "execute_request", "version": "5.3", "date": ""}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}


async def test_a_terminal_is_ended_and_not_the_server(hub: RealHub, ada: str) -> None:
    shown = await hub.run_in_terminal(ada, 'python3 -c \'bytearray(b"x" * (3 * 2**30))\'; echo "ended:$?"')
    assert "ended:137" in shown
    assert await asyncio.to_thread(answers, hub, ada)


async def test_the_session_sees_the_kernels_count(hub: RealHub, ada: str) -> None:
    path = told(hub, ada)["GUIX_SESSION_MEMORY_EVENTS"]
    seen = await hub.run_code(ada, f"print(open({path!r}).read())")
    assert f"oom_kill {kills(hub, ada)}" in seen
    assert (await hub.run_code(ada, f"open({path!r}, 'w')")).startswith(("OSError", "PermissionError"))


async def test_a_fork_bomb_stops_and_the_server_answers(hub: RealHub, ada: str) -> None:
    reason, _, number = (await hub.run_code(ada, BOMB)).rpartition(" ")
    assert reason == "Resource temporarily unavailable"
    assert 50 < int(number) < 200
    assert await asyncio.to_thread(answers, hub, ada)


async def test_computing_is_bounded(hub: RealHub, ada: str) -> None:
    assert float(await hub.run_code(ada, SPIN)) < 1.2


async def test_kernels_and_terminals_go_before_the_server_and_all_of_them_before_the_hub(hub: RealHub, ada: str) -> None:
    assert await hub.run_code(ada, "print(open('/proc/self/oom_score_adj').read())") == "800"
    assert "score:800" in await hub.run_in_terminal(ada, 'echo "score:$(cat /proc/self/oom_score_adj)"')
    assert Path(f"/proc/{first_process(hub, ada).pid}/oom_score_adj").read_text().strip() == "200"
    # Lower than the hub's own nothing ever gets.
    lower = "import os; os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1')"
    assert (await hub.run_code(ada, lower)).startswith("PermissionError")
    assert Path(f"/proc/{hub.process.pid}/oom_score_adj").read_text().strip() == "0"


async def test_nothing_in_the_session_can_lift_its_limits(hub: RealHub, ada: str) -> None:
    assert await hub.run_code(ada, "import os; print(os.path.exists('/sys/fs/cgroup/memory'))") == "False"
    assert await hub.run_code(ada, "import os; print(os.path.exists('/sys/fs/cgroup/cgroup.procs'))") == "False"
    group = await hub.run_code(ada, "print(open('/proc/self/cgroup').read())")
    assert f"{ada}.default" not in group


def test_nothing_is_left_of_a_session_that_was_stopped(hub: RealHub) -> None:
    assert hub.spawn("bob", GIVEN)[0] == 201
    groups = groups_of(hub, "bob")
    assert groups
    hub.stop("bob")
    assert not [group for group in groups if group.exists()]


def test_a_hub_that_was_killed_finds_its_sessions_held(hub: RealHub, ada: str) -> None:
    groups = groups_of(hub, ada)
    hub.kill()
    hub.start()
    wait_for(lambda: hub.serves(ada))
    assert groups == groups_of(hub, ada)
    hub.stop(ada)
    assert not [group for group in groups if group.exists()]


def test_a_hub_clears_away_the_groups_of_sessions_that_ended_without_it(hub: RealHub) -> None:
    assert hub.spawn("carol", GIVEN)[0] == 201
    groups, process = groups_of(hub, "carol"), first_process(hub, "carol")
    hub.kill()
    process_identity.send_signal(process, signal.SIGKILL)
    hub.start()
    wait_for(lambda: not [group for group in groups if group.exists()])


@pytest.fixture(scope="module")
def unheld(records: Path) -> Iterator[RealHub]:
    """A hub on a machine that can enforce nothing, as far as it was told."""
    with running_hub(records, UNHELD) as hub:
        yield hub


def test_a_limit_that_cannot_be_enforced_is_refused(unheld: RealHub) -> None:
    status, _ = unheld.spawn("ada", {**GIVEN, "memory": GIB})
    assert status >= 400
    assert "This machine cannot hold a session to a limit on memory." in unheld.log.read_text()


def test_without_a_limit_a_session_starts_anywhere_until_all_is_promised(unheld: RealHub) -> None:
    assert unheld.spawn("bob", GIVEN)[0] == 201
    status, text = unheld.spawn("carol", GIVEN)
    assert status >= 400
    assert "All the memory of this machine is promised" in text + unheld.log.read_text()
    unheld.stop("bob")
    assert unheld.spawn("carol", GIVEN)[0] == 201


@pytest.fixture(scope="module")
def misled(records: Path) -> Iterator[RealHub]:
    """A hub that was told to enforce limits by what this machine does not have."""
    absent = "systemd" if not Path("/run/systemd/system").is_dir() else "cgroup-v1"
    with running_hub(records, f"c.SessionLimits.backend = {absent!r}") as hub:
        yield hub


def test_nothing_starts_where_the_chosen_way_to_enforce_limits_does_not_work(misled: RealHub) -> None:
    status, _ = misled.spawn("ada", GIVEN)
    assert status >= 400
    assert "on this machine." in misled.log.read_text().partition("Limits cannot be enforced by ")[2].partition("\n")[0]
    assert not list((misled.state / "sessions").glob("ada/default.json"))


def test_a_session_that_has_too_little_memory_to_start_is_told_so(hub: RealHub) -> None:
    records, small = Records(hub.state / "records"), EnvironmentId("ecccccccccca")
    shutil.copytree(records.environment_folder(ENVIRONMENT), records.environment_folder(small), symlinks=True)
    records.write_environment(environment(id=small, visibility=Visibility.EVERYONE, memory=4 * 2**20))
    hub.spawn("cyd", {"environment": small})
    assert "ran out of memory while it started: it may have 4 MiB." in hub.log.read_text(), hub.session_log("cyd")
