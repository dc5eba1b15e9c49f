"""Ask Guix: each question is one of our own Scheme scripts, each answer one datum that is read as data."""

import asyncio
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.manifest.canonical import PackageList, quoted
from guix_build_service.manifest.reader import read_all
from guix_build_service.manifest.syntax import Datum, Form, Symbol, Text
from guix_build_service.pipeline.failures import daemon_unavailable, too_much_memory, without_daemon
from guix_build_service.pipeline.job import Job
from guix_build_service.pipeline.output import written_to_log
from guix_build_service.pipeline.packages import Problem, unknown
from guix_environment.errors import (
    BuildFailure,
    GuixUnavailable,
    InvalidInput,
    ManifestFailure,
    ManifestUnreadable,
)
from guix_environment.files import read_json, write_json
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import StorePath
from guix_environment.processes import run

QUESTION_SECONDS = 1800.0
"""How long a question may take: to know what a profile consists of, Guix may have to download things that it grafts."""

OWN_SECONDS = 300.0
"""How long it may take to say which derivations are Guix's own: of names that a manifest makes up there may be many."""

DAEMON_SECONDS = 5.0
"""How long the daemon may take to accept a connection."""

SCRIPTS = Path(__file__).with_name("scheme")
"""Where our own questions to Guix lie."""

_DAEMON_SOCKET = "/var/guix/daemon-socket/socket"
_LARGEST_ANSWER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """One package as Guix lists it."""

    name: str
    version: str
    output: str


def identity(command: GuixCommand) -> str:
    """Return what tells this Guix from any other, newer or older: its program and when that was put there.

    Blocks for a few system calls.  Raises `GuixUnavailable` when there is no such program.
    """
    program = shutil.which(command.program, path=command.search_path)
    if program is None:
        raise GuixUnavailable("This hub finds no Guix.", hint="The administrator can install it: https://guix.gnu.org/")
    # An item of the store is what its name says; of anything else the time of its installation is part of what it is.
    target = Path(program) if program.startswith("/gnu/store/") else Path(program).resolve()
    moment = "" if str(target).startswith("/gnu/store/") else str(target.stat().st_mtime_ns)
    return hashlib.sha256(f"{target}\0{moment}".encode()).hexdigest()[:32]


def system() -> str:
    """Return what Guix calls this machine's kind, such as ``x86_64-linux``."""
    return f"{platform.machine()}-linux"


async def daemon_answers(command: GuixCommand) -> bool:
    """Tell whether Guix's daemon takes connections; True where it is not reached over a socket of this machine."""
    address = command.variables.get("GUIX_DAEMON_SOCKET", _DAEMON_SOCKET).removeprefix("file://")
    if "://" in address:
        return True
    try:
        async with asyncio.timeout(DAEMON_SECONDS):
            _, writer = await asyncio.open_unix_connection(address)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def closure(answer: Datum) -> tuple[tuple[StorePath, int], ...]:
    """Return what ANSWER, as of ``building.scm``, says: everything that the result refers to, with the bytes of each.

    Raises `BuildFailure` for anything else.
    """
    found = []
    for entry in answer.items if isinstance(answer, Form) else ():
        match entry:
            case Form(items=(Text(value=path), size)):
                found.append((StorePath(path), int(getattr(size, "text", "0"))))
            case _:
                raise strange()
    return tuple(found)


async def own_derivations(
    command: GuixCommand, names: Sequence[str], folder: Path, marks: Mapping[str, str] | None = None
) -> list[StorePath]:
    """Return the derivations, without grafts, that Guix itself has under NAMES, and perhaps some more; FOLDER is for files.

    Raises `GuixUnavailable`, `BuildFailure`.
    """
    file, answer = folder / "names.scm", folder / "own-derivations"
    await asyncio.to_thread(file.write_text, "({})\n".format("\n".join(quoted(name) for name in names)))
    done = await run(
        command.script(SCRIPTS / "own.scm", file, answer),
        environment=command.environment(marks),
        timeout=OWN_SECONDS,
        memory=command.memory,
        directory=folder,
    )
    said = done.errors.decode(errors="replace")
    if done.beyond_memory:
        raise too_much_memory(command.memory)
    if done.timed_out:
        raise BuildFailure(
            "Guix did not say in time which of these builds are its own.", hint="Make fewer packages in the manifest."
        )
    if not done.succeeded and without_daemon(said):
        raise daemon_unavailable()
    if not done.succeeded:
        raise BuildFailure("Guix could not say which of these builds are its own.", hint=said[-500:])
    found = await asyncio.to_thread(read_answer, answer)
    try:
        return [StorePath(text) for text in texts(found.items if isinstance(found, Form) else ())]
    except InvalidInput as error:
        raise strange() from error


async def channels(command: GuixCommand, job: Job, state: Path) -> str:
    """Return a channels file of this very Guix; empty where it does not know what it was made of.

    It is asked once, and the answer kept below the folder STATE.
    """
    file = state / "guix-channels" / f"{await asyncio.to_thread(identity, command)}.json"
    try:
        return str((await asyncio.to_thread(read_json, file))["channels"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    match await _ask(command, job, "describe.scm"):
        case Text(value=text):
            await asyncio.to_thread(write_json, file, {"channels": text})
            return text
        case _:
            raise strange()


async def package_names(command: GuixCommand, job: Job, folder: Path) -> Sequence[str]:
    """Return the names of all packages that this Guix has; asked for once and then kept in FOLDER."""
    file = folder / f"{await asyncio.to_thread(identity, command)}.json"
    try:
        kept = await asyncio.to_thread(read_json, file)
        return [str(name) for name in kept["names"]]  # type: ignore[attr-defined] # a damaged file raises below
    except (OSError, ValueError, KeyError, TypeError):
        pass
    answer = await _ask(command, job, "names.scm")
    names = _names(answer)
    await asyncio.to_thread(write_json, file, {"names": names})
    return names


def _names(answer: Datum) -> list[str]:
    return sorted({item.value for item in answer.items if isinstance(item, Text)} if isinstance(answer, Form) else ())


async def listed(command: GuixCommand, packages: PackageList, folder: Path) -> Sequence[Listed]:
    """Return the packages that PACKAGES are in this Guix, as it lists them itself; FOLDER is for files in between.

    Needs neither store nor daemon.  Raises as `lower` does.
    """
    manifest, file = folder / "manifest.scm", folder / "answer"
    await asyncio.to_thread(manifest.write_text, packages.manifest())
    done = await run(
        command.script(SCRIPTS / "lower.scm", manifest, file, "packages"),
        environment=command.environment(),
        timeout=QUESTION_SECONDS,
        memory=command.memory,
        directory=folder,
    )
    if done.beyond_memory:
        raise too_much_memory(command.memory)
    if not done.succeeded:
        raise BuildFailure("Guix could not say which packages these are.", hint=done.errors.decode(errors="replace")[-500:])
    match await asyncio.to_thread(read_answer, file):
        case Form(items=(Symbol(name="packages"), *found)):
            return [_listed(item) for item in found]
        case Form(items=(Symbol(name="unknown"), *problems)):
            await run(
                command.script(SCRIPTS / "names.scm", file),
                environment=command.environment(),
                timeout=QUESTION_SECONDS,
                memory=command.memory,
                directory=folder,
            )
            names = _names(await asyncio.to_thread(read_answer, file))
            raise unknown([problem_of(problem) for problem in problems], names)
        case Form(items=(Symbol(name="unsupported"), Text(value=message))):
            raise ManifestFailure(f"Guix cannot use these packages together: {message:.500}")
    raise strange()


def _listed(datum: Datum) -> Listed:
    match datum:
        case Form(items=(Text(value=name), Text(value=version), Text(value=output))):
            return Listed(name, version, output)
    raise strange()


async def _ask(command: GuixCommand, job: Job, script: str) -> Datum:
    """Run SCRIPT with the name of a file to answer in, and return what it answers.  What it says besides goes to the log."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="answer-", dir=job.folder))
    file = folder / "answer"
    start = job.log.size()
    async with written_to_log(job) as output:
        done = await run(
            command.script(SCRIPTS / script, file),
            environment=command.environment(job.marks),
            timeout=QUESTION_SECONDS,
            memory=command.memory,
            directory=folder,
            output=output,
        )
    if done.beyond_memory:
        raise too_much_memory(command.memory)
    if not done.succeeded:
        raise failure(job, start, timed_out=done.timed_out)
    return await asyncio.to_thread(read_answer, file)


def read_answer(file: Path) -> Datum:
    """Return the one datum that a script of ours wrote to FILE.  Blocks.  Raises `BuildFailure` for anything else."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST_ANSWER)
    except FileNotFoundError:
        raise strange() from None
    return only_datum(content)


def only_datum(content: bytes) -> Datum:
    """Return the one datum that a script of ours wrote as CONTENT.  Raises `BuildFailure` for anything else."""
    try:
        data = read_all(content.decode(), largest=_LARGEST_ANSWER, most=4_000_000)
    except (UnicodeDecodeError, ManifestUnreadable) as error:
        raise strange() from error
    if len(data) != 1:
        raise strange()
    return data[0]


def failure(job: Job, start: int, *, timed_out: bool) -> GuixUnavailable | BuildFailure:
    """Return why Guix, whose output is in JOB's log from START, did not say what it was asked.  Blocks."""
    with job.log.path.open("rb") as file:
        file.seek(start)
        said = file.read(1024 * 1024).decode(errors="replace")
    if without_daemon(said):
        return daemon_unavailable()
    if timed_out:
        return BuildFailure("Guix did not say in time what these packages amount to.", hint="Try again later.")
    return BuildFailure("Guix could not work out what these packages amount to.", hint="The log says more.")


def strange() -> BuildFailure:
    """Return the error that says that Guix answered what nobody expects."""
    return BuildFailure("Guix answered something unexpected.", hint="Tell the administrator: this is a fault of the hub.")


def problem_of(datum: Datum) -> Problem:
    """Return the problem that DATUM, of ``lower.scm``, tells of.  Raises `BuildFailure` for anything else."""
    match datum:
        case Form(items=(Text(value=specification), Symbol(name=kind), *alternatives)):
            return Problem(specification, kind, tuple(texts(alternatives)))
    raise strange()


def texts(data: Sequence[Datum]) -> list[str]:
    """Return the texts among DATA."""
    return [item.value for item in data if isinstance(item, Text)]


def search_path() -> str:
    """Return the PATH on which the service finds Guix and Git: its own, and the places of a usual installation."""
    own = os.environ.get("PATH", "")
    usual = ["/var/guix/profiles/per-user/root/current-guix/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    return ":".join(dict.fromkeys([*filter(None, own.split(":")), *usual]))
