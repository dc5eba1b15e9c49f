"""Why Guix could not build something, found in what it wrote.

The lines are those of ``nix/libstore/build.cc`` and ``guix/status.scm`` in Guix 1.5.0.
"""

import re
from collections.abc import Sequence

from guix_environment.errors import (
    BuildFailure,
    BuildInterrupted,
    BuildMemory,
    DaemonUnavailable,
    GuixSpawnerError,
    LimitReached,
)

LINES_SHOWN = 20
"""Lines of the failed part's own output that go into the error."""

LINES_SEARCHED = 400
"""Lines before the failure in which its cause is looked for."""

_NAME = r"/gnu/store/[0-9a-z]{32}-(?P<name>[^\s'`]+?)\.drv"
_BUILDER = re.compile(rf"builder for [`']{_NAME}' ")
_DERIVATION = re.compile(rf"build of [`']?{_NAME}'? failed")
_DEPENDENT = re.compile(rf"cannot build derivation [`']{_NAME}'")
_STARTED = re.compile(r"building .+\.\.\.$")
_STATUS = re.compile(r"failed with exit code (\d+)")
_SILENT = re.compile(r"timed out after (\d+) seconds of silence")
_LONG = re.compile(r"timed out after (\d+) seconds")
_MISMATCH = re.compile(r"hash mismatch")
_DOWNLOAD = re.compile(r"failed to download|some substitutes for the outputs of derivation .* failed|download failed")
_FULL = re.compile(r"No space left on device")
_NO_DAEMON = re.compile(
    r"^guix \w+: error: "
    r"(?:failed to connect to|fport_(?:read|write): |corrupt input while restoring archive from (?:#<|socket$))",
    re.MULTILINE,
)
"""The last two are what the client says when its connection to the daemon breaks off while it writes, and while it reads."""
_ENDED = re.compile(r"interrupted by the user|unexpected end-of-file|failed due to signal (?:2|9|15)\b")
_NOISE = re.compile(
    r"cannot build derivation|guix build: error|View build log|build of [`']?/gnu/store/|builder for [`']/gnu/store/"
    r"|^\s*$|^substitut|^downloading|^building |^successfully built"
)


ATTEMPTS = 4
"""How often Guix is run again after its client alone broke down; what is built by then stays built."""


def client_broke_down(log: str) -> bool:
    """Tell whether Guix's own display of its progress failed, and not the build.

    Guix 1.5.0 reads the daemon's messages block by block (``guix/status.scm``, ``build-event-output-port``); one about a
    download that is cut in two by the end of a block is not understood, and the client ends with a backtrace when the
    download does.  The longer the addresses, the likelier: those of wheels are long.
    """
    return "Backtrace:" in log and "In guix/status.scm" in log and "(compute-status" in log


def timed_out(log: str) -> bool:
    """Tell whether Guix's daemon says that it ended a build which took, or said nothing for, too long.

    The daemon measures that with the clock that can leap (``nix/libstore/build.cc``, `Worker::waitForInput`).
    """
    return bool(_LONG.search(log))


def too_much_memory(most: int | None) -> BuildMemory:
    """Return what people are told where Guix was ended as it held more than MOST bytes of memory."""
    allowed = f"more than {most / 1024**3:.1f} GiB of memory" if most else "more memory than there is"
    return BuildMemory(
        f"Guix needed {allowed} for this environment, and was ended.",
        hint="Ask for fewer packages, or ask the administrator for more memory (build_memory).",
    )


def without_daemon(log: str) -> bool:
    """Tell whether Guix's client says that the daemon does not answer, or answers no more."""
    return bool(_NO_DAEMON.search(log))


def daemon_unavailable() -> DaemonUnavailable:
    """Return what people are told where that is so."""
    return DaemonUnavailable(
        "Guix's daemon does not answer on this hub.", hint="The administrator can start it: guix-daemon."
    )


def reason(log: str, packages: Sequence[str] = ()) -> GuixSpawnerError:
    """Return the error that says why the build, whose LOG's end this is, failed.

    PACKAGES are the names in the manifest: the one that the failure belongs to is named.  The error's details hold the last
    lines of the failed part's own output.
    """
    if without_daemon(log):
        return daemon_unavailable()
    if _FULL.search(log):
        return LimitReached(
            "The hub's disk is full.", hint="Ask the administrator to free space, such as with `guix gc`; then build again."
        )
    lines = log.splitlines()
    failed, number = _first_failure(lines)
    if not failed:
        return _unexplained(lines)
    before = _own_lines(lines[max(0, number - LINES_SEARCHED) : number])
    cause, hint = _cause("\n".join([*before, *lines[number : number + 2]]))
    shown = [line for line in before if not _NOISE.search(line)][-LINES_SHOWN:]
    package = _named(lines[number:], packages)
    message = f"{package} cannot be built: it needs {failed}, {cause}." if package else f"{failed} is missing, {cause}."
    return BuildFailure(message, hint=hint, details={"failed": failed, "package": package, "log": shown})


def _first_failure(lines: Sequence[str]) -> tuple[str, int]:
    for number, line in enumerate(lines):
        if match := _BUILDER.search(line) or _DERIVATION.search(line):
            return match["name"], number
    return "", len(lines)


def _own_lines(lines: Sequence[str]) -> Sequence[str]:
    """Return those of LINES that come after the last start of a build: the output of the one that failed."""
    starts = [number for number, line in enumerate(lines) if _STARTED.match(line)]
    return lines[starts[-1] + 1 :] if starts else lines


def _cause(text: str) -> tuple[str, str]:
    """Return what TEXT says became of the part that failed, as the end of a sentence, and what to do about it."""
    other = "Leave the package out of the manifest, or name another version of it."
    if match := _SILENT.search(text) or _LONG.search(text):
        return f"which took longer than {int(match[1]) // 60} minutes", "Try again, or ask the administrator."
    if _MISMATCH.search(text):
        return "and what was downloaded is not what Guix expects", other
    if _DOWNLOAD.search(text):
        return "which could not be downloaded", f"Try again later, when the servers answer. Or l{other[1:]}"
    if _ENDED.search(text):
        return "which was ended from outside", "Build it again."
    if match := _STATUS.search(text):
        return f"whose build failed with status {match[1]}", f"The log says more. {other}"
    return "whose build failed", f"The log says more. {other}"


def _named(lines: Sequence[str], packages: Sequence[str]) -> str:
    """Return the package of the manifest that cannot be built for want of the failed part; empty when none is told."""
    for line in lines:
        match = _DEPENDENT.search(line)
        for package in packages if match else ():
            assert match is not None
            if re.fullmatch(rf"{re.escape(package)}-[0-9].*", match["name"]):
                return package
    return ""


def _unexplained(lines: Sequence[str]) -> GuixSpawnerError:
    shown = [line for line in lines if not _NOISE.search(line)][-LINES_SHOWN:]
    if _ENDED.search("\n".join(lines[-LINES_SHOWN:])):
        return BuildInterrupted("The build was ended from outside.", hint="Build it again.", details={"log": shown})
    said = shown[-1] if shown else "it did not say why"
    return BuildFailure(
        f"Guix could not build the environment: {said:.300}", hint="The log says more.", details={"log": shown}
    )
