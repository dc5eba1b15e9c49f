"""The server profile: JupyterLab, the single-user server and the tools of every session, built once for a hub's release.

`ensure_server_profile` is what ``guix-build-service server-layer`` runs before the hub starts.  It builds with the real Guix
from the definitions in ``share/guix``, and leaves ``server.json`` among the records, from which sessions start while neither
the service nor Guix is there.
"""

import asyncio
import contextlib
import fcntl
import getpass
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from guix_build_service.pipeline.failures import ATTEMPTS, client_broke_down
from guix_build_service.pipeline.guix import identity, search_path
from guix_build_service.pipeline.variables import read_variables
from guix_build_service.server_layer.definitions import build_command, locked_versions, profile_key
from guix_environment import processes
from guix_environment.errors import BuildFailure, BuildTimeout, GuixUnavailable, NotFound, RecordInvalid
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import StorePath, VariableName
from guix_environment.records import Records, ServerRecord

BUILD_SECONDS = 3600.0
"""How long Guix may take: a minute with substitutes at hand, and downloads of some hundred megabytes where they are far."""

QUICK_SECONDS = 60.0
"""How long a command may take that only looks."""

LARGEST_LIST = 16 * 1024 * 1024
"""Bytes of output that are read from such a command."""


def own_guix() -> GuixCommand:
    """Return the ``guix`` that this process finds, to be run as the account that runs it."""
    given = {name: os.environ[name] for name in ("GUIX_DAEMON_SOCKET", "GUIX_LOCPATH") if name in os.environ}
    return GuixCommand("guix", Path.home(), getpass.getuser(), search_path(), given)


@dataclass(frozen=True, slots=True)
class ServerProfileSettings:
    """Where the server profile is made from, and where it goes."""

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
    guix: GuixCommand = field(default_factory=own_guix)


async def ensure_server_profile(
    settings: ServerProfileSettings, tell: Callable[[str], None] = lambda _: None
) -> ServerRecord:
    """Return the record of the server profile that SETTINGS ask for, after building it where that was not done yet.

    TELL gets a sentence for people when something that takes long begins.  Called twice at once, also by two processes, the
    second waits for the first.  Profiles built for earlier releases stay, as sessions may still use them.  Raises
    `GuixUnavailable`, `BuildFailure` or `BuildTimeout`.
    """
    guix = await asyncio.to_thread(identity, settings.guix)
    key = await asyncio.to_thread(profile_key, settings.definitions, settings.series, guix)
    root = settings.roots / key / "profile"
    records = Records(settings.records)
    record = await asyncio.to_thread(_finished, records, key, root)
    if record is None:
        async with _alone(settings.records / "server.lock", tell):
            record = await asyncio.to_thread(_finished, records, key, root)
            if record is None:
                record = await _build(settings, key, root, tell)
                await asyncio.to_thread(records.write_server, record)
    return record


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


async def _build(settings: ServerProfileSettings, key: str, root: Path, tell: Callable[[str], None]) -> ServerRecord:
    log = settings.logs / f"server-layer-{key}.log"
    await asyncio.to_thread(_make_folders, root.parent, settings.logs)
    versions = await asyncio.to_thread(locked_versions, settings.definitions, settings.series)
    tell(
        f"Building JupyterLab {versions['jupyterlab']} and JupyterHub's single-user server "
        f"{versions['jupyterhub']}; the log is {log}"
    )
    command = build_command(settings.guix.program, settings.definitions, settings.series, root)
    await _run_build(settings.guix, command, log)
    profile = StorePath(str(await asyncio.to_thread(root.resolve)))
    variables = await asyncio.to_thread(read_variables, profile)
    return ServerRecord(
        key=key,
        profile=profile,
        closure=await _closure(settings.guix, profile),
        variables=variables | await asyncio.to_thread(certificate_variables, profile),
        versions=versions,
    )


def _make_folders(roots: Path, logs: Path) -> None:
    """Make the folders; the collector must be able to read that of the ROOTS, whoever runs the daemon."""
    logs.mkdir(parents=True, exist_ok=True)
    for folder in reversed([roots, *roots.parents]):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)


async def _run_build(guix: GuixCommand, command: Sequence[str], log: Path) -> None:
    """Run COMMAND with its output at the end of LOG; raise what went wrong, in words."""
    for attempt in range(1, ATTEMPTS + 1):
        with log.open("ab") as file:
            start = file.tell()
            ended = await processes.run(
                command,
                environment=guix.environment({"GUILE_AUTO_COMPILE": "0"}),
                timeout=BUILD_SECONDS,
                output=file.fileno(),
            )
        if ended.timed_out:
            raise BuildTimeout(f"Building the server layer took longer than {BUILD_SECONDS / 60:.0f} minutes.")
        if ended.succeeded:
            return
        said = (await asyncio.to_thread(log.read_bytes))[start:].decode(errors="replace")
        if attempt == ATTEMPTS or not client_broke_down(said):
            raise failure(said, log)


def failure(said: str, log: Path) -> BuildFailure | GuixUnavailable:
    """Return the error for a build that ended badly, from what Guix SAID; LOG is where the administrator reads all of it."""
    reasons = [line.partition("error: ")[2].strip() for line in said.splitlines() if "error: " in line]
    reason = reasons[-1] if reasons else "it said no reason"
    if "failed to connect to" in reason:
        return GuixUnavailable("Guix's daemon does not answer.", hint="Start guix-daemon, then try again.")
    return BuildFailure(f"Guix could not build the server layer: {reason}", hint=f"The log is {log}")


async def _closure(guix: GuixCommand, profile: StorePath) -> tuple[StorePath, ...]:
    """Return everything that PROFILE refers to, itself included."""
    ended = await processes.run(
        [guix.program, "gc", "--requisites", profile],
        environment=guix.environment(),
        timeout=QUICK_SECONDS,
        limit=LARGEST_LIST,
    )
    if not ended.succeeded:
        said = ended.errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise GuixUnavailable(f"Guix does not say what the server layer consists of: {said}")
    return tuple(sorted(StorePath(path) for path in ended.output.decode().split()))


def certificate_variables(profile: StorePath) -> dict[VariableName, str]:
    """Return what OpenSSL, Git, curl and Python look for PROFILE's certificates by (Guix manual, “X.509 Certificates”).

    Blocks for one system call.  Guix itself sets them only for profiles that hold the libraries which look.
    """
    bundle = f"{profile}/etc/ssl/certs/ca-certificates.crt"
    if not Path(bundle).is_file():
        return {}
    files = ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    return {VariableName("SSL_CERT_DIR"): f"{profile}/etc/ssl/certs"} | dict.fromkeys(map(VariableName, files), bundle)
