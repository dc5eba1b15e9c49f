"""Limits by systemd: a transient scope around the process that waits, made by the machine's systemd or by an account's own.

A scope, unlike a service, takes up a process that exists.  Facts: org.freedesktop.systemd1(5), systemd.scope(5),
systemd.resource-control(5).
"""

import asyncio
import json
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from guix_environment import process_identity, processes
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Completed
from guixspawner.limits import cgroups
from guixspawner.limits.model import BackendKind, Enforced, Limits, Usage, not_held

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_SECONDS = 10.0
"""What systemd gets for an answer, and for what it said that it would do."""

_NO_LIMIT = str(2**64 - 1)


class Systemd:
    """Holds sessions in scopes of their own in the slice GROUP; with OWN, of the account's systemd and not the machine's."""

    kind = BackendKind.SYSTEMD

    def __init__(self, busctl: str, group: str, *, own: bool) -> None:
        self._slice = f"{group}.slice"
        self._prefix = f"{group}-"
        self._command = (busctl, "--user" if own else "--system", "--json=short", "call", *_MANAGER)
        self._own = own
        self._says_what_to_do = True
        """Whether this systemd can be told to leave a scope alone in which the kernel ended something: since version 253."""

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        """See `Backend`."""
        await self.end(key)
        if limits.memory_guarantee:
            # What is promised to a session counts only as far as it is promised to the slice around it.
            promised = ("sba(sv)", self._slice, "true", "1", "MemoryLow", "t", _NO_LIMIT)
            self._check(await self._call("SetUnitProperties", *promised))
        arguments = scope_arguments(self._unit(key), self._slice, process.pid, limits, policy=self._says_what_to_do)
        answer = await self._call("StartTransientUnit", *arguments)
        if not answer.succeeded and self._says_what_to_do and b"OOMPolicy" in answer.errors:
            self._says_what_to_do = False
            return await self.hold(key, process, limits)
        self._check(answer)
        await self._until_moved(key, process)
        try:
            return await asyncio.to_thread(cgroups.in_force, process.pid, self.kind)
        except OSError as error:
            raise not_held(str(error)) from error

    async def _until_moved(self, key: str, process: ProcessIdentity) -> None:
        """Wait until PROCESS is in its scope: systemd answers before that."""
        pause, waited = 0.005, 0.0
        while process_identity.is_running(process) and waited < _SECONDS:
            if any(group.endswith(f"/{self._unit(key)}") for group in _groups_of(process.pid)):
                return
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 0.1)
        raise not_held("systemd did not take up the process")

    async def end(self, key: str) -> None:
        """See `Backend`."""
        deadline, pause = time.monotonic() + cgroups.PATIENCE, 0.005
        while key in await self.leftovers():
            if time.monotonic() > deadline:
                raise SessionFailure(
                    "Programs of this session could not be ended.",
                    hint="Whoever runs this machine can look at what they wait for.",
                )
            # Refused where the scope has come to its end meanwhile, which the next look tells.
            await self._call("KillUnit", "ssi", self._unit(key), "all", "9")
            await self._call("StopUnit", "ss", self._unit(key), "fail")
            await self._call("ResetFailedUnit", "s", self._unit(key))
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    async def leftovers(self) -> Collection[str]:
        """See `Backend`."""
        answer = await self._call("ListUnitsByPatterns", "asas", "0", "1", f"{self._prefix}*.scope")
        self._check(answer)
        units = json.loads(answer.output)["data"][0]
        return {str(unit[0]).removeprefix(self._prefix).removesuffix(".scope") for unit in units}

    async def usage(self, key: str) -> Usage:
        """See `Backend`."""
        answer = await self._call("GetUnit", "s", self._unit(key))
        if not answer.succeeded:
            return Usage()
        place = json.loads(answer.output)["data"][0]
        service, _, _ = _MANAGER
        asked = (service, place, "org.freedesktop.systemd1.Scope", "ControlGroup")
        group = await self._run((*self._command[:3], "get-property", *asked))
        if not group.succeeded:
            return Usage()
        return await asyncio.to_thread(_usage_of, str(json.loads(group.output)["data"]))

    def describe(self) -> str:
        """See `Backend`."""
        whose = "the account's own systemd" if self._own else "systemd"
        return f"{whose}, scopes {self._prefix}PERSON.SERVER.scope in {self._slice}"

    def _unit(self, key: str) -> str:
        return f"{self._prefix}{key}.scope"

    async def _call(self, method: str, *arguments: str) -> Completed:
        return await self._run((*self._command, method, *arguments))

    async def _run(self, command: Sequence[str]) -> Completed:
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
        try:
            return await processes.run(command, environment={"XDG_RUNTIME_DIR": runtime}, timeout=_SECONDS)
        except OSError as error:
            raise not_held(str(error)) from error

    @staticmethod
    def _check(answer: Completed) -> None:
        if not answer.succeeded:
            raise not_held(answer.errors.decode(errors="replace").strip() or "systemd did not answer in time")


def scope_arguments(unit: str, inside: str, pid: int, limits: Limits, *, policy: bool) -> list[str]:
    """Return the arguments of ``StartTransientUnit``, as busctl(1) reads them, for a scope UNIT in the slice INSIDE.

    It is around process PID.  With POLICY it also says that, where the kernel ended something for want of memory, the rest
    goes on.
    """
    properties = [
        ("Description", "s", f"Session {unit}"),
        ("Slice", "s", inside),
        ("CollectMode", "s", "inactive-or-failed"),
        ("CPUWeight", "t", str(cgroups.weight(limits))),
    ]
    if policy:
        properties.append(("OOMPolicy", "s", "continue"))
    if limits.memory:
        properties += [("MemoryMax", "t", str(limits.memory)), ("MemorySwapMax", "t", "0")]
    if limits.memory_guarantee:
        properties.append(("MemoryLow", "t", str(limits.memory_guarantee)))
    if limits.processes:
        properties.append(("TasksMax", "t", str(limits.processes)))
    if limits.cpu:
        # Microseconds of computing in each second.
        properties.append(("CPUQuotaPerSecUSec", "t", str(cgroups.quota(limits.cpu) * 1_000_000 // cgroups.PERIOD)))
    words = ["ssa(sv)a(sa(sv))", unit, "fail", str(len(properties) + 1), "PIDs", "au", "1", str(pid)]
    return [*words, *(word for one in properties for word in one), "0"]


def _groups_of(pid: int) -> Collection[str]:
    try:
        return cgroups.parse_membership(Path(f"/proc/{pid}/cgroup").read_text()).values()
    except OSError:
        return ()


def _usage_of(group: str) -> Usage:
    found: dict[str, Path] = {}
    for tree in cgroups.hierarchies():
        folder = tree.folder(group)
        if folder is not None:
            found |= dict.fromkeys(tree.controllers or {""}, folder)
    return cgroups.usage_of(found)
