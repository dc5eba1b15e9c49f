"""Find out what Guix consists of on this machine, so that a jail can show it and nothing else."""

import asyncio
import os
import shutil
from pathlib import Path

from guix_build_service.jail.plan import EvaluatingGuix
from guix_environment.container import STORE, Link, Mount
from guix_environment.errors import GuixUnavailable, InvalidInput
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import StorePath
from guix_environment.processes import run

_FOLDERS = ("bin", "lib", "lib64", "sbin", "etc/alternatives", "etc/ld.so.cache")
"""What programs of a distribution need beside ``/usr``."""

_MOST_LINKS = 20
_CLOSURE_SECONDS = 300.0
_LONGEST_CLOSURE = 4 * 1024 * 1024


async def evaluating_guix(command: GuixCommand, root: Path) -> EvaluatingGuix:
    """Return what COMMAND's Guix consists of: items of the store, or a distribution's files below ROOT.

    Raises `GuixUnavailable` for one that is neither.
    """
    if root != Path("/"):
        return await asyncio.to_thread(_distribution, root, f"/usr/bin/{Path(command.program).name}")
    program = await asyncio.to_thread(place_of, command)
    if program.startswith(f"{STORE}/"):
        return EvaluatingGuix(program, await _closure(command, program))
    if program.startswith("/usr/") and not program.startswith("/usr/local/"):
        return await asyncio.to_thread(_distribution, root, program)
    raise GuixUnavailable(
        f"Guix is the command {program} here, and which files it consists of is not known.",
        hint="Name the folder of the system that has it: c.ManifestEvaluation.guix_root",
    )


def place_of(command: GuixCommand) -> str:
    """Return where COMMAND's program lies in the end.

    Where it is of a profile, that is in the profile, by which Guix finds the packages that it knows by heart.  Blocks for a
    few system calls.  Raises `GuixUnavailable`.
    """
    found = shutil.which(command.program, path=command.search_path)
    if found is None:
        raise GuixUnavailable("This hub finds no Guix.", hint="The administrator can install it: https://guix.gnu.org/")
    place = Path(found)
    for _ in range(_MOST_LINKS):
        place = place.parent.resolve() / place.name
        in_profile = place.is_relative_to(STORE) and (place.parent.parent / "manifest").is_file()
        if in_profile or not place.is_symlink():
            break
        place = place.parent / place.readlink()
    return str(place)


async def _closure(command: GuixCommand, program: str) -> tuple[StorePath, ...]:
    item = "/".join(program.split("/")[:4])
    done = await run(
        (command.program, "gc", "--requisites", item),
        environment=command.environment(),
        timeout=_CLOSURE_SECONDS,
        limit=_LONGEST_CLOSURE,
    )
    try:
        items = tuple(sorted({StorePath(line) for line in done.output.decode().split()}))
    except (InvalidInput, UnicodeDecodeError):
        items = ()
    if not done.succeeded or not items:
        raise GuixUnavailable(
            "Guix does not say what it consists of.", hint="The administrator can start its daemon: guix-daemon."
        )
    return items


def _distribution(root: Path, program: str) -> EvaluatingGuix:
    """Return the files below ROOT that a distribution's PROGRAM is made of."""
    if not (root / program.lstrip("/")).is_file():
        raise GuixUnavailable(
            f"There is no {program} in {root}.", hint="Set c.ManifestEvaluation.guix_root to where Guix is."
        )
    mounts, links = [Mount(str(root / "usr"), "/usr")], []
    for name in _FOLDERS:
        place = root / name
        if place.is_symlink():
            links.append(Link(f"/{name}", os.readlink(place)))  # noqa: PTH115 - as it stands
        elif place.exists():
            mounts.append(Mount(str(place), f"/{name}"))
    return EvaluatingGuix(program, (), tuple(mounts), tuple(links))
