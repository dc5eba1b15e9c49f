"""Find out how limits can be enforced here, by doing it to a process that sleeps."""

import contextlib
import itertools
import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

from guix_environment import process_identity, processes
from guix_environment.errors import SessionFailure
from guixspawner.limits import cgroup_v1, cgroup_v2
from guixspawner.limits.model import Backend, BackendKind, Enforced, Limits
from guixspawner.limits.programs import find_program
from guixspawner.limits.rlimits import NoLimits, ResourceLimits
from guixspawner.limits.systemd import Systemd

_TRIED = Limits(memory=64 * 1024**2, cpu=0.5, processes=64)
_NUMBERS = itertools.count()
_NO_OUTPUT = -3
"""``subprocess.DEVNULL``."""


def candidates(group: str, *, address_space: bool) -> Iterator[Backend]:
    """Yield every back-end that may work on this machine, best first; the last always does."""
    systemd = Path("/run/systemd/system").is_dir()
    busctl = find_program("busctl")
    if busctl and systemd:
        yield Systemd(busctl, group, own=os.geteuid() != 0)
    yield from cgroup_v2.candidates(group, systemd=systemd)
    yield from cgroup_v1.candidates(group)
    yield ResourceLimits(address_space=address_space)
    yield NoLimits()


async def detect(choice: BackendKind | None, possible: Collection[Backend]) -> Backend:
    """Return the first of the POSSIBLE back-ends that enforces everything, or else the one that enforces most.

    With CHOICE, only of that kind; raises `SessionFailure` when none of it works here.  Takes some processes' time.
    """
    best: tuple[int, Backend] | None = None
    for backend in possible:
        if choice not in {None, backend.kind}:
            continue
        if backend.kind in {BackendKind.RLIMITS, BackendKind.NOTHING}:
            # Nothing to find out: what these bound depends on the session alone.
            return best[1] if best else backend
        enforced = await _try(backend)
        found = sum(value is not None for value in (enforced.memory, enforced.cpu, enforced.processes)) if enforced else 0
        if found == 3:
            return backend
        if found > (best[0] if best else 0):
            best = found, backend
    if best is None:
        raise SessionFailure(
            f"Limits cannot be enforced by {choice} on this machine.",
            hint="Whoever runs it can set SessionLimits.backend to auto.",
        )
    return best[1]


async def _try(backend: Backend) -> Enforced | None:
    """Hold a process that sleeps, and return what was in force for it, or None where BACKEND cannot, or not end it."""
    sleep = find_program("sleep")
    if sleep is None:
        return None
    key = f"attempt-{os.getpid()}.{next(_NUMBERS)}"
    process = await processes.start([sleep, "60"], environment={}, output=_NO_OUTPUT)
    try:
        identity = process_identity.identify(process.pid)
        return await backend.hold(key, identity, _TRIED) if identity else None
    except (SessionFailure, OSError):
        return None
    finally:
        # In this order: what is waited for cannot be another process under the same number.
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        with contextlib.suppress(SessionFailure, OSError):
            await backend.end(key)
