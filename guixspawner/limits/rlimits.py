"""Limits where there are no control groups: what the kernel counts by other means, and otherwise nothing."""

import resource
from collections.abc import Collection
from pathlib import Path

from guix_environment import process_identity, processes
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.limits.model import BackendKind, Enforced, Limits, Usage, not_held
from guixspawner.limits.programs import find_program

_KINDS = {"nproc": (resource.RLIMIT_NPROC, "Max processes"), "as": (resource.RLIMIT_AS, "Max address space")}


class ResourceLimits:
    """Bounds how many processes a session has, and with ADDRESS_SPACE how much memory each of them may ask for.

    Processes are counted for each account of a user namespace (getrlimit(2), and ``user_namespaces(7)``), and a session is
    the one account of one.  Memory and computing time of a whole session are counted nowhere, so neither is in force.
    """

    kind = BackendKind.RLIMITS

    def __init__(self, *, address_space: bool) -> None:
        self._address_space = address_space

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:  # noqa: ARG002 - there is no group
        """See `Backend`."""
        try:
            if limits.processes:
                await _lower(process.pid, "nproc", limits.processes)
            if limits.memory and self._address_space:
                await _lower(process.pid, "as", limits.memory)
            counted = limits.processes is not None and _has_users_of_its_own(process.pid)
            return Enforced(self.kind, processes=_hard_limit(process.pid, "nproc") if counted else None)
        except OSError as error:
            raise not_held(error) from error

    async def end(self, key: str) -> None:
        """See `Backend`: nothing is held beside the processes themselves, which end with the first of them."""

    async def leftovers(self) -> Collection[str]:
        """See `Backend`."""
        return ()

    async def usage(self, key: str) -> Usage:  # noqa: ARG002 - nothing counts it
        """See `Backend`."""
        return Usage()

    def describe(self) -> str:
        """See `Backend`."""
        each = ", memory that each process may ask for" if self._address_space else ""
        return f"resource limits: how many processes a session has{each}"


class NoLimits:
    """Bounds nothing, and says so."""

    kind = BackendKind.NOTHING

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:  # noqa: ARG002 - does nothing
        """See `Backend`."""
        return Enforced(self.kind)

    async def end(self, key: str) -> None:
        """See `Backend`."""

    async def leftovers(self) -> Collection[str]:
        """See `Backend`."""
        return ()

    async def usage(self, key: str) -> Usage:  # noqa: ARG002 - nothing counts it
        """See `Backend`."""
        return Usage()

    def describe(self) -> str:
        """See `Backend`."""
        return "nothing"


async def _lower(pid: int, name: str, most: int) -> None:
    """Bound process PID by MOST of what prlimit(1) calls NAME, for good; a lower bound that it has stays."""
    number, _ = _KINDS[name]
    present = _hard_limit(pid, name)
    highest = most if present is None else min(most, present)
    try:
        resource.prlimit(pid, number, (highest, highest))
    except PermissionError:
        # Root in a container may not do so for another account (CAP_SYS_RESOURCE), but an account may for itself.
        program = find_program("prlimit")
        if program is None:
            raise
        command = [program, "--pid", str(pid), f"--{name}={highest}:{highest}"]
        done = await processes.run(command, environment={}, timeout=process_identity.GRACE, account=_account_of(pid))
        if not done.succeeded:
            raise


def _hard_limit(pid: int, name: str) -> int | None:
    """Return what process PID can never have more of, as proc(5)'s ``limits`` says, or None."""
    _, label = _KINDS[name]
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(label):
            hard = line.removeprefix(label).split()[1]
            return int(hard) if hard.isdecimal() else None
    return None


def _account_of(pid: int) -> Account:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Account(int(lines["Uid"].split()[0]), int(lines["Gid"].split()[0]))


def _has_users_of_its_own(pid: int) -> bool:
    """Tell whether process PID is in a user namespace that we are not in."""
    return Path(f"/proc/{pid}/ns/user").stat().st_ino != Path("/proc/self/ns/user").stat().st_ino
