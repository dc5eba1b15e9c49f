"""A start from the ready process is like others from inside, and tells a session nothing."""

import asyncio
import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from guix_environment import process_identity
from guix_environment.container import Network
from guix_environment.records import ServerRecord
from guixspawner.launch import ColdLauncher
from guixspawner.warm_start import WarmStart
from tests.containers import ACCOUNT
from tests.spawner.warm_start.starting import printed, probing, ready_processes, warmed


@pytest.mark.guix
async def test_that_a_warm_start_is_a_cold_one_from_inside(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    warm = json.loads(await printed(launcher, probing(server, SECRET="for this session")))
    cold = json.loads(await printed(ColdLauncher(), probing(server, SECRET="for this session")))
    again = json.loads(await printed(launcher, probing(server)))
    assert "SECRET" in warm["variables"]
    assert "SECRET" not in again["variables"]
    # Different in every start, however it was made.
    for name in ("seed", "layout"):
        assert len({str(found.pop(name)) for found in (warm, cold, again)}) == 3
    # The pipe by which the first process learns of the end.
    assert (warm.pop("pipes"), cold.pop("pipes")) == (["pipe"], [])
    warm["files"] = ["/dev/null" if file == "/dev/null" else "log" for file in warm["files"]]
    cold["files"] = ["/dev/null" if file == "/dev/null" else "log" for file in cold["files"]]
    assert warm == cold


@pytest.mark.guix
async def test_that_the_first_process_ends_with_the_server_and_collects_what_others_leave(
    settings: WarmStart, server: ServerRecord
) -> None:
    launcher = await warmed(settings, server)
    script = (
        "import os, time\n"
        "os.system('(sleep 0.1 &) &')\n"
        "time.sleep(0.5)\n"
        "states = [open(f'/proc/{n}/stat').read().split()[1:3] for n in os.listdir('/proc') if n.isdigit()]\n"
        "print(sorted(map(tuple, states)), flush=True)\n"
    )
    shown = await printed(launcher, probing(server, script))
    assert "'Z'" not in shown
    assert "(bash)" in shown


@pytest.mark.guix
async def test_that_being_asked_to_end_reaches_the_server(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    script = (
        "import signal, sys, time\n"
        "def asked(*_):\n    print('asked to end', flush=True); time.sleep(0.3); print('done', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, asked); print('ready', flush=True); time.sleep(60)\n"
    )
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(ACCOUNT, Network.OWN, log.fileno())
        await waiting.run(probing(server, script))
        while b"ready" not in os.pread(log.fileno(), 100, 0):
            await asyncio.sleep(0.01)
        await process_identity.end(waiting.first, grace=10)
        assert os.pread(log.fileno(), 100, 0) == b"ready\nasked to end\ndone\n"


@pytest.mark.guix
async def test_that_the_ready_process_knows_nothing(
    settings: WarmStart, server: ServerRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "of the hub")
    launcher = await warmed(settings, server)
    await printed(launcher, probing(server, SECRET="canary of a session"))
    [found] = ready_processes(settings)
    names = {line.partition("=")[0] for line in (found / "environ").read_text().split("\0")}
    assert names == {"", "LANG", "PATH"} | _set_by_itself(server)
    await asyncio.sleep(3)
    memory = _memory(int(found.name))
    assert b"jupyterhub" in memory
    for canary in (b"canary of a session", b"CANARY=of the hub"):
        assert canary not in memory


def _set_by_itself(server: ServerRecord) -> set[str]:
    """Return the names of the variables that the server layer's Python sets, however it is started."""
    python = Path(server.profile, "bin/jupyterhub-singleuser").resolve().parent / "python3"
    command = [str(python), "-I", "-c", "import os; print(*os.environ)"]
    return set(subprocess.run(command, check=True, env={"LANG": "C.UTF-8"}, capture_output=True, text=True).stdout.split())


def _memory(pid: int) -> bytes:
    """Return what a process may write to of its memory."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            ends, rights, *_ = line.split()
            if rights.startswith("rw"):
                begin, end = (int(word, 16) for word in ends.split("-"))
                memory.seek(begin)
                found.append(memory.read(end - begin))
    return b"".join(found)


@pytest.mark.guix
async def test_that_nothing_in_a_session_leads_to_the_ready_process(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    script = f"""
import os, socket
for path in ("{settings.folder}", "/proc/1/root{settings.folder}", "/proc/self/fd/3", "/proc/self/fd/4"):
    try:
        print(os.listdir(path))
    except OSError as error:
        print(type(error).__name__)
print([line for line in open("/proc/net/unix").read().splitlines()[1:] if "LISTEN" in line or "sock" in line])
"""
    shown = (await printed(launcher, probing(server, script))).splitlines()
    assert shown[:2] == ["FileNotFoundError"] * 2
    assert set(shown[2:4]) <= {"FileNotFoundError", "NotADirectoryError"}
    assert shown[4] == "[]"


@pytest.mark.guix
async def test_that_a_command_of_another_form_runs_as_ever(settings: WarmStart, server: ServerRecord) -> None:
    launcher = await warmed(settings, server)
    other = replace(probing(server), command=(f"{server.profile}/bin/bash", "-c", "echo $$ $0", "shell"))
    assert await printed(launcher, other) == "1 shell\n"
    # Read once, when modules are loaded.
    told = await printed(launcher, probing(server, "import os; print(os.environ['GATEWAY_X'])", GATEWAY_X="told"))
    assert told == "told\n"
