"""Every back-end that this machine has, and sessions to be held by it."""

import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guixspawner.limits import cgroups
from guixspawner.limits.cgroup_v2 import CgroupV2
from guixspawner.limits.detection import candidates
from guixspawner.limits.model import Backend, BackendKind

from .tree import Server

EXPECTED = os.environ.get("GUIX_LIMITS_EXPECTED", "").split()
"""The back-ends that a machine was made to have, for which a missing one is a failure (tools/systemd_machine.py)."""

BACKEND = os.environ.get("GUIX_LIMITS_BACKEND", "auto")
"""By which of them sessions of a real hub are held."""

GROUPED = (BackendKind.SYSTEMD, BackendKind.CGROUP_V2, BackendKind.CGROUP_V1)


@pytest.fixture
def group() -> str:
    return f"guix_test_{secrets.token_hex(4)}"


def _found(kind: BackendKind, group: str) -> Backend | None:
    for backend in candidates(group, address_space=False):
        if backend.kind == kind:
            return backend
    base = Path("/sys/fs/cgroup")
    if kind == BackendKind.CGROUP_V2 and os.geteuid() == 0:
        # Systemd has handed nothing over to these tests; for their time they take what lies beside its own.
        with contextlib.suppress(OSError):
            if {"memory", "pids", "cpu"} <= set((base / "cgroup.controllers").read_text().split()):
                return CgroupV2(base, group)
    return None


@pytest.fixture(params=GROUPED)
async def backend(request: pytest.FixtureRequest, group: str) -> AsyncIterator[Backend]:
    kind: BackendKind = request.param
    found = _found(kind, group)
    if found is None:
        assert kind.value not in EXPECTED
        pytest.skip(f"this machine has no {kind.value} that could be used")
    yield found
    for key in await found.leftovers():
        await found.end(key)
    left = [path for tree in cgroups.hierarchies() for path in tree.mount.rglob(f"{group}*") if path.suffix != ".slice"]
    assert not left, "a group is left"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server_of_its_own() -> Iterator[Server]:
    """A server that is the one account of a user namespace, as a session is."""
    unshare = shutil.which("unshare")
    assert unshare
    server = Server(unshare, "--user", account=65534 if os.geteuid() == 0 else None)
    yield server
    server.close()


def throttled(pid: int) -> int:
    """Return how many times the kernel had the group of the process PID wait because its time for the period was used up."""
    folders = cgroups.folders_of(pid)
    lines = (folders["cpu" if "cpu" in folders else ""] / "cpu.stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("nr_throttled "))
