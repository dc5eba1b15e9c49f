"""The server profile: JupyterLab, the single-user server and the tools of every session, built once for a hub's release.

`ensure_server_profile` is what ``guix-build-service server-layer`` runs before the hub starts.  It builds with the real Guix
from the definitions in ``share/guix``, and leaves ``server.json`` among the records, from which sessions start while neither
the service nor Guix is there.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.server_definitions import build_command, locked_versions, profile_key
from guix_environment import processes
from guix_environment.errors import BuildFailure, BuildTimeout, GuixUnavailable, NotFound, RecordInvalid
from guix_environment.identifiers import StorePath, VariableName
from guix_environment.records import Records, ServerRecord

BUILD_SECONDS = 3600.0
"""How long Guix may take: a minute with substitutes at hand, and downloads of some hundred megabytes where they are far."""

QUICK_SECONDS = 60.0
"""How long a command may take that only looks."""

LARGEST_LIST = 16 * 1024 * 1024
"""Bytes of output that are read from such a command."""

KEPT_VARIABLES = frozenset(
    {
        *("GUIX_DAEMON_SOCKET", "GUIX_LOCPATH", "HOME", "LOGNAME", "PATH", "TMPDIR", "USER", "XDG_CACHE_HOME"),
        *("SSL_CERT_DIR", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy"),
    }
)
"""What Guix gets of our own environment."""


@dataclass(frozen=True, slots=True)
class ServerProfileSettings:
    """Where the server profile is made from and where it goes."""

    definitions: Path
    """The folder with the package definitions, ``share/guix``."""
    series: str
    """The JupyterHub series, one of `server_definitions.HUB_SERIES`."""
    records: Path
    """The folder of the environment records."""
    roots: Path
    """Below ``/var/guix/profiles``, where the collector looks: for Guix's links to the server profiles."""
    logs: Path
    """The folder for what Guix says."""


def command_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Guix command, from our OWN."""
    kept = {name: value for name, value in own.items() if name in KEPT_VARIABLES}
    return {**kept, "LC_ALL": "C.UTF-8", "GUILE_AUTO_COMPILE": "0"}


async def ensure_server_profile(
    settings: ServerProfileSettings, tell: Callable[[str], None] = lambda _: None
) -> ServerRecord:
    """Return the record of the server profile that SETTINGS ask for, after building it where that was not done yet.

    TELL gets a sentence for people when something that takes long begins.  Called twice at once, also by two processes, the
    second waits for the first.  Profiles built for earlier releases stay, as sessions may still use them.  Raises
    `GuixUnavailable`, `BuildFailure` or `BuildTimeout`.
    """
    guix = find_guix()
    key = await asyncio.to_thread(profile_key, settings.definitions, settings.series, await guix_identity(guix))
    root = settings.roots / key / "profile"
    records = Records(settings.records)
    record = await asyncio.to_thread(_finished, records, key, root)
    if record is None:
        async with _alone(settings.records / "server.lock", tell):
            record = await asyncio.to_thread(_finished, records, key, root)
            if record is None:
                record = await _build(settings, guix, key, root, tell)
                await asyncio.to_thread(records.write_server, record)
    return record


def find_guix() -> Path:
    """Return the ``guix`` command.  Raises `GuixUnavailable` when there is none."""
    found = shutil.which("guix")
    if found is None:
        raise GuixUnavailable("There is no command “guix” here.", hint="Install GNU Guix, or see “make run”.")
    return Path(found)


async def guix_identity(guix: Path) -> str:
    """Return what tells GUIX from other releases and revisions of it."""
    place = await asyncio.to_thread(guix.resolve)
    if place.is_relative_to("/gnu/store"):
        return str(place)
    return f"{place} {(await _look(guix, '--version')).decode(errors='replace').partition(chr(10))[0]}"


def _finished(records: Records, key: str, root: Path) -> ServerRecord | None:
    """Return the record that is there, if it is of KEY, and ROOT holds its profile."""
    try:
        record = records.read_server()
    except (NotFound, RecordInvalid):
        return None
    held = root.exists() and root.resolve() == Path(record.profile)
    return record if record.key == key and held else None


@contextlib.asynccontextmanager
async def _alone(lock: Path, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """Wait until no other process builds the server profile, and keep others from it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    tell("Another process is building the server layer; waiting for it.")
                told = True
                await asyncio.sleep(0.5)
        yield


async def _build(
    settings: ServerProfileSettings, guix: Path, key: str, root: Path, tell: Callable[[str], None]
) -> ServerRecord:
    log = settings.logs / f"server-layer-{key}.log"
    await asyncio.to_thread(_make_folders, settings.roots / key, settings.logs)
    versions = await asyncio.to_thread(locked_versions, settings.definitions, settings.series)
    tell(
        f"Building JupyterLab {versions['jupyterlab']} and JupyterHub's single-user server "
        f"{versions['jupyterhub']}; the log is {log}"
    )
    await _run_build(build_command(guix, settings.definitions, settings.series, root), log)
    profile = StorePath(str(await asyncio.to_thread(root.resolve)))
    requisites = (await _look(guix, "gc", "--requisites", profile)).decode().split()
    return ServerRecord(
        key=key,
        profile=profile,
        closure=tuple(sorted(StorePath(path) for path in requisites)),
        variables=await profile_variables(profile),
        versions=versions,
    )


def _make_folders(roots: Path, logs: Path) -> None:
    """Make the folders; the collector must be able to read that of the ROOTS, whoever runs the daemon."""
    logs.mkdir(parents=True, exist_ok=True)
    for folder in reversed([roots, *roots.parents]):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)


async def _run_build(command: Iterable[str], log: Path) -> None:
    """Run COMMAND with its output at the end of LOG; raise what went wrong, in words."""
    with log.open("ab") as file:
        start = file.tell()
        ended = await processes.run(
            list(command),
            environment=command_environment(os.environ),
            timeout=BUILD_SECONDS,
            output=file.fileno(),
        )
    if ended.timed_out:
        raise BuildTimeout(f"Building the server layer took longer than {BUILD_SECONDS / 60:.0f} minutes.")
    if not ended.succeeded:
        said = (await asyncio.to_thread(log.read_bytes))[start:].decode(errors="replace")
        raise failure(said, log)


def failure(said: str, log: Path) -> BuildFailure | GuixUnavailable:
    """Return the error for a build that ended badly, from what Guix SAID; LOG is where a person reads all of it."""
    reasons = [line.partition("error: ")[2].strip() for line in said.splitlines() if "error: " in line]
    reason = reasons[-1] if reasons else "it said no reason"
    if "failed to connect to" in reason:
        return GuixUnavailable("Guix's daemon does not answer.", hint="Start guix-daemon, then try again.")
    return BuildFailure(f"Guix could not build the server layer: {reason}", hint=f"The log is {log}")


async def _look(command: Path, *arguments: str) -> bytes:
    """Return what COMMAND prints; raise `GuixUnavailable` with its words when it fails."""
    ended = await processes.run(
        [command, *arguments],
        environment=command_environment(os.environ),
        timeout=QUICK_SECONDS,
        limit=LARGEST_LIST,
    )
    if not ended.succeeded:
        said = ended.errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise GuixUnavailable(f"“{command.name} {arguments[0]}” failed: {said or ended.status}")
    return ended.output


async def profile_variables(profile: StorePath) -> dict[VariableName, str]:
    """Return the search paths that PROFILE's ``etc/profile`` sets, and where its certificates are."""
    ended = await processes.run(
        [f"{profile}/bin/bash", "--norc", "--noprofile", "-c", '. "$1/etc/profile" && exec "$1/bin/env" -0', "-", profile],
        # An empty PATH: bash has one of its own for when there is none.
        environment={"GUIX_PROFILE": profile, "PATH": ""},
        timeout=QUICK_SECONDS,
    )
    if not ended.succeeded:
        raise BuildFailure("The server profile's variables cannot be read: " + ended.errors.decode(errors="replace"))
    return read_variables(ended.output) | await asyncio.to_thread(certificate_variables, profile)


def read_variables(output: bytes) -> dict[VariableName, str]:
    """Return the variables in OUTPUT, that of ``env -0``, without those that every shell sets for itself."""
    pairs = (entry.decode().partition("=")[::2] for entry in output.split(b"\0") if entry)
    own = {"GUIX_PROFILE", "OLDPWD", "PWD", "SHLVL", "_"}
    return {VariableName(name): value for name, value in pairs if name not in own}


def certificate_variables(profile: StorePath) -> dict[VariableName, str]:
    """Return what OpenSSL, Git, Python and R look for PROFILE's certificates by (Guix manual, “X.509 Certificates”)."""
    bundle = f"{profile}/etc/ssl/certs/ca-certificates.crt"
    if not Path(bundle).is_file():
        return {}
    files = ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    return {VariableName("SSL_CERT_DIR"): f"{profile}/etc/ssl/certs"} | dict.fromkeys(map(VariableName, files), bundle)
