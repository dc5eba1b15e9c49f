"""The service as a program: its configuration, and how its parts are put together."""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import pwd
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from traitlets import CaselessStrEnum, Dict, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Application, catch_config_error

from guix_build_service.credential_settings import CredentialKeys
from guix_build_service.credentials.keys import KeysUnusable
from guix_build_service.disk import Disk
from guix_build_service.evaluation_settings import ManifestEvaluation
from guix_build_service.git import Git, check, find_git
from guix_build_service.hosts import Hosts, PrivateHost
from guix_build_service.isolation_settings import Isolation
from guix_build_service.log_lines import FORMAT, OneLine
from guix_build_service.logs import Logs
from guix_build_service.manager import Manager, MayAdd, Policy
from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.model import NewEnvironment
from guix_build_service.pipeline.guix import search_path
from guix_build_service.pipeline.job import Workshop
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.queue import Queue
from guix_build_service.session_logs import SessionLogs
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.turns import Limits
from guix_build_service.vault import Vault
from guix_build_service.web.application import make_application, make_server
from guix_build_service.web.limits import RequestLimits
from guix_build_service.web.secret_file import SecretFileUnsafe, read_or_make_secret
from guix_build_service.web.settings import WebSettings, shared_folder
from guix_environment.errors import GuixSpawnerError, InvalidInput
from guix_environment.files import read_json, write_json
from guix_environment.guix_command import GuixCommand
from guix_environment.records import Records, Visibility
from guix_environment.roots import Roots

log = logging.getLogger("guix_build_service")

DAEMON_VARIABLES = ("GUIX_DAEMON_SOCKET", "GUIX_LOCPATH", "GUIX_BUILD_OPTIONS", "SSL_CERT_DIR", "SSL_CERT_FILE")
"""What Guix gets of our own environment."""


def account_name() -> str:
    """Return the name of the account that we run as, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


class JsonObject(Dict):
    """A dictionary that stands on a command line as JSON, as the hub writes it there."""

    def from_string(self, s: str) -> dict[str, object]:
        """Return the dictionary in S.  Raises `ValueError` for anything else."""
        value = json.loads(s)
        if not isinstance(value, dict):
            raise ValueError(f"not a JSON object: {s:.200}")  # noqa: TRY004 - what traitlets expects
        return value


class BuildService(Application):
    """The service that builds environments from Git repositories.

    JupyterHub starts it (`c.JupyterHub.services`) with almost nothing in its environment, so that everything it needs is
    either configured here or found out.
    """

    name = "guix-build-service"
    description = __doc__ or ""
    raise_config_file_errors = True
    classes = [CredentialKeys, Isolation, ManifestEvaluation, RequestLimits]  # noqa: RUF012 - traitlets' own way

    service_folder = Unicode(
        "guix-build-service",
        help="Folder for what the service keeps for itself: its database, logs, and builds in progress.",
    ).tag(config=True)

    records_folder = Unicode(
        "records", help="Folder of the environment records, which the hub reads to start sessions."
    ).tag(config=True)

    roots_folder = Unicode(
        help="""Folder of the links that keep what was built from Guix's garbage collector.

        Must be below /var/guix/profiles or /var/guix/gcroots; /var/guix/profiles/per-user/ACCOUNT/guix-build-service
        unless set.
        """
    ).tag(config=True)

    sessions_folder = Unicode(
        help="""Folder of sessions' logs, which the hub writes, to show them to those whose sessions they are.

        The service's account must be able to read it; without one, nobody is shown any.
        """
    ).tag(config=True)

    guix = Unicode("guix", help="The guix command: a name to be found on PATH, or a path.").tag(config=True)

    database_url = Unicode(
        help="Address of the database, as SQLAlchemy takes it; an SQLite file in the service's folder unless set."
    ).tag(config=True)

    private_hosts = List(
        Unicode(),
        help="""Git hosts that may be used although they are on private addresses, each as host:port.

        Only these are also spoken to over plain HTTP. All hosts on public addresses may be used over HTTPS.
        """,
    ).tag(config=True)

    certificate_authorities = Unicode(
        help="""File of the certificates of all authorities that Git hosts' own are checked against, in PEM.

        Give one where a host's certificate is signed by an authority that the machine does not know; unless set, those that
        the machine knows count.
        """
    ).tag(config=True)

    file_repositories = List(
        Unicode(), help="Folders below which repositories may be used by file:// addresses; none unless set."
    ).tag(config=True)

    allowed_channels = List(
        JsonObject(),
        help="""Channels beside Guix's own that the channels files of repositories may name.

        Each is a dictionary with name, url (or urls, a list), and commit and fingerprint of its introduction.
        """,
    ).tag(config=True)

    running_builds = Integer(2, min=1, help="How many builds run at the same time; the others wait.").tag(config=True)

    running_builds_per_person = Integer(
        0, min=0, help="How many builds of one person run at the same time; 0 for as many as running_builds allows."
    ).tag(config=True)

    running_builds_per_repository = Integer(
        0, min=0, help="How many builds of one repository run at the same time; 0 for as many as running_builds allows."
    ).tag(config=True)

    least_free_space = Integer(
        2 * 1024**3,
        min=0,
        help="""Bytes that must stay free in service_folder and in /gnu/store.

        With less, builds wait, and those that run are ended one after the other, the newest first, until there is room.
        """,
    ).tag(config=True)

    build_timeout = Float(
        6 * 3600.0, min=1.0, help="Seconds that Guix may take for one environment, downloads included."
    ).tag(config=True)

    who_may_add = CaselessStrEnum(
        [choice.value for choice in MayAdd],
        default_value=MayAdd.EVERYONE.value,
        help="Who may add environments: everyone who may use the service, the members of adding_groups, or admins alone.",
    ).tag(config=True)

    adding_groups = List(Unicode(), help="The groups whose members may add environments, with who_may_add=groups.").tag(
        config=True
    )

    environments_per_person = Integer(
        0, min=0, help="How many environments a person may have, administrators aside; 0 for any number."
    ).tag(config=True)

    builds_per_hour = Integer(
        0, min=0, help="How many builds a person may ask for in an hour, administrators aside; 0 for any number."
    ).tag(config=True)

    initial_environments = List(
        JsonObject(),
        help="""Environments to add at the first start, for everyone to use.

        Each is a dictionary with repo, and perhaps name, description, ref and subdir.
        """,
    ).tag(config=True)

    initial_owner = Unicode("admin", help="Name of the user to whom the initial environments belong.").tag(config=True)

    address = Unicode(
        help="Where to listen, as http://127.0.0.1:10101; what the hub says (JUPYTERHUB_SERVICE_URL) unless set."
    ).tag(config=True)

    aliases = {  # noqa: RUF012 - traitlets' own way
        "log-level": "Application.log_level",
        "f": "BuildService.config_file",
        "config": "BuildService.config_file",
    }

    config_file = Unicode(help="A configuration file in Python, with lines such as c.BuildService.running_builds = 4").tag(
        config=True
    )

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    @validate("allowed_channels")
    def _check_allowed_channels(self, proposal: Mapping[str, Any]) -> list[dict[str, object]]:
        channels: list[dict[str, object]] = proposal["value"]
        try:
            for channel in channels:
                AllowedChannel.from_json(channel)
        except InvalidInput as error:
            raise TraitError(f"{error.message} {error.hint}") from None
        return channels

    @validate("roots_folder")
    def _check_roots_folder(self, proposal: Mapping[str, Any]) -> str:
        folder = str(proposal["value"])
        if folder and not folder.startswith(("/var/guix/profiles/", "/var/guix/gcroots/")):
            self.log.warning("Guix's garbage collector does not look into %s: what is built may be collected.", folder)
        return folder

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        """Take in the command line ARGV and the configuration file that it names."""
        super().initialize(argv)
        if self.config_file:
            self.load_config_file(self.config_file)
            self.update_config(self.cli_config)

    @property
    def folder(self) -> Path:
        """The service's own folder."""
        return Path(self.service_folder).absolute()

    @property
    def roots(self) -> Path:
        """The folder of all links that keep something from the collector."""
        return Path(self.roots_folder or f"/var/guix/profiles/per-user/{account_name()}/guix-build-service")

    def start(self) -> None:
        """Run until the hub, or a person, ends it."""
        # What is in this process's memory is in no file that a crash leaves, nor what is in that of those it starts.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        output = logging.StreamHandler()
        output.setFormatter(OneLine(FORMAT))
        logging.basicConfig(level=logging.WARNING, handlers=[output])
        log.setLevel(self.log.getEffectiveLevel())
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serve until SIGTERM or SIGINT arrives, then end every build's processes and return."""
        # The hub and the sessions, which run as others, read the records; what is ours alone is in a closed folder.
        os.umask(0o022)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, ended.set)
        prepare_folder(self.folder)
        await check_git(self.workshop().git)
        await self.check_walls()
        await self.check_isolation()
        async with self.parts() as (manager, queue), self.listening(manager):
            # The hub waits for an answer and gives up soon, so that whatever may take a while comes after it.
            beginning = asyncio.create_task(self.begin(manager, queue), name="begin")
            ending = asyncio.create_task(ended.wait(), name="ended")
            await asyncio.wait([beginning, ending], return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                await ending
            for task in (beginning, ending):
                task.cancel()
            await asyncio.gather(beginning, ending, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def parts(self) -> AsyncIterator[tuple[Manager, Queue]]:
        """Put the service together; when the context ends no process of a build runs any more."""
        limits = Limits(
            self.running_builds, self.running_builds_per_person or None, self.running_builds_per_repository or None
        )
        store = await Store.open(self.database_url or f"sqlite:///{self.folder / 'service.sqlite'}", limits)
        logs = Logs(self.folder / "logs")
        vault = self.vault(store)
        workshop = self.workshop()
        pipeline = Pipeline(replace(workshop, git=replace(workshop.git, lender=vault.lend)))
        disk = Disk((self.folder, Path("/gnu/store")), self.least_free_space)
        queue = Queue(store, pipeline, logs, self.folder / "builds", disk)
        policy = Policy(
            MayAdd(self.who_may_add),
            frozenset(self.adding_groups),
            self.environments_per_person or None,
            self.builds_per_hour or None,
        )
        try:
            yield Manager(store, queue, logs, policy, self.session_logs(), vault), queue
        finally:
            await queue.stop()
            await store.close()

    async def check_walls(self) -> None:
        """Return if manifests that are run, where any are, can be kept apart from everything else.

        Raises `SystemExit` with what is lacking: what was asked for and cannot be had is not done without.
        """
        evaluation = self.workshop().evaluation
        if evaluation is None:
            return
        try:
            await evaluation.check()
        except GuixSpawnerError as error:
            sys.exit(f"guix-build-service: {error.message} {error.hint}")

    async def check_isolation(self) -> None:
        """Return if people can be kept apart as well as is configured.  Raises `SystemExit` with what is lacking."""
        workshop = self.workshop()
        try:
            await Isolation(config=self.config).check(workshop.guix, self.folder, workshop.evaluation)
        except GuixSpawnerError as error:
            sys.exit(f"guix-build-service: {error.message} {error.hint}")

    def vault(self, store: Store) -> Vault:
        """Return people's credentials.  Raises `SystemExit` with one sentence where no key can be made for them."""
        try:
            source = CredentialKeys(parent=self).source(self.folder, os.environ)
        except (OSError, SecretFileUnsafe, KeysUnusable) as error:
            sys.exit(f"guix-build-service: {error}")
        return Vault(CredentialRows(store), source, self.folder / "loans")

    def session_logs(self) -> SessionLogs:
        """Return the logs of sessions, as far as there is a folder of them."""
        return SessionLogs(Path(self.sessions_folder).absolute() if self.sessions_folder else None)

    def workshop(self) -> Workshop:
        """Return the tools and places of the pipeline, as configured."""
        path, home = search_path(), self.folder / "home"
        # Two services of one account may need the same profile; what one lets go of is not the other's.
        installation = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        variables = {name: os.environ[name] for name in DAEMON_VARIABLES if name in os.environ}
        authorities = Path(self.certificate_authorities).absolute() if self.certificate_authorities else None
        guix = GuixCommand(self.guix, home, account_name(), path, variables)
        return Workshop(
            git=Git(find_git(path), home, path, certificates=authorities),
            guix=guix,
            hosts=Hosts(
                [PrivateHost.parse(text) for text in self.private_hosts],
                [Path(folder) for folder in self.file_repositories],
            ),
            records=Records(Path(self.records_folder).absolute()),
            roots=Roots(self.roots / "environments" / installation),
            state_folder=self.folder,
            build_seconds=self.build_timeout,
            evaluation=ManifestEvaluation(config=self.config).evaluation(guix),
            allowed_channels=tuple(AllowedChannel.from_json(channel) for channel in self.allowed_channels),
        )

    @contextlib.asynccontextmanager
    async def listening(self, manager: Manager) -> AsyncIterator[None]:
        """Answer requests while the context lasts."""
        settings = WebSettings.from_environment(
            os.environ,
            cookie_secret=cookie_secret(self.folder / "cookie-secret"),
            templates=shared_folder("templates") / "service",
            static=shared_folder("static"),
            limits=RequestLimits(parent=self),
        )
        server = make_server(make_application(manager, settings))
        listen(server, self.address or os.environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:10101"))
        try:
            yield
        finally:
            server.stop()
            await server.close_all_connections()

    async def begin(self, manager: Manager, queue: Queue) -> None:
        """Take up what an earlier run left, and add what the configuration wants to be there."""
        await manager.vault.begin()
        await queue.start()
        await self.add_initial_environments(manager)

    async def add_initial_environments(self, manager: Manager) -> None:
        """Add the initial environments that were not added before; one that was deleted since does not come back."""
        file = self.folder / "initial-environments.json"
        try:
            added = set(await asyncio.to_thread(read_json, file))
        except FileNotFoundError:
            added = set()
        for one in self.initial_environments:
            key = f"{one.get('repo', '')} {one.get('ref', '')} {one.get('subdir', '')}"
            if key in added:
                continue
            try:
                await manager.add_initial(_initial(one), self.initial_owner)
            except GuixSpawnerError as error:
                log.warning("The initial environment %s cannot be added: %s %s", key, error.message, error.hint)
                continue
            added.add(key)
            await asyncio.to_thread(write_json, file, dict.fromkeys(added, True))


def _initial(values: Mapping[str, object]) -> NewEnvironment:
    text = {name: str(values.get(name) or "") for name in ("repo", "ref", "subdir", "name", "description")}
    return NewEnvironment(
        repository=text["repo"],
        ref=text["ref"],
        subdirectory=text["subdir"],
        name=text["name"],
        description=text["description"],
        visibility=Visibility.EVERYONE,
    )


def prepare_folder(folder: Path) -> None:
    """Make the service's own FOLDER, closed to others, and the empty home that Guix and Git get.

    Raises `SystemExit` with one sentence where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "home").mkdir(exist_ok=True, mode=0o700)
        (folder / "builds").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        sys.exit(f"guix-build-service: cannot write into {folder}: {error.strerror}")


async def check_git(git: Git) -> None:
    """Return if GIT can be used.  Raises `SystemExit` with what is lacking and what to do about it."""
    try:
        await check(git)
    except GuixSpawnerError as error:
        sys.exit(f"guix-build-service: {error.message} {error.hint}")


def cookie_secret(file: Path) -> bytes:
    """Return the key that cookies are signed with, made at the first start, so that a restart logs nobody out.

    Raises `SystemExit` with one sentence where the file cannot be trusted with it.
    """
    try:
        return read_or_make_secret(file)
    except (OSError, SecretFileUnsafe) as error:
        sys.exit(f"guix-build-service: {error}")


def listen(server: HTTPServer, address: str) -> None:
    """Have SERVER listen at ADDRESS, ``http://HOST:PORT`` or ``http+unix://PATH`` with its slashes quoted.

    Raises `SystemExit` with one sentence where something else listens there.
    """
    parts = urlsplit(address)
    try:
        if parts.scheme == "http+unix":
            server.add_socket(bind_unix_socket(unquote(parts.netloc), mode=0o600))
        else:
            server.add_sockets(bind_sockets(parts.port or 80, parts.hostname or "127.0.0.1"))
    except OSError as error:
        sys.exit(f"guix-build-service: cannot listen at {address}: {error.strerror}")
