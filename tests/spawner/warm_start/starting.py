"""What the tests of warm starts begin with: containers that say what they see, and the process that is ready."""

import asyncio
import os
import tempfile
from pathlib import Path

from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Link, Network, PlacedFile, TemporaryFolder
from guix_environment.records import ServerRecord
from guix_environment.system_call_filter import compiled
from guixspawner.launch import Launcher
from guixspawner.limits import SessionLimits
from guixspawner.warm_start import WarmStart
from tests.containers import ACCOUNT, processes_with

PROBE = """
import json, os, resource, signal, sys
def lines(path):
    return open(path).read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines("/proc/self/status") if ":\\t" in line)
mask = os.umask(0); os.umask(mask)
print(json.dumps({
    "variables": dict(os.environ), "folder": os.getcwd(), "arguments": sys.argv[1:], "mask": mask,
    "account": [os.getresuid(), os.getresgid(), os.getgroups()],
    "status": {name: status[name] for name in status if name.startswith(("Cap", "Sig", "Shd", "NoNew", "Sec", "Groups"))},
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")},
    "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    "files": sorted(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)),
    "pipes": sorted(kind for n in range(3, 64) if os.path.exists(f"/proc/self/fd/{n}")
                    for kind in [os.readlink(f"/proc/self/fd/{n}").partition(":")[0]]),
    "parent": os.getppid(), "leads_a_group": os.getpgid(0) == os.getpid(), "session": os.getsid(0),
    "flags": list(sys.flags), "path": sys.path[-3:], "main": __name__, "file": __file__,
    "mounts": [line.split()[4] for line in lines("/proc/self/mountinfo")],
    "processes": len([n for n in os.listdir("/proc") if n.isdigit()]),
    "seed": hash("seed"), "layout": [line.split("-")[0] for line in lines("/proc/self/maps") if line.endswith("[stack]")],
    "title": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0")[-5:],
}), flush=True)
"""


async def groups_of(settings: WarmStart) -> set[str]:
    """Return the names of the groups of control that processes for warm starts have or had."""
    return set(await (await SessionLimits(parent=settings).chosen()).leftovers())


async def printed(launcher: Launcher, container: ContainerPlan) -> str:
    """Return what the command of CONTAINER printed until it ended."""
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(ACCOUNT, container.network, log.fileno())
        await waiting.run(container)
        while process_identity.is_running(waiting.first):
            await asyncio.sleep(0.01)
        log.seek(0)
        return log.read().decode()


def probing(server: ServerRecord, script: str = PROBE, **variables: str) -> ContainerPlan:
    """Return a container that runs SCRIPT as a session runs its server."""
    python = Path(server.profile, "bin/jupyterhub-singleuser").resolve().parent / "python3"
    return ContainerPlan(
        store_items=server.closure,
        command=(f"{server.profile}/bin/tini", "--", str(python), "-I", "/run/probe.py", "one", "two"),
        directory="/tmp",
        variables={"PATH": f"{server.profile}/bin", "LANG": "C.UTF-8", "TZ": "Asia/Tokyo", **variables},
        host_name="warm",
        network=Network.OWN,
        temporary_folders=(TemporaryFolder("/tmp", 0o1777, 2**20),),
        files=(PlacedFile("/run/probe.py", script.encode()),),
        links=(Link("/bin/sh", f"{server.profile}/bin/bash"),),
        filter=compiled(),
    )


async def warmed(settings: WarmStart, server: ServerRecord) -> Launcher:
    """Return a launcher whose ready process is ready."""
    launcher = settings.launcher(server.profile)
    for _ in range(2):
        await printed(launcher, probing(server, "pass"))
    return launcher


def ready_processes(settings: WarmStart) -> list[Path]:
    return [
        path for path in processes_with("launcher/parent.py") if os.path.realpath(path / "fd/2") == f"{settings.folder}/log"
    ]
