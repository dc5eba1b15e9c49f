"""Loading the server's modules, in the server layer's own Python: it does nothing that sessions could not share."""

import asyncio
import getpass
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from guix_build_service.server_definitions import definitions_folder
from guix_build_service.server_layer import ServerProfileSettings, ensure_server_profile

pytestmark = [pytest.mark.guix, pytest.mark.timeout(1800)]

CHECKOUT = Path(__file__).parents[2]
PROBE = """
import json, os, sys, threading
done, asked = [], []
def notice(event, arguments):
    words = ("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "_thread.start", "os.mkdir", "os.putenv",
             "os.remove", "os.rename", "signal.", "tempfile.", "sqlite3.connect")
    if event.startswith(words) and event not in ("socket.gethostname", "socket.__new__"):
        done.append([event, repr(arguments)[:200]])
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = arguments
        if os.fsdecode(path).startswith(HOME) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            done.append([event, repr(arguments)])
HOME = os.environ["HOME"]
own = type(os.environ).__getitem__
type(os.environ).__getitem__ = lambda self, name: (asked.append(name), own(self, name))[1]
files = set(os.listdir("/proc/self/fd"))
sys.path.append(sys.argv[1])
sys.addaudithook(notice)
from guix_session.start import preload
preload()
preload()
wanted = ("jupyterhub.singleuser.extension", "jupyterlab.labapp", "guix_session.extension")
needed = [name for name in wanted if name in sys.modules]
print(json.dumps({
    "done": done, "asked": sorted(set(asked)), "threads": threading.active_count(), "needed": len(needed),
    "files": sorted(set(os.listdir("/proc/self/fd")) - files),
    "database": [name for name in ("sqlalchemy.orm", "alembic.op", "jupyterhub.spawner") if name in sys.modules],
}))
"""


@pytest.fixture(scope="module", params=["5", "6"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    folder = tmp_path_factory.mktemp("server")
    roots = Path("/var/guix/profiles/per-user") / getpass.getuser() / f"guix-build-service-session-tests-{os.getpid()}"
    series = request.param
    settings = ServerProfileSettings(definitions_folder(), series, folder / "records", roots, folder / "logs")
    record = asyncio.run(ensure_server_profile(settings))
    python = f"{record.profile}/lib/server-layer/bin/python3"
    home = folder / "home"
    ended = subprocess.run(
        [python, "-I", "-B", "-c", PROBE, str(CHECKOUT)],
        env={"HOME": str(home), "PATH": f"{record.profile}/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    yield json.loads(ended.stdout)
    shutil.rmtree(roots)


def test_it_loads_what_a_server_needs(loaded: dict[str, object]) -> None:
    assert loaded["needed"] == 3


def test_it_opens_and_starts_nothing(loaded: dict[str, object]) -> None:
    assert loaded["done"] == []
    assert loaded["files"] == []
    assert loaded["threads"] == 1


def test_it_reads_nothing_that_differs_between_sessions(loaded: dict[str, list[str]]) -> None:
    differs = [name for name in loaded["asked"] if name.startswith(("GUIX_", "JPY_", "JUPYTERHUB_", "HOME", "USER", "XDG_"))]
    # Which of the hub's two single-user servers is meant; no session says.
    assert [name for name in differs if not name.startswith("JUPYTERHUB_SINGLEUSER_")] == []


def test_it_leaves_the_hubs_database_alone(loaded: dict[str, object]) -> None:
    assert loaded["database"] == []
