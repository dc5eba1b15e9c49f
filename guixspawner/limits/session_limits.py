"""What an administrator sets about limits, and the one way by which the spawner puts them in force."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, CaselessStrEnum, Integer, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.limits import detection, disk
from guixspawner.limits.model import Backend, BackendKind, Enforced, Limits, Usage
from guixspawner.limits.promises import Machine, Promises
from guixspawner.limits.rlimits import NoLimits

_AUTO = "auto"
_Number = TypeVar("_Number", int, float)

PROCESSES = 4096
"""How many a session may have unless configured; JupyterLab and a few kernels have some hundred threads."""

SCORE = 200
"""How much sooner the kernel ends a session than the machine's own services, where the machine's memory is used up
(``oom_score_adj``, proc(5)). Kernels and terminals raise theirs above that: ``kernel.sh``, ``shell.sh``."""


class SessionLimits(LoggingConfigurable):
    """How much of the machine a session may use, and by what that is enforced."""

    backend = CaselessStrEnum(
        [_AUTO, *(kind.value for kind in BackendKind)],
        default_value=_AUTO,
        help="""
        By what limits are enforced. `auto` tries them, best first, when the hub's first session is looked at, and takes
        the first that holds a process to a limit on memory, processor and processes. Any other is tried then as well, and
        where it does not work no session starts.

        `systemd` makes a scope for each session; `cgroup-v2` divides a part of the control groups that was handed to the
        hub; `cgroup-v1` is for machines with those; `rlimits` only bounds how many processes a session has; `nothing`
        bounds nothing.
        """,
    ).tag(config=True)

    processes = Integer(
        PROCESSES,
        min=64,
        allow_none=True,
        help="""
        How many processes and threads a session may have at a time; None for any number.

        The default keeps a mistake in one session from taking all of the machine's numbers. Where nothing can enforce it,
        only another number that is set here is insisted on.
        """,
    ).tag(config=True)

    disk = ByteSpecification(
        None,
        allow_none=True,
        help="""
        How much space a person's files may take on the file system of the homes, such as `20G`; None for any.

        It is set as the file system's quota of the person's account when a session starts, and stays until it is set anew.
        That takes a hub that runs as root, people with numbers of their own, and a file system with user quota turned on.
        Nothing is deleted from a home that holds more: it can only grow no further.
        """,
    ).tag(config=True)

    allow_unenforced = Bool(
        False,
        help="""
        Whether a session starts although something it should be bounded by cannot be enforced on this machine.

        Otherwise such a start is refused, so that nobody relies on a limit which is none. It concerns limits that the
        administrator, the environment or the person asks for; a session without any always starts.
        """,
    ).tag(config=True)

    address_space = Bool(
        False,
        help="""
        Whether `rlimits` also bounds the memory that each process of a session may ask for, by the session's limit on
        memory.

        That is no bound for the session, and programs that ask for much more than they use end early: Java, CUDA, Julia.
        """,
    ).tag(config=True)

    group = Unicode(
        "guix_sessions",
        help="""
        The name of the slice or control group that all sessions of this hub are in; hubs on one machine need different ones.

        Letters, digits and underscores. As a slice (`guix_sessions.slice`) it can be given limits for all sessions together.
        """,
    ).tag(config=True)

    @validate("group")
    def _only_a_name(self, proposal: dict[str, str]) -> str:
        value = proposal["value"]
        if not value.isascii() or not value.replace("_", "").isalnum():
            raise TraitError("SessionLimits.group is a name of letters, digits and underscores.")
        return value

    _found: ClassVar[dict[tuple[str, str, bool], Backend]] = {}
    """What was found out about this machine, which is the same for every session of the hub."""

    _made: ClassVar[dict[str, Promises]] = {}
    """What the sessions of each hub, by its group, were promised."""

    async def chosen(self) -> Backend:
        """Return the back-end that sessions are held by; tries what there is when first asked.  Raises `SessionFailure`."""
        settings = self.backend, self.group, self.address_space
        if settings not in self._found:
            choice = None if self.backend == _AUTO else BackendKind(self.backend)
            backend = await detection.detect(choice, await asyncio.to_thread(self._candidates))
            if settings not in self._found:
                self._found[settings] = backend
                self.log.info("Limits of sessions are enforced by: %s", backend.describe())
        return self._found[settings]

    async def _chosen_or_none(self) -> Backend:
        try:
            return await self.chosen()
        except SessionFailure as error:
            # What does not work here holds nothing; whoever starts a session reads why it does not start.
            self.log.warning("%s", error)
            return NoLimits()

    def _candidates(self) -> Collection[Backend]:
        return list(detection.candidates(self.group, address_space=self.address_space))

    def complete(self, limits: Limits, *, memory_guarantee: int | None = None, cpu_guarantee: float | None = None) -> Limits:
        """Return LIMITS with what is configured here, and with guarantees, which promise no more than the limit allows."""
        return replace(
            limits,
            processes=self.processes,
            disk=self.disk,
            memory_guarantee=_within(memory_guarantee, limits.memory),
            cpu_guarantee=_within(cpu_guarantee, limits.cpu),
        )

    def promise(self, key: str, limits: Limits) -> None:
        """Promise the session KEY what LIMITS guarantee, until it has ended.  Raises `LimitReached` where it is too much."""
        self._promises.make(key, limits, Machine.own())

    def promised(self, key: str) -> Mapping[str, float]:
        """Return what the session KEY was promised, for `remember` in the hub that comes after this one."""
        limits = self._promises.of(key)
        found = {"memory": limits.memory_guarantee, "cpu": limits.cpu_guarantee}
        return {name: value for name, value in found.items() if value}

    def remember(self, key: str, promised: Mapping[str, float]) -> None:
        """Count what `promised` told of the session KEY, which runs since before the hub was restarted."""
        memory = int(promised["memory"]) if "memory" in promised else None
        self._promises.remember(key, Limits(memory_guarantee=memory, cpu_guarantee=promised.get("cpu")))

    @property
    def _promises(self) -> Promises:
        return self._made.setdefault(self.group, Promises())

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits, home: Path, account: Account) -> Enforced:
        """Bound the session KEY, whose first PROCESS waits to become it, by LIMITS, and return what is in force.

        HOME and ACCOUNT are whose files `disk` counts.  Raises `SessionFailure` when something cannot be put in force that
        was asked for; whoever calls it then, or is cancelled, calls `end`.
        """
        backend = await self.chosen()
        enforced = await backend.hold(key, process, limits)
        await asyncio.to_thread(_raise_score, process)
        if limits.disk:
            enforced = replace(enforced, disk=await asyncio.to_thread(self._hold_disk, home, account, limits.disk))
        missing = self.missing(limits, enforced)
        if missing:
            self.log.warning("Nothing on this machine bounds the %s of the session %s", " and ".join(missing), key)
        if missing and not self.allow_unenforced:
            raise SessionFailure(
                f"This machine cannot hold a session to a limit on {' and '.join(missing)}.",
                hint="Start it without that limit, or ask whoever runs this installation.",
            )
        self.log.info("The session %s is held by %s to: %s", key, enforced.backend, enforced.in_words)
        return enforced

    def missing(self, limits: Limits, enforced: Enforced) -> list[str]:
        """Return in words what of LIMITS must be in force and is not."""
        insisted = self.processes != PROCESSES
        return [
            name
            for name, asked, bound in (
                ("memory", limits.memory, enforced.memory),
                ("computing time", limits.cpu, enforced.cpu),
                ("processes", limits.processes if insisted else None, enforced.processes),
                ("disk space", limits.disk, enforced.disk),
            )
            if asked and bound is None
        ]

    def _hold_disk(self, home: Path, account: Account, most: int) -> int | None:
        try:
            return disk.set_quota(home, account.uid, most).most
        except OSError as error:
            self.log.debug("No quota could be set for account %d: %s", account.uid, error)
            return None

    async def end(self, key: str) -> None:
        """End whatever is left of the session KEY; also of one that this hub did not start.  Raises `SessionFailure`."""
        await (await self._chosen_or_none()).end(key)
        self._promises.release(key)

    async def leftovers(self) -> Collection[str]:
        """Return the keys of the sessions that something is held of."""
        return await (await self._chosen_or_none()).leftovers()

    async def usage(self, key: str) -> Usage:
        """Return what the session KEY uses now."""
        return await (await self.chosen()).usage(key)

    async def describe(self) -> str:
        """Return in a few words by what limits are enforced."""
        return (await self.chosen()).describe()


def _within(promise: _Number | None, limit: _Number | None) -> _Number | None:
    return min(promise, limit) if promise and limit else promise or None


def _raise_score(process: ProcessIdentity) -> None:
    # A hub that is not root may not always do so; the session's own kernels raise theirs in any case.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text(str(SCORE))
