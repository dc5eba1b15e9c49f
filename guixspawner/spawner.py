"""The hub's spawner: when what is done, and in which order; how is in the other modules."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Any as AnyTrait
from traitlets import CaselessStrEnum, Float, List, Unicode, default

from guix_environment import process_identity
from guix_environment.errors import GuixSpawnerError, RepositoryWithdrawn, SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.records import Records
from guix_environment.roots import Roots
from guixspawner import session
from guixspawner.failure import OnlyPreselected, for_the_hub, for_the_log, of_the_machine, quieten
from guixspawner.form import render_form
from guixspawner.life import SessionLife
from guixspawner.life.beginning import Beginning
from guixspawner.life.ending import Ending
from guixspawner.life.log_size import bound
from guixspawner.limits import Limits, SessionLimits
from guixspawner.network.settings import SessionNetwork
from guixspawner.offers import offers_for
from guixspawner.options import environment_in, options_from_fields, parse_options, preselection
from guixspawner.progress import ProgressEvent, StartProgress
from guixspawner.session_files import SessionFiles
from guixspawner.session_key import SessionKey
from guixspawner.start import Installation, SessionStart, Wanted

_BEGINNINGS: "dict[tuple[str, str], Beginning[GuixSpawner]]" = {}
"""The beginning of each hub in this process, by its folders; there is more than one in tests alone."""


class GuixSpawner(Spawner):  # type: ignore[misc]  # JupyterHub has no types
    """Start a person's JupyterLab in a container made of what Guix built for an environment.

    Everything that a start needs is in the records that the build service wrote; neither it nor Guix is asked.
    """

    records_folder = Unicode(
        help="""
        The folder of the environment records, which the build service writes.

        Must be open to every account (mode 0755), since sessions run under accounts of their own.
        """
    ).tag(config=True)

    homes_folder = Unicode(
        help="""
        The folder of people's homes, one for each person and shared by all their servers.

        It is made when it is not there. A home that exists is used as it is, with its owner's number.
        """
    ).tag(config=True)

    sessions_folder = Unicode(help="The folder of sessions' logs: USER/SERVER.log, and the log before it with `.1`.").tag(
        config=True
    )

    leases_folder = Unicode(
        help="""
        The folder of the links that keep what running sessions use from Guix's garbage collector.

        Must lie below /var/guix/profiles or /var/guix/gcroots.
        """
    ).tag(config=True)

    private_repository_hours = Float(
        24.0,
        min=0.0,
        help="""
        For how long it counts that an environment's owner could read its private repository, in hours.

        The build service asks the repository's host with each start that goes through its pages or its API, and writes down
        what it answers; a refusal counts at once. A start from the hub's own pages or API goes by what is written, also
        while the service is down.
        """,
    ).tag(config=True)

    grace = Float(
        20.0,
        min=0.0,
        help="Seconds that a session gets between being asked to end and being ended: for saving, and for kernels.",
    ).tag(config=True)

    allowed_system_calls = List(
        Unicode(),
        help="""
        System calls that sessions may make, of those that are refused otherwise, by their names.

        `["ptrace"]` lets people use debuggers. Every one of them opens a part of the kernel to whatever a notebook runs.
        """,
    ).tag(config=True)

    launcher = CaselessStrEnum(
        ["own", "guix"],
        default_value="own",
        help="""
        What makes sessions' containers.

        `own`: this installation's launcher, in milliseconds and with nothing left in memory. `guix`: the real
        `guix shell --container`, for comparison; it takes seconds, holds some 270 MB beside each session, has no filter for
        system calls, and works for accounts that the machine knows.
        """,
    ).tag(config=True)

    service_url = Unicode(help="The address of the build service's pages, with a slash at its end.").tag(config=True)

    @default("service_url")
    def _default_service_url(self) -> str:
        return str(self.hub.base_url).removesuffix("hub/") + "services/guix/"

    # Programs may send any JSON, and JupyterHub 5 passes it on; `parse_options` refuses what is no object.
    user_options = AnyTrait(default_value={})

    process: ProcessIdentity | None = None
    """The first process of the running container."""

    title = ""
    """The environment that was started last, as people know it; for the hub's pages."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        self._starting = False
        self._stopping = False
        self._watchers = StartProgress()
        self._session: SessionKey | None = None
        super().__init__(*arguments, **keywords)
        quieten(self.log)
        if self.sessions_folder and self.leases_folder:
            self._beginning.register(self, self._sweep, self.log)

    # What a person asks for

    @default("options_form")
    def _default_options_form(self) -> Callable[..., object]:
        return GuixSpawner.form

    @default("options_from_form")
    def _default_options_from_form(self) -> Callable[..., object]:
        return _read_form

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Callable[..., object]:
        return GuixSpawner.check_options

    async def form(self) -> str:
        """Return the environments that this person may start, as the inside of the hub's form."""
        offers = await asyncio.to_thread(offers_for, self._records, self._applicant)
        query = getattr(getattr(self.handler, "request", None), "query_arguments", {})
        # After a start that failed at once the hub shows the form again, and no longer has the request.
        last = environment_in(self.user_options)
        return render_form(offers, preselection(query), self.service_url, now=datetime.now(UTC), last=last)

    def options_from_query(self, _query: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Start nothing: a link may come from anywhere, so it only chooses in the form, which the person then sends."""
        raise OnlyPreselected

    async def check_options(self, given: object) -> None:
        """Refuse what this person may not start; called by the hub before every start, whoever GAVE the options."""
        try:
            await self._choose(given)
        except RepositoryWithdrawn as error:
            raise for_the_hub(error, self._page_of(given)) from error
        except GuixSpawnerError as error:
            raise for_the_hub(error) from error

    # What the hub asks for

    async def start(self) -> str:
        """Start a session for `user_options` and return the address of its server.

        Returns once the server listens, and fails as soon as its container ends. When cancelled, nothing is left.
        """
        self._starting, self._stopping = True, False
        if self._watchers.ended:
            self._watchers = StartProgress()
        try:
            return await self._start()
        except BaseException as error:
            await self._give_up()
            failure = of_the_machine(error) if isinstance(error, OSError) else error
            if isinstance(failure, GuixSpawnerError):
                self._log_failure(failure)
                raise for_the_hub(failure, self._page_of(self.user_options)) from error
            raise
        finally:
            self._starting = False
            self._watchers.end()

    async def stop(self, now: bool = False) -> None:
        """End the session: ask it, and after `grace` seconds have the kernel end it; at once with NOW."""
        self._stopping = True
        try:
            await self._ending.end(self._files, self.process, grace=0 if now else self.grace)
        except GuixSpawnerError as error:
            raise for_the_hub(error) from error

    async def poll(self) -> int | None:
        """Return None while the session starts or runs, else how it ended: 0 when that is not known."""
        if self._starting:
            return None
        if self.process is None:
            return 0
        if process_identity.is_running(self.process):
            await asyncio.to_thread(bound, self._files.log, SessionLife(parent=self).log_limit)
            await self._network.keep(self._api)
            return None
        await self._ending.clear(self._files)
        return 0

    async def progress(self) -> AsyncIterator[ProgressEvent]:
        """Yield how far the start has come, from its beginning, to each who watches."""
        async for event in self._watchers.follow():
            yield event

    def get_state(self) -> dict[str, Any]:
        """Return what the hub keeps over its restarts: which process the session is."""
        state: dict[str, Any] = super().get_state()
        if self.process:
            state["process"] = process_identity.to_record(self.process)
        if self._session:
            state["session"] = {"person": self._session.person, "server": self._session.server}
            if promised := self._limits.promised(str(self._session)):
                state["promised"] = dict(promised)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the session that STATE tells of, after a restart of the hub."""
        super().load_state(state)
        self.process = process_identity.from_record(state.get("process"))
        named = state.get("session")
        self._session = SessionKey(named["person"], named["server"]) if named else None
        if self._session and "promised" in state:
            self._limits.remember(str(self._session), state["promised"])

    def clear_state(self) -> None:
        """Forget the session, which has ended; the hub also does so before each start, when people may watch already."""
        super().clear_state()
        self.process = self._session = None
        self._watchers = StartProgress()

    async def get_url(self) -> str:
        """Return the address of a session that was found again, after a restart of the hub."""
        address = await super().get_url()
        return await self._network.reopened(str(self.session_key), address, self._api)

    async def rename(self, old_name: str, new_name: str) -> None:
        """Let a server that does not run keep its logs under its new name."""
        await asyncio.to_thread(self._files_of(old_name).move_logs, self._files_of(new_name))

    async def delete_forever(self) -> None:
        """Remove the logs of a server that is deleted; homes, and all that people made, stay."""
        await asyncio.to_thread(self._files.forget)

    # How a session starts and ends

    async def _start(self) -> str:
        await self._beginning.done()
        self._session = SessionKey.of(self.user.name, self.name)
        self._watchers.add(5, "Looking up the environment")
        if self.internal_ssl:
            raise SessionFailure(
                "This hub encrypts what its own parts say to each other, and sessions cannot.",
                hint="Whoever runs it can leave c.JupyterHub.internal_ssl unset: sessions are reached over sockets of this "
                "machine, which nobody else comes to.",
            )
        choice = await self._choose(self.user_options)
        self.title = choice.title
        limits = self._limits_of(choice)
        self._limits.promise(str(self.session_key), limits)
        await self._ending.end_leftover(self._files, grace=self.grace)
        address = await SessionStart(
            self._installation, self._wanted(choice, limits), self._files, self._watchers, self._begun
        ).run()
        if address:
            self._watchers.add(95, "JupyterLab is there")
            return address
        if self._stopping:
            raise _stopped()
        raise SessionFailure(
            f"The session of {choice.title} ended while it started.",
            hint="Try again; if it happens again, tell whoever runs this installation.",
        )

    async def _give_up(self) -> None:
        """End what a start has begun that failed.

        What is in the way of that is told to the log alone: a person asks why their session did not start.
        """
        try:
            await self._ending.end(self._files, self.process, grace=0)
        except (GuixSpawnerError, OSError) as error:
            self.log.warning("Something is left of the session %s, which did not start: %s", self._log_name, error)

    @property
    def _installation(self) -> Installation:
        return Installation(
            self,
            self._records,
            Path(self.homes_folder),
            self._api,
            self.user.settings["proxy"],
            with_guix=self.launcher == "guix",
        )

    def _wanted(self, choice: session.Choice, limits: Limits) -> Wanted:
        return Wanted(
            self.session_key,
            self.user.name,
            self._applicant,
            choice,
            limits,
            variables=self.get_env(),
            configured=frozenset(self.environment),
            allowed_system_calls=frozenset(self.allowed_system_calls),
        )

    def _begun(self, process: ProcessIdentity) -> None:
        self.process = process
        if self._stopping:
            raise _stopped()

    def _limits_of(self, choice: session.Choice) -> Limits:
        return self._limits.complete(
            session.limits(choice, memory=self.mem_limit, cpu=self.cpu_limit),
            memory_guarantee=self.mem_guarantee,
            cpu_guarantee=self.cpu_guarantee,
        )

    async def _sweep(self) -> None:
        # No start is under way yet: a session whose process the database does not have is one of an interrupted start.
        known = {spawner.session_key: spawner.process for spawner in self._beginning.members if spawner.process}
        await self._ending.sweep(Path(self.sessions_folder), self._leases, known, grace=self.grace, log=self.log)

    def _log_failure(self, error: GuixSpawnerError) -> None:
        lines = self._files.last_lines() if self.process else []
        self.log.error("The session %s did not start: %s", self._log_name, for_the_log(error, lines, self.api_token))

    # What is where

    @property
    def asked_environment(self) -> str:
        """The environment that was asked for last, or nothing; for the hub's pages."""
        return environment_in(self.user_options) or ""

    def _page_of(self, options: object) -> str:
        """Return the page of the environment that OPTIONS ask for, or nothing."""
        environment = environment_in(options)
        return f"{self.service_url}environments/{environment}" if environment else ""

    @property
    def _records(self) -> Records:
        return Records(Path(self.records_folder))

    @property
    def _beginning(self) -> "Beginning[GuixSpawner]":
        return _BEGINNINGS.setdefault((self.sessions_folder, self.leases_folder), Beginning())

    @property
    def session_key(self) -> SessionKey:
        """The session that runs, under the names that its person and server had when it started; or the next one."""
        return self._session or SessionKey.of(self.user.name, self.name)

    @property
    def _api(self) -> str:
        """The address of the hub's API."""
        return str(self.hub.api_url) if self.hub else ""

    @property
    def _network(self) -> SessionNetwork:
        return SessionNetwork(parent=self)

    @property
    def _limits(self) -> SessionLimits:
        return SessionLimits(parent=self)

    @property
    def _ending(self) -> Ending:
        return Ending(self._limits, self._network, self._api)

    @property
    def _files(self) -> SessionFiles:
        return SessionFiles(self.session_key, Path(self.sessions_folder), self._leases)

    @property
    def _leases(self) -> Roots:
        return Roots(Path(self.leases_folder))

    def _files_of(self, server: str) -> SessionFiles:
        return SessionFiles.of(self.user.name, server, Path(self.sessions_folder), Path(self.leases_folder))

    @property
    def _applicant(self) -> session.Applicant:
        """The person as the hub's database knows them now; which only its own thread may ask."""
        groups = frozenset(group.name for group in self.user.groups)
        return session.Applicant(self.user.name, groups, admin=bool(self.user.admin))

    async def _choose(self, given: object) -> session.Choice:
        return await asyncio.to_thread(
            session.choose,
            self._records,
            parse_options(given),
            self._applicant,
            timedelta(hours=self.private_repository_hours),
        )


def _stopped() -> SessionFailure:
    return SessionFailure("The session was stopped while it started.")


def _read_form(fields: Mapping[str, Sequence[object]]) -> dict[str, object]:
    try:
        return options_from_fields(fields)
    except GuixSpawnerError as error:
        raise for_the_hub(error) from error
