"""The variables of a profile, read from its ``etc/profile`` without running it.

Guix writes that file (``build-etc/profile`` in ``guix/build/profiles.scm``): comments, and lines of the form ``export
NAME="VALUE"`` whose values name the profile as ``${GUIX_PROFILE:-/gnu/store/…}`` and end, for a search path, with what the
variable held before.
"""

import re
from pathlib import Path

from guix_environment.errors import BuildFailure
from guix_environment.identifiers import StorePath, VariableName

LARGEST_PROFILE = 256 * 1024
"""Bytes."""

_EXPORT = re.compile(r'export ([A-Za-z_][A-Za-z0-9_]*)="([^"\\`]*)"')
_PROFILE = re.compile(r"\$\{GUIX_PROFILE:-(/gnu/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+)\}")


def read_variables(profile: StorePath) -> dict[VariableName, str]:
    """Return the variables that PROFILE sets, as they are where nothing was set before.

    Blocks for one small file.  Raises `BuildFailure` for a file of another form than Guix's.
    """
    try:
        with Path(profile, "etc/profile").open("rb") as file:
            text = file.read(LARGEST_PROFILE).decode()
    except FileNotFoundError:
        return {}
    return parse(text)


def parse(text: str) -> dict[VariableName, str]:
    """Return the variables that the file TEXT sets; see `read_variables`."""
    variables: dict[VariableName, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _EXPORT.fullmatch(line.strip())
        if not match:
            raise _strange(line)
        name, value = match.groups()
        # A search path goes before or after what the variable held (`environment-variable-definition`).
        value = re.sub(rf"\$\{{{name}:\+.\}}\${name}\Z", "", value)
        value = re.sub(rf"\A\${name}\$\{{{name}:\+.\}}", "", value)
        value = _PROFILE.sub(r"\1", value)
        if "$" in value:
            raise _strange(line)
        variables[VariableName(name)] = value
    return variables


def _strange(line: str) -> BuildFailure:
    return BuildFailure(
        f"The profile sets its variables in an unexpected way: {line:.200}",
        hint="Tell the administrator: this hub does not know this release of Guix.",
    )
