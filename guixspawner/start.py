"""One start of a session: from what a person chose to the address of their server, in its order."""

import asyncio
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyterhub.proxy import Proxy
from traitlets import TraitError
from traitlets.config import LoggingConfigurable

from guix_environment.container import ContainerPlan, Mount
from guix_environment.errors import NotFound, SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.records import Records, ServerRecord
from guix_environment.threads import uninterrupted
from guixspawner import session
from guixspawner.accounts import Person, SessionAccounts
from guixspawner.checks import check_containers, check_environment_items, check_folders, check_kept, check_server_items
from guixspawner.folders import SessionFolders
from guixspawner.guix_shell import GuixShell
from guixspawner.launch import ColdLauncher, Launcher
from guixspawner.life import SessionLife
from guixspawner.limits import Enforced, Limits, SessionLimits, cgroups, with_limits
from guixspawner.network.settings import SessionNetwork
from guixspawner.progress import StartProgress
from guixspawner.session_files import SessionFiles
from guixspawner.session_key import SessionKey
from guixspawner.warm_start import WarmStart

_FOR_GUIX = ("PATH", "GUIX_DAEMON_SOCKET", "GUIX_LOCPATH")
"""What Guix needs of the hub's environment, when it makes the containers."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What of this installation a start has to do with."""

    settings: LoggingConfigurable
    """Whose configuration and log the parts have."""
    records: Records
    homes: Path
    api: str
    """The address of the hub's API."""
    proxy: Proxy
    with_guix: bool = False
    """Whether Guix itself makes the containers."""

    @property
    def network(self) -> SessionNetwork:
        """What is said of sessions' network."""
        return SessionNetwork(parent=self.settings)

    @property
    def limits(self) -> SessionLimits:
        """What is said of sessions' limits."""
        return SessionLimits(parent=self.settings)

    @property
    def life(self) -> SessionLife:
        """What is said of sessions' life."""
        return SessionLife(parent=self.settings)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be started, for whom."""

    key: SessionKey
    user: str
    applicant: session.Applicant
    choice: session.Choice
    limits: Limits
    variables: Mapping[str, str]
    """All that the hub would give the server."""
    configured: frozenset[str]
    """The names of those that the administrator added."""
    allowed_system_calls: frozenset[str]


@dataclass(frozen=True, slots=True)
class SessionStart:
    """One start.  Whoever calls it ends what it began, when it raises or is cancelled."""

    installation: Installation
    wanted: Wanted
    files: SessionFiles
    watchers: StartProgress
    begun: Callable[[ProcessIdentity], None]
    """Told of the process that is the session from then on: more than once, when another one takes its place."""

    async def run(self) -> str | None:
        """Return the address of the server, once it listens, or None when it ended before.  Raises `GuixSpawnerError`."""
        choice, around = self.wanted.choice, self.installation
        server = await asyncio.to_thread(_server_profile, around.records)
        person = await SessionAccounts(parent=around.settings).person(self.wanted.user, around.homes)
        await uninterrupted(self.files.hold, {"server": server.profile, "environment": choice.version.profile})
        await asyncio.to_thread(check_server_items, server.closure)
        # Only now: the service lets go of nothing that it sees held, and says so before it does.
        await asyncio.to_thread(check_kept, around.records, choice.environment, choice.version.id)
        await asyncio.to_thread(check_environment_items, choice.environment.name, choice.version.closure)
        self.watchers.add(30, f"Starting the container of {choice.title}")
        plan = await self._plan(server, person)
        try:
            launcher = await asyncio.to_thread(self._launcher, server, person)
            first, enforced = await self._launch(launcher, plan, person)
        except SessionFailure:
            await self._check_ground(person)
            raise
        self.watchers.add(60, "Starting JupyterLab")
        address = await around.network.opened(str(self.wanted.key), first, around.proxy, around.api)
        if address is None:
            await self._check_memory(enforced)
            await self._check_ground(person)
        return address

    async def _plan(self, server: ServerRecord, person: Person) -> ContainerPlan:
        around, wanted = self.installation, self.wanted
        folders = await self._shared_folders()
        variables = {**wanted.variables, **around.life.variables()}
        inside = await around.network.prepare(
            str(wanted.key), person.account, variables, around.api, by_path=around.with_guix
        )
        surroundings = session.Surroundings(
            variables,
            wanted.configured,
            inside,
            server_options=around.life.server_options(),
            folders=folders,
            allowed_system_calls=wanted.allowed_system_calls,
        )
        return session.plan_session(around.records, server, wanted.choice, person, wanted.limits, surroundings)

    async def _shared_folders(self) -> tuple[Mount, ...]:
        settings = self.installation.settings
        try:
            folders = SessionFolders(parent=settings)
        except TraitError as error:
            raise SessionFailure(
                "This installation's list of shared folders is not right.",
                hint="Whoever runs it can look at c.SessionFolders.folders; the hub's log says what is wrong.",
                details={"reason": str(error)},
            ) from error
        mounts, missing = await asyncio.to_thread(folders.for_session, self.wanted.user, self.wanted.applicant.groups)
        for sentence in missing:
            settings.log.warning("%s", sentence)
        return mounts

    def _launcher(self, server: ServerRecord, person: Person) -> Launcher:
        if not self.installation.with_guix:
            return WarmStart(parent=self.installation.settings).launcher(server.profile)
        try:
            pwd.getpwuid(person.account.uid)
        except KeyError:
            raise SessionFailure(
                "Guix itself makes no containers for numbers that are no accounts of the machine.",
                hint='Whoever runs this installation can set c.GuixSpawner.launcher = "own", or c.SessionAccounts.accounts '
                'to "unix", or "hub" where the hub does not run as root.',
            ) from None
        variables = {name: os.environ[name] for name in _FOR_GUIX if name in os.environ}
        return GuixShell(server.profile, person.account_name, variables=variables)

    async def _launch(self, launcher: Launcher, plan: ContainerPlan, person: Person) -> tuple[ProcessIdentity, Enforced]:
        """Have LAUNCHER make PLAN's container; return its first process, which runs its command, and what it is held to."""
        around, wanted = self.installation, self.wanted
        log = self.files.open_log()
        try:
            waiting = await launcher.prepare(person.account, plan.network, log)
            try:
                await self._is_now(waiting.first)
                enforced = await around.limits.hold(
                    str(wanted.key), waiting.first, wanted.limits, person.home, person.account
                )
                if not around.with_guix:
                    await around.network.attach(waiting.first, around.api)
                first = await waiting.run(with_limits(plan, enforced, around.network.label))
            finally:
                waiting.give_up()
        finally:
            os.close(log)
        if around.with_guix:
            # The network is Guix's making, and is there no earlier.
            await self._is_now(first)
            await around.network.attach(first, around.api)
        return first, enforced

    async def _is_now(self, process: ProcessIdentity) -> None:
        self.begun(process)
        await uninterrupted(self.files.remember, process)

    async def _check_memory(self, enforced: Enforced) -> None:
        """Raise what explains a start that failed, if it is that what is ENFORCED leaves it too little memory."""
        if enforced.memory and await asyncio.to_thread(cgroups.ended_for_memory, enforced):
            raise SessionFailure(
                f"The session of {self.wanted.choice.title} ran out of memory while it started: it may have "
                f"{enforced.memory / 2**20:.0f} MiB.",
                hint="Start it with more memory; if you did not choose how much, tell whoever runs this installation.",
            )

    async def _check_ground(self, person: Person) -> None:
        """Raise what explains a start that failed, if it is the machine or the installation."""
        around = self.installation
        await asyncio.to_thread(check_folders, person.account, around.records.folder, around.homes)
        await check_containers(ColdLauncher(), person.account, around.network.kind)


def _server_profile(records: Records) -> ServerRecord:
    try:
        return records.read_server()
    except NotFound:
        raise SessionFailure(
            "JupyterLab has not been built on this machine yet.",
            hint="Whoever runs this installation can do so with: guix-build-service server-layer",
        ) from None
