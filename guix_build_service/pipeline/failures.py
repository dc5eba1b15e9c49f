"""Why Guix could not build something, found in what it wrote.

The lines are those of ``nix/libstore/build.cc`` and ``guix/status.scm`` in Guix 1.5.0.
"""

import re

from guix_environment.errors import BuildFailure, BuildInterrupted, GuixSpawnerError, GuixUnavailable, LimitReached

LINES_SHOWN = 20

_BUILDER = re.compile(r"builder for [`']/gnu/store/[0-9a-z]{32}-(?P<name>[^']+?)\.drv' ")
_DERIVATION = re.compile(r"build of /gnu/store/[0-9a-z]{32}-(?P<name>\S+?)\.drv failed")
_HASH_MISMATCH = re.compile(r"(?:output path|sha256 hash|hash mismatch).*/gnu/store/[0-9a-z]{32}-(?P<name>\S+?)['` ]")
_SILENT = re.compile(r"timed out after (\d+) seconds of silence")
_LONG = re.compile(r"timed out after (\d+) seconds")
_DOWNLOAD = re.compile(
    r"(?:failed to download|download failed|could not fetch|substitution .* failed|TLS error|host name lookup error)"
)
_UNSUBSTITUTABLE = re.compile(r"some substitutes for the outputs of derivation .*? failed")
_FULL = re.compile(r"No space left on device")
_NO_DAEMON = re.compile(r"failed to connect to [`'].*daemon")
_ENDED = re.compile(r"(?:Interrupted|interrupted by the user)")
_NOISE = re.compile(
    r"cannot build derivation|guix build: error|View build log|build of /gnu/store/|^\s*$|^substitut|^downloading"
)


def reason(log: str) -> GuixSpawnerError:
    """Return the error that says why the build, whose LOG's end this is, failed; the lines before it are its details."""
    if _NO_DAEMON.search(log):
        return GuixUnavailable(
            "Guix's daemon does not answer on this hub.", hint="The administrator can start it: guix-daemon."
        )
    if _FULL.search(log):
        return LimitReached(
            "The hub's disk is full.", hint="Ask the administrator to free space, such as with `guix gc`; then build again."
        )
    package, how, lines = _first_failure(log.splitlines())
    details = {"package": package, "log": lines}
    if _ENDED.search("\n".join(lines)):
        return BuildInterrupted("The build was ended from outside.", hint="Build it again.", details=details)
    if not package:
        last = next((line for line in reversed(lines) if line), "Guix did not say why.")
        return BuildFailure(f"Guix could not build the environment: {last:.300}", hint="The log says more.", details=details)
    return BuildFailure(
        f"The package {package} could not be built: {how}.",
        hint="Leave it out of the manifest or name another version of it, or try again when it was mended in Guix.",
        details=details,
    )


def _first_failure(lines: list[str]) -> tuple[str, str, list[str]]:
    for number, line in enumerate(lines):
        match = _BUILDER.search(line) or _DERIVATION.search(line)
        if match:
            shown = [text for text in lines[max(0, number - 3 * LINES_SHOWN) : number] if not _NOISE.search(text)]
            return match["name"], _how(lines[max(0, number - 3 * LINES_SHOWN) : number + 2]), shown[-LINES_SHOWN:]
    return "", "", [line for line in lines if not _NOISE.search(line)][-LINES_SHOWN:]


def _how(lines: list[str]) -> str:
    text = "\n".join(lines)
    if match := _SILENT.search(text):
        return f"it said nothing for {int(match[1]) // 60} minutes"
    if match := _LONG.search(text):
        return f"it took longer than {int(match[1]) // 60} minutes"
    if _HASH_MISMATCH.search(text) and "mismatch" in text:
        return "what was downloaded for it is not what Guix expects"
    if _UNSUBSTITUTABLE.search(text) or _DOWNLOAD.search(text):
        return "something that it needs could not be downloaded"
    if match := re.search(r"failed with exit code (\d+)", text):
        return f"its build ended with status {match[1]}"
    return "its build failed"
