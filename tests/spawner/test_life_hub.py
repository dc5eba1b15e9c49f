"""How sessions of a real hub end, are found again, and leave nothing; and what of the machine they see."""

import asyncio
import getpass
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guix_environment import process_identity
from guix_environment.identifiers import StorePath
from guix_environment.process_identity import ProcessIdentity, identify, is_running
from guixspawner.session_files import SessionFiles
from tests.spawner.built_records import built_records
from tests.spawner.computing import compute_in_silence
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, first_process, leases, running_hub, wait_for

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(1800)]

GIVEN = {"environment": ENVIRONMENT}

FOLDERS = """
data = Path(os.environ["STATE"]) / "data"
for name in ("read", "write"):
    (data / name).mkdir(parents=True, exist_ok=True)
(data / "read" / "table.csv").write_text("1,2\\n")
(data / "write").chmod(0o1777)
c.SessionFolders.folders = [
    {"source": str(data / "read"), "target": "/data"},
    {"source": str(data / "write"), "target": "/srv/shared", "writable": True, "people": ["ada", "bob"]},
    {"source": str(data / "gone"), "target": "/gone"},
]
c.SessionLife.log_limit = 65536
c.SessionLife.kernel_idle_timeout = 20
c.GuixSpawner.poll_interval = 2
"""


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as folder:
        yield folder


@pytest.fixture(scope="module")
def hub(records: Path) -> Iterator[RealHub]:
    with running_hub(records, FOLDERS) as hub:
        yield hub


@pytest.fixture(scope="module")
def ada(hub: RealHub) -> str:
    """A person with a running server."""
    assert hub.spawn("ada", GIVEN)[0] == 201, hub.session_log("ada")
    return "ada"


def processes_of(first: ProcessIdentity) -> list[int]:
    """Return every process in the namespace whose first one is FIRST."""
    namespace = Path(f"/proc/{first.pid}/ns/pid_for_children").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "ns/pid").readlink() == namespace:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


# Folders of the machine


async def test_people_see_the_folders_that_are_theirs(hub: RealHub, ada: str) -> None:
    assert await hub.run_code(ada, "print(open('/data/table.csv').read().strip())") == "1,2"
    assert (await hub.run_code(ada, "open('/data/table.csv', 'a')")).startswith(("OSError", "PermissionError"))
    assert (await hub.run_code(ada, "open('/gone')")).startswith("FileNotFoundError")
    assert f"The shared folder {hub.state}/data/gone is not there" in hub.log.read_text()
    assert hub.spawn("cyd", GIVEN)[0] == 201
    assert (await hub.run_code("cyd", "open('/srv/shared/x', 'w')")).startswith("FileNotFoundError")
    hub.stop("cyd")


async def test_what_one_writes_into_a_shared_folder_another_reads(hub: RealHub, ada: str) -> None:
    assert hub.spawn("bob", GIVEN)[0] == 201
    await hub.run_code(ada, "open('/srv/shared/from-ada', 'w').write('hello')")
    assert await hub.run_code("bob", "print(open('/srv/shared/from-ada').read())") == "hello"
    assert (await hub.run_code("bob", "open('/srv/shared/from-ada', 'a')")).startswith("PermissionError")
    hub.stop("bob")


# Kernels and logs


async def test_an_idle_kernel_ends_and_the_session_goes_on(hub: RealHub, ada: str) -> None:
    process = first_process(hub, ada)
    _, text = hub.request("POST", f"/user/{ada}/api/kernels", {"name": "python3"})
    kernel = f"/user/{ada}/api/kernels/{json.loads(text)['id']}"
    wait_for(lambda: hub.request("GET", kernel)[0] == 404, 120)
    assert is_running(process)


async def test_a_session_that_prints_without_end_does_not_fill_the_disk(hub: RealHub, ada: str) -> None:
    log = hub.state / "sessions" / ada / "default.log"
    # The server's own output, where whatever it runs may write: a quarter more than the limit each time.
    await hub.run_code(ada, "open('/proc/1/fd/1', 'a')")
    tini = first_process(hub, ada)
    with Path(f"/proc/{tini.pid}/fd/1").open("ab") as output:
        for _ in range(20):
            output.write(b"x" * 16383 + b"\n")
    assert log.stat().st_size > 65536
    wait_for(lambda: log.stat().st_size < 65536)
    assert log.read_text().startswith("[What was older is no longer kept.]")
    assert (log.stat().st_mode & 0o777) == 0o640


# Leases


def test_the_collector_takes_nothing_that_a_session_holds_and_takes_it_afterwards(tmp_path: Path) -> None:
    # By name and not by `guix gc` alone, which would also take what other tests of this machine have just made.
    (tmp_path / "item").write_text(f"of the test {tmp_path}")
    item = StorePath(guix("download", (tmp_path / "item").as_uri()).stdout.splitlines()[0])
    leases = Path("/var/guix/profiles/per-user") / getpass.getuser() / f"guix-build-service-leases-test-{os.getpid()}"
    files = SessionFiles.of("ada", "", tmp_path / "sessions", leases)
    try:
        files.hold({"environment": item})
        refused = guix("gc", "--delete", item)
        assert refused.returncode != 0
        assert "still alive" in refused.stderr
        assert Path(item).exists()
        files.release()
        assert guix("gc", "--delete", item).returncode == 0
        assert not Path(item).exists()
    finally:
        shutil.rmtree(leases)


def guix(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["guix", *words], capture_output=True, text=True)


# Secrets


async def test_secrets_are_in_no_command_line_and_in_nobody_elses_environment(records: Path) -> None:
    # In two parts, so that the hub's own environment, which tells it this, is none of those where it is found.
    more = 'c.Spawner.environment = {"CANARY": "canary" + "-4f1b2c"}'
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if b"canary-4f1b2c" in (folder / "cmdline").read_bytes():
                        seen.add(f"command line of {folder.name}")
                    inside = (folder / "ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
                    if not inside and b"canary-4f1b2c" in (folder / "environ").read_bytes():
                        seen.add((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
                except OSError:
                    continue

    with running_hub(records, more) as hub:
        watching = threading.Thread(target=watch)
        watching.start()
        try:
            assert hub.spawn("ada", GIVEN)[0] == 201, hub.session_log("ada")
            assert await hub.run_code("ada", "import os; print(os.environ['CANARY'])") == "canary-4f1b2c"
            hub.stop("ada")
        finally:
            ended.set()
            watching.join()
        assert "canary-4f1b2c" not in hub.log.read_text()
    assert seen == set()


# Ends


async def test_a_server_and_a_kernel_that_ignore_being_asked_are_ended_in_bounded_time(hub: RealHub) -> None:
    assert hub.spawn("hal", GIVEN)[0] == 201
    code = (
        "import signal, subprocess, sys\n"
        "program = 'from signal import *; import time; signal(SIGTERM, SIG_IGN); print(1, flush=True); time.sleep(9999)'\n"
        "child = subprocess.Popen([sys.executable, '-c', program], stdout=-1, start_new_session=True)\n"
        "print(child.stdout.readline().decode())"
    )
    assert await hub.run_code("hal", code) == "1"
    first = first_process(hub, "hal")
    everything = processes_of(first)
    server = [pid for pid in everything if f"PPid:\t{first.pid}\n" in Path(f"/proc/{pid}/status").read_text()]
    assert len(everything) > len(server) > 0
    for pid in server:
        os.kill(pid, signal.SIGSTOP)
    before = time.monotonic()
    await asyncio.to_thread(hub.stop, "hal")
    assert time.monotonic() - before < 5 + process_identity.GRACE + 10, (
        "the hub's grace, the kernel's, and the hub's own delays"
    )
    assert not is_running(first)
    assert not [pid for pid in everything if identify(pid)]
    assert not [name for name in leases(hub) if name.startswith("hal.")]


async def test_a_server_that_is_deleted_leaves_no_log_and_a_renamed_one_keeps_it(hub: RealHub) -> None:
    assert hub.spawn("ivy", GIVEN, "one")[0] == 201
    await hub.run_code("ivy", "open('/home/ivy/kept', 'w').write('mine')", server="one")
    hub.stop("ivy", "one")
    name = "one"
    if hub.request("PATCH", "/hub/api/users/ivy/servers/one", {"name": "two"})[0] == 200:
        name = "two"
        assert not hub.session_log("ivy", "one")
    assert hub.session_log("ivy", name)
    hub.request("DELETE", f"/hub/api/users/ivy/servers/{name}", {"remove": True})
    wait_for(lambda: not hub.session_log("ivy", name))
    assert (hub.state / "homes/ivy/kept").read_text() == "mine"


# Restarts


async def test_many_sessions_are_found_again_and_what_is_left_of_others_is_cleared(hub: RealHub, ada: str) -> None:
    assert is_running(first_process(hub, ada))
    people = ["kim", "lee", "may", "noa"]
    for name in people:
        assert hub.spawn(name, GIVEN)[0] == 201
    found = {name: first_process(hub, name) for name in people}
    hub.kill()
    # One that ended while there was no hub, one of before the machine's last start, and one that no hub knows.
    os.kill(found["noa"].pid, signal.SIGKILL)
    stranger = subprocess.Popen(["sleep", "9999"], start_new_session=True)
    threading.Thread(target=stranger.wait).start()
    unknown = identify(stranger.pid)
    assert unknown is not None
    sessions = hub.state / "sessions"
    for name, record in (
        ("old", {**process_identity.to_record(found["kim"]), "boot": "another"}),
        ("unknown", process_identity.to_record(unknown)),
    ):
        (sessions / name).mkdir()
        (sessions / name / "default.json").write_text(json.dumps(record))
    held = Path("/var/guix/profiles/per-user/root/guix-build-service/sessions") / installation(hub)
    (held / "old.default.environment").symlink_to((held / "kim.default.environment").readlink())
    hub.start()
    for name in people[:3]:
        wait_for(lambda name=name: hub.serves(name))
        assert first_process(hub, name) == found[name]
        assert await hub.run_code(name, "print(6 * 7)") == "42"
    wait_for(lambda: "Ended the session unknown.default" in hub.log.read_text())  # which is told once all is done
    assert not is_running(unknown)
    assert names(sessions) == {"ada", *people[:3]}
    assert {lease.partition(".")[0] for lease in leases(hub)} == {"ada", *people[:3]}
    for name in people[:3]:
        hub.stop(name)
        assert not is_running(found[name])


def names(sessions: Path) -> set[str]:
    return {path.parent.name for path in sessions.glob("*/[!.]*.json")}


def installation(hub: RealHub) -> str:
    return hashlib.sha256(str(hub.state).encode()).hexdigest()[:12]


# Idleness and age


async def test_who_does_nothing_is_stopped_and_who_computes_in_silence_is_not(records: Path) -> None:
    with running_hub(records, options={"idle_timeout": 30}) as hub:
        assert hub.spawn("quiet", GIVEN)[0] == 201, hub.session_log("quiet")
        await compute_in_silence(hub, "quiet")
        # Whose session begins later than the silence, and ends before.
        assert hub.spawn("idle", GIVEN)[0] == 201, hub.session_log("idle")
        idle = first_process(hub, "idle")
        wait_for(lambda: not is_running(idle), 300)
        wait_for(lambda: not hub.model("idle"))
        ended = datetime.now(UTC)
        assert re.search(r"Culling server idle", hub.log.read_text())
        assert not [name for name in leases(hub) if name.startswith("idle.")]
        # The hub goes on hearing of work: nothing else would tell it of any.
        wait_for(lambda: datetime.fromisoformat(hub.model("quiet")["last_activity"]) > ended, 120)
        assert "Culling server quiet" not in hub.log.read_text()


async def test_nobodys_session_is_older_than_allowed(records: Path) -> None:
    with running_hub(records, options={"maximal_age": 15}) as hub:
        assert hub.spawn("old", GIVEN)[0] == 201, hub.session_log("old")
        process = first_process(hub, "old")
        deadline = time.monotonic() + 90
        while is_running(process):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
        wait_for(lambda: not hub.model("old"))
        assert hub.spawn("old", GIVEN)[0] == 201, "and can be started again"
        hub.stop("old")
