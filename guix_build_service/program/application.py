"""The service as a program: its configuration, and the tools and places that follow from it."""

import hashlib
import json
import logging
import os
import pwd
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from traitlets import CaselessStrEnum, Dict, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Application, catch_config_error

from guix_build_service.git.choice import Choice
from guix_build_service.git.git import Git, find_git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.logs.session_logs import SessionLogs
from guix_build_service.manager.manager import MayAdd
from guix_build_service.manifest.allowed_channels import AllowedChannel
from guix_build_service.pipeline.guix import search_path
from guix_build_service.pipeline.job import Workshop
from guix_build_service.settings.credentials import CredentialKeys
from guix_build_service.settings.evaluation import ManifestEvaluation
from guix_build_service.settings.isolation import Isolation
from guix_build_service.settings.login_tokens import LoginTokenHosts
from guix_build_service.settings.patterns import checked_patterns
from guix_build_service.settings.retention import Retention
from guix_build_service.settings.ssh import SshHosts
from guix_build_service.web.limits import RequestLimits
from guix_environment.errors import InvalidInput
from guix_environment.guix_command import GuixCommand
from guix_environment.records import Records
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


def has_password(address: str) -> bool:
    """Tell whether there is a password in the ADDRESS of a database."""
    parts = urlsplit(address)
    return bool(parts.password) or "password" in parse_qs(parts.query)


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
    version = version("guixspawner")
    description = __doc__ or ""
    raise_config_file_errors = True
    classes = [CredentialKeys, Isolation, LoginTokenHosts, ManifestEvaluation, RequestLimits, Retention, SshHosts]  # noqa: RUF012 - traitlets' own way

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

    leases_folder = Unicode(
        help="""Folder of the links by which running sessions hold what they use, which the hub makes.

        GuixSpawner.leases_folder; without it, nobody is told which environments sessions use, or when one last did.
        """
    ).tag(config=True)

    guix = Unicode("guix", help="The guix command: a name to be found on PATH, or a path.").tag(config=True)

    database_url = Unicode(
        help="""Address of the database, as SQLAlchemy takes it; an SQLite file in the service's folder unless set.

        For PostgreSQL such as postgresql://guix@/guix, with the extra guixspawner[postgresql]. Everybody on the machine can
        read command lines, so an address with a password stands in config_file; or leave it out there too, and have it in
        ~/.pgpass of the service's account, PGPASSFILE, or a service file (postgresql://?service=guix).
        """
    ).tag(config=True)

    private_hosts = List(
        Unicode(),
        help="""Git hosts that may be used although they are on private addresses, each as host:port.

        Only these are also spoken to over plain HTTP. All hosts on public addresses may be used over HTTPS.
        """,
    ).tag(config=True)

    allowed_repositories = List(
        Unicode(),
        help="""Repositories that may be used; all that can be reached unless set.

        Each is a name of a host, such as "git.example.edu" or "*.example.edu", or an address with * for anything, such as
        "https://codeberg.org/our-group/*". It counts as a whole: "git.example.edu" is not "git.example.edu.evil.example".
        """,
    ).tag(config=True)

    banned_repositories = List(
        Unicode(),
        help="""Repositories that may not be used, in the form of allowed_repositories, and before these.

        An address counts whatever its case, and with .git as without. What was built of them before can still be started.
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
        help="""Channels beside Guix's own that the channels files of repositories may name, and that these may depend on.

        Each is a dictionary with name, url (or urls, a list), and commit and fingerprint of its introduction; perhaps with
        oldest, a full commit which what is used must come after, or be. With unauthenticated=True in place of commit and
        fingerprint nobody looks at signatures: whoever can write to the channel decides what the service's account runs.
        """,
    ).tag(config=True)

    running_builds = Integer(2, min=1, help="How many builds run at the same time; the others wait.").tag(config=True)

    running_builds_per_person = Integer(
        0, min=0, help="How many builds of one person run at the same time; 0 for as many as running_builds allows."
    ).tag(config=True)

    running_builds_per_repository = Integer(
        0, min=0, help="How many builds of one repository run at the same time; 0 for as many as running_builds allows."
    ).tag(config=True)

    running_builds_per_host = Integer(
        0,
        min=0,
        help="How many builds of one Git host's repositories run at the same time; 0 for as many as running_builds.",
    ).tag(config=True)

    least_free_space = Integer(
        2 * 1024**3,
        min=0,
        help="""Bytes that must stay free in service_folder and in /gnu/store.

        With less, builds wait, and those that run are ended one after the other, the newest first, until there is room.
        """,
    ).tag(config=True)

    build_timeout = Float(
        6 * 3600.0,
        min=1.0,
        help="Seconds that Guix may take for one environment, downloads included; as many again to make a Guix of channels.",
    ).tag(config=True)

    build_memory = Integer(
        4 * 1024**3,
        min=0,
        help="""Bytes of memory that Guix's own programs may hold to prepare and follow one build; 0 for no limit.

        A build that needs more ends with the code build-memory. It is looked at four times a second, and the kernel refuses
        each process a GiB more. What is compiled runs under guix-daemon, whose limits the administrator sets, such as by
        MemoryMax in its systemd unit; Git and manifests that are run have limits of their own.
        """,
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

    disk_per_person = Integer(
        0,
        min=0,
        help="""Bytes of the store that the environments of one person may hold, administrators aside; 0 for any number.

        Each item that their versions need counts once for them, also when others need it too; JupyterLab, which every
        session has, does not count, nor does what was let go. Nobody knows before a build what it will add, so the last
        one may go beyond; what is there stays, and nothing more is built.
        """,
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

    @validate("allowed_repositories", "banned_repositories")
    def _check_chosen(self, proposal: Mapping[str, Any]) -> list[str]:
        return checked_patterns(proposal["value"])

    @validate("roots_folder")
    def _check_roots_folder(self, proposal: Mapping[str, Any]) -> str:
        folder = str(proposal["value"])
        if folder and not folder.startswith(("/var/guix/profiles/", "/var/guix/gcroots/")):
            self.log.warning("Guix's garbage collector does not look into %s: what is built may be collected.", folder)
        return folder

    words: tuple[str, ...] = ()
    """The settings in the command line."""

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        """Take in the command line ARGV and the configuration file that it names."""
        super().initialize(argv)
        self.words = tuple(argv or ())
        if has_password(self.database_url):
            # What is on a command line was seen already; the next start is to be without.
            raise TraitError("BuildService.database_url has a password, which belongs into config_file or ~/.pgpass.")
        if self.config_file:
            self.load_config_file(self.config_file)
            self.update_config(self.cli_config)

    @property
    def folder(self) -> Path:
        """The service's own folder."""
        return Path(self.service_folder).absolute()

    @property
    def database_address(self) -> str:
        """The address of the database; it may hold a password."""
        return self.database_url or f"sqlite:///{self.folder / 'service.sqlite'}"

    @property
    def roots(self) -> Path:
        """The folder of all links that keep something from the collector."""
        return Path(self.roots_folder or f"/var/guix/profiles/per-user/{account_name()}/guix-build-service")

    @property
    def is_alone_with_database(self) -> bool:
        """Whether no other service can use the database meanwhile, as several can that share a PostgreSQL."""
        return self.database_address.startswith("sqlite")

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
        secure_shell = SshHosts(parent=self).secure_shell(self.folder)
        guix = GuixCommand(self.guix, home, account_name(), path, variables, self.build_memory or None)
        return Workshop(
            git=Git(find_git(path), home, path, certificates=authorities, secure_shell=secure_shell),
            guix=guix,
            hosts=Hosts(
                [PrivateHost.parse(text) for text in self.private_hosts],
                [Path(folder) for folder in self.file_repositories],
                choice=Choice(tuple(self.allowed_repositories), tuple(self.banned_repositories)),
                over_ssh=secure_shell.is_used,
            ),
            records=Records(Path(self.records_folder).absolute()),
            roots=Roots(self.roots / "environments" / installation),
            state_folder=self.folder,
            build_seconds=self.build_timeout,
            evaluation=ManifestEvaluation(config=self.config).evaluation(guix),
            allowed_channels=tuple(AllowedChannel.from_json(channel) for channel in self.allowed_channels),
            leases=Roots(Path(self.leases_folder)) if self.leases_folder else None,
        )
