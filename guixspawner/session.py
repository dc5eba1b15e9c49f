"""What a session's container holds, worked out from records alone.

The server's programs come from the server profile, the kernels and what terminals see from the version's; neither finds
anything by the other's search paths.
"""

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from guix_environment import session_layout as layout
from guix_environment.archived import ArchiveSites, name_of
from guix_environment.container import INSIDE, ContainerPlan, Link, Mount, PlacedFile, TemporaryFolder
from guix_environment.errors import NotFound
from guix_environment.identifiers import VariableName
from guix_environment.records import EnvironmentRecord, Records, ServerRecord, VersionRecord
from guix_environment.repository_access import check
from guix_environment.repository_url import RepositoryUrl
from guix_environment.system_call_filter import compiled
from guixspawner.accounts import Person, slug
from guixspawner.limits import Limits
from guixspawner.network.inside import Inside
from guixspawner.options import SessionOptions

DAY = timedelta(days=1)

RUNTIME = f"/run/user/{INSIDE}"

_TOKENS = ("JPY_API_TOKEN", "JUPYTERHUB_API_TOKEN")
"""What lets a program act as the server."""
_FROM_THE_HUB = frozenset({"JPY_API_TOKEN", "LANG", "LC_ALL", "MEM_LIMIT", "MEM_GUARANTEE", "CPU_LIMIT", "CPU_GUARANTEE"})
_SERVER_ALONE = ("JPY_API_TOKEN", "JUPYTERHUB_API_TOKEN", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH")
"""What kernels and terminals do not get of the server's environment."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
"""Numerical libraries count the machine's cores, not the session's."""

_PROFILE = b"""# For every login shell of the session.
PS1='\\u@\\h \\w\\$ '
[ -r "$HOME/.bashrc" ] && . "$HOME/.bashrc"
"""
_RESOLVERS = Mount("/etc/resolv.conf", "/etc/resolv.conf", optional=True)
_NAMES = b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody asked for and may have."""

    environment: EnvironmentRecord
    version: VersionRecord
    options: SessionOptions

    @property
    def title(self) -> str:
        """The environment as people know it, with its commit."""
        return f"{self.environment.name} ({self.version.commit.short})"


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to start something."""

    name: str
    groups: frozenset[str]
    admin: bool


def choose(records: Records, options: SessionOptions, applicant: Applicant, longest: timedelta = DAY) -> Choice:
    """Return what APPLICANT gets for OPTIONS.

    Reads three small files.  Raises `NotFound` for what does not exist and, in the same words, for what is not for them;
    `RepositoryWithdrawn` where its owner cannot read its private repository, or could LONGEST ago; `RecordInvalid` for
    damage.
    """
    hidden = NotFound("There is no such environment, or it is not shared with you.", hint="Choose one of the start page.")
    try:
        environment = records.read_environment(options.environment)
    except NotFound:
        raise hidden from None
    if not environment.may_be_started_by(applicant.name, applicant.groups, admin=applicant.admin):
        raise hidden
    if (access := records.read_access(environment.id)) is not None:
        check(access, environment.repository, environment.owner, applicant.name, longest, datetime.now(UTC))
    try:
        version = records.read_version(environment.id, options.version or environment.current)
    except NotFound:
        raise NotFound(f"{environment.name} has no such version any more.", hint="Start its current one.") from None
    return Choice(environment, version, options)


def limits(choice: Choice, *, memory: int | None, cpu: float | None) -> Limits:
    """Return the lowest of what the installation gives (MEMORY, CPU), the environment asks for, and the person asks for."""
    asked, wanted = choice.environment, choice.options
    memories = [value for value in (memory, asked.memory, wanted.memory) if value]
    cpus = [value for value in (cpu, asked.cpu, wanted.cpu) if value]
    return Limits(min(memories, default=None), min(cpus, default=None))


def project_name(repository: str) -> str:
    """Return what the working copy of REPOSITORY is called in a home; never a hidden file's name, or one of the shell's."""
    return name_of(RepositoryUrl.parse(repository)).lstrip(".~+-@")[:100] or "repository"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the machine and the hub goes into a session."""

    hub_variables: Mapping[str, str]
    """All that the hub would give the server; only what belongs into a container is taken."""
    configured: Collection[str]
    """Names of variables that the administrator adds to sessions."""
    inside: Inside
    """What it sees of its network."""
    server_options: tuple[str, ...] = ()
    """Further words of the server's command, which everybody on the machine can read."""
    folders: tuple[Mount, ...] = ()
    """Folders of the machine that this person sees."""
    allowed_system_calls: frozenset[str] = frozenset()
    """System calls that sessions may make although the filter would refuse them."""


def plan_session(
    records: Records, server: ServerRecord, choice: Choice, person: Person, limit: Limits, around: Surroundings
) -> ContainerPlan:
    """Return the container of a session.  Pure, but for the session's own programs, which it reads from this package."""
    home = f"/home/{person.account_name}"
    tools = f"{server.profile}/bin"
    host_name = slug(project_name(choice.environment.repository).lower())
    environment, version = choice.environment.id, choice.version.id
    variables = _variables(server, choice, person, limit, around)
    # What an administrator adds may well be a password.
    secret = {*_TOKENS, *around.configured}
    return ContainerPlan(
        store_items=tuple(dict.fromkeys((*server.closure, *choice.version.closure))),
        command=(
            # The server layer's own Python, deaf to the variables and folders that other Pythons are set up with.
            *(f"{tools}/tini", "--", f"{server.profile}/lib/server-layer/bin/python3", "-I"),
            f"{layout.PYTHON}/guix_session/__main__.py",
            *around.server_options,
        ),
        directory=home,
        variables={name: value for name, value in variables.items() if name not in secret},
        secrets={name: value for name, value in variables.items() if name in secret},
        host_name=host_name,
        mounts=(
            Mount(str(person.home), home, writable=True),
            Mount(str(records.version_folder(environment, version)), layout.VERSION),
            Mount(str(records.repository(environment)), layout.REPOSITORY, optional=True),
            *(() if around.inside.resolv_conf is not None else (_RESOLVERS,)),
            Mount("/etc/localtime", "/etc/localtime", optional=True),
            *around.inside.mounts,
            *around.folders,
        ),
        temporary_folders=(
            # Apart from the others, so that kernels start while those are full.
            TemporaryFolder(RUNTIME, 0o700, limit.share(0.1)),
        ),
        files=(
            PlacedFile("/etc/passwd", f"{person.account_name}:x:{INSIDE}:{INSIDE}::{home}:{tools}/bash\n".encode()),
            PlacedFile("/etc/group", f"{person.account_name}:x:{INSIDE}:\n".encode()),
            PlacedFile("/etc/hosts", around.inside.hosts.rstrip(b"\n") + f"\n127.0.1.1 {host_name}\n".encode()),
            *(() if around.inside.resolv_conf is None else (PlacedFile("/etc/resolv.conf", around.inside.resolv_conf),)),
            PlacedFile("/etc/nsswitch.conf", _NAMES),
            PlacedFile("/etc/profile", _PROFILE),
            PlacedFile(layout.SHELL_VARIABLES, _shell_variables(tools, choice.version)),
            *(_script(name) for name in ("shell.sh", "kernel.sh", "project.sh")),
            *_companion(),
        ),
        links=(
            Link("/bin/sh", f"{tools}/bash"),
            Link("/usr/bin/env", f"{tools}/env"),
            Link("/etc/ssl", f"{server.profile}/etc/ssl"),
        ),
        network=around.inside.network,
        shared_memory=limit.share(0.5),
        sharing=("/tmp", "/var/tmp"),  # noqa: S108 - the container's own  # nosec B108
        filter=compiled(around.allowed_system_calls),
    )


def _script(name: str) -> PlacedFile:
    content = resources.files("guixspawner").joinpath("session", name).read_bytes()
    return PlacedFile(f"{layout.SCRIPTS}/{name}", content, mode=0o555)


@cache
def _companion() -> tuple[PlacedFile, ...]:
    """Return the files of `guix_session`, which the server runs; neither package knows what the other does."""
    package = Path(str(resources.files("guix_session")))
    return tuple(
        PlacedFile(f"{layout.PYTHON}/guix_session/{path.relative_to(package)}", path.read_bytes())
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    )


def _variables(server: ServerRecord, choice: Choice, person: Person, limit: Limits, around: Surroundings) -> dict[str, str]:
    repository = RepositoryUrl.parse(choice.environment.repository)
    name = project_name(choice.environment.repository)
    home = f"/home/{person.account_name}"
    tools = f"{server.profile}/bin"
    from_the_hub = {
        key: value
        for key, value in around.hub_variables.items()
        if key.startswith(("JUPYTERHUB_", "GUIX_SESSION_")) or key in _FROM_THE_HUB or key in around.configured
    }
    below = choice.options.path or "/".join(filter(None, (choice.version.subdirectory, choice.version.notebook)))
    threads = dict.fromkeys(_THREADS, str(math.ceil(limit.cpu))) if limit.cpu else {}
    from_the_hub |= {name: value for name, value in around.inside.variables.items() if name not in around.configured}
    return {
        **threads,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        # The machine's, which lies there where it has one; glibc takes UTC where it has none.
        "TZ": ":/etc/localtime",
        # Guix's TLS libraries know no certificates of their own.
        "SSL_CERT_DIR": "/etc/ssl/certs",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        **{str(key): value for key, value in server.variables.items()},
        "PATH": _store_folders(server.variables.get(VariableName("PATH"), "")) or tools,
        **from_the_hub,
        **({"MEM_LIMIT": str(limit.memory)} if limit.memory else {}),
        **({"CPU_LIMIT": str(limit.cpu)} if limit.cpu else {}),
        "HOME": home,
        "USER": person.account_name,
        "LOGNAME": person.account_name,
        "SHELL": layout.SHELL,
        "TMPDIR": "/tmp",  # noqa: S108 - the container's own  # nosec B108
        "XDG_RUNTIME_DIR": RUNTIME,
        "JUPYTER_PATH": layout.VERSION,
        # Not below the home: two sessions of one person have processes of the same number.
        "JUPYTER_RUNTIME_DIR": f"{RUNTIME}/jupyter",
        # One for each environment: the tabs of another would come back here, with kernels that this one does not have.
        "JUPYTERLAB_WORKSPACES_DIR": f"{home}/.jupyter/lab/workspaces-{choice.environment.id}",
        "JUPYTERHUB_ROOT_DIR": home,
        "GUIX_SESSION_TOOLS": tools,
        "GUIX_SESSION_ENVIRONMENT": choice.environment.name,
        "GUIX_SESSION_PROFILE": choice.version.profile,
        "GUIX_SESSION_URLPATH": choice.options.urlpath,
        "GUIX_PROJECT_SOURCE": layout.REPOSITORY,
        "GUIX_PROJECT_NAME": name,
        "GUIX_PROJECT_OTHER_NAME": f"{name}-{repository.digest[:6]}",
        "GUIX_PROJECT_ADDRESS": str(repository),
        "GUIX_PROJECT_ARCHIVED": "yes" if ArchiveSites().archived(repository) else "",
        "GUIX_PROJECT_COMMIT": choice.version.commit,
        "GUIX_PROJECT_REF": choice.version.ref,
        "GUIX_PROJECT_OPEN": quote(below),
    }


def _shell_variables(tools: str, version: VersionRecord) -> bytes:
    """Return the lines by which a shell leaves the server's surroundings and enters the profile's."""
    exported: dict[str, str] = {str(name): value for name, value in version.variables.items()}
    path = _store_folders(exported.get("PATH", "")) or f"{version.profile}/bin"
    exported |= {"PATH": f"{path}:{tools}", "SHELL": f"{tools}/bash", "GUIX_ENVIRONMENT": version.profile}
    lines = [f"unset {' '.join(_SERVER_ALONE)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(exported.items())]
    return "\n".join([*lines, ""]).encode()


def _store_folders(path: str) -> str:
    """Return of the search PATH what can be in a container: shells add the machine's own folders, and the current one."""
    return ":".join(part for part in path.split(":") if part.startswith("/gnu/store/"))
