"""Loading the server's modules, in the server layer's own Python: it does nothing that sessions could not share."""

import asyncio
import getpass
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guix_build_service.server_layer.definitions import definitions_folder
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile

pytestmark = [pytest.mark.guix, pytest.mark.timeout(1800)]

CHECKOUT = Path(__file__).parents[2]
MARK = "what-differs"
VARIABLES = ("HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_PATH",
             "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTERHUB_API_URL",
             "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTERHUB_USER", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_ROOT_DIR",
             "JUPYTERHUB_OAUTH_SCOPES", "GUIX_SESSION_TOOLS")  # fmt: skip
"""What differs between sessions, in the environment of a process that loads the modules."""

PROBE = """
import gc, json, os, sys, threading
done = []
def notice(event, arguments):
    words = ("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "_thread.start", "os.mkdir", "os.putenv",
             "os.remove", "os.rename", "signal.", "tempfile.", "sqlite3.connect")
    # urllib3 tries once whether there is IPv6, with a socket that it closes.
    if event.startswith(words) and event not in ("socket.gethostname", "socket.__new__"):
        if "('::1', 0)" not in repr(arguments):
            done.append([event, repr(arguments)[:200]])
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = arguments
        if MARK in os.fsdecode(path) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            done.append([event, repr(arguments)])
MARK = "-".join(("what", "differs"))
files = set(os.listdir("/proc/self/fd"))
sys.path.append(sys.argv[1])
sys.addaudithook(notice)
from guix_session.start import preload
preload()
preload()
opened = list(done)
database = [name for name in ("sqlalchemy.orm", "alembic.op", "jupyterhub.spawner") if name in sys.modules]
for name in VARIABLES:
    os.environ[name] = "/of/this/session"
from guix_session.imports import renew
from guix_session.settings import server_settings
from guix_session.surroundings import Session
renew()
settings = server_settings(Session(0.0))
kept = []
for holder in gc.get_objects():
    if holder is globals():
        continue
    for each in gc.get_referents(holder):
        if isinstance(each, (str, bytes)) and (MARK if isinstance(each, str) else MARK.encode()) in each:
            names = [key for key, value in holder.items() if value is each] if isinstance(holder, dict) else []
            kept.append(getattr(holder, "name", "") or " ".join(map(str, names)) or repr(type(holder)))
wanted = ("jupyterhub.singleuser.extension", "jupyterlab.labapp", "guix_session.extension")
needed = [name for name in wanted if name in sys.modules]
print(json.dumps({
    "done": opened, "threads": threading.active_count(), "needed": len(needed), "kept": kept, "settings": settings,
    "files": sorted(set(os.listdir("/proc/self/fd")) - files),
    "database": database,
}))
"""


@pytest.fixture(scope="module", params=["5", "6"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("server")
    roots = Path("/var/guix/profiles/per-user") / getpass.getuser() / f"guix-build-service-session-tests-{os.getpid()}"
    series = request.param
    settings = ServerProfileSettings(definitions_folder(), series, folder / "records", roots, folder / "logs")
    record = asyncio.run(ensure_server_profile(settings))
    python = f"{record.profile}/lib/server-layer/bin/python3"
    told = {name: f"/{MARK}/{name}" for name in VARIABLES}
    ended = subprocess.run(
        [python, "-I", "-B", "-c", f"VARIABLES = {VARIABLES!r}{PROBE}", str(CHECKOUT)],
        env={**told, "PATH": f"{record.profile}/bin", "LANG": "C.UTF-8"},
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


def test_it_keeps_nothing_that_differs_between_sessions(loaded: dict[str, Any]) -> None:
    """What the loaded modules hold of the environment that they were loaded in, and no setting of the session's replaces."""
    told = {(kind, name) for kind, settings in loaded["settings"].items() for name in settings}
    kept = {name for name in loaded["kept"] if not any(name == option for _, option in told)}
    # Python's own, of a folder for packages that is not used (``-I``).
    assert kept == {"USER_SITE", "USER_BASE"}
    assert ("HubOAuth", "base_url") in told


def test_it_leaves_the_hubs_database_alone(loaded: dict[str, object]) -> None:
    assert loaded["database"] == []
