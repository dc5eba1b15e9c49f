"""Find out what this machine has of what levels of isolation need."""

import asyncio
import contextlib
import os
import stat
from pathlib import Path

from guix_build_service.isolation.levels import Facts
from guix_build_service.jail.evaluate import walls
from guix_build_service.jail.evaluation import Evaluation, account_for
from guix_environment.errors import GuixSpawnerError
from guix_environment.guix_command import GuixCommand
from guix_environment.processes import Account, run

_SECONDS = 60.0
_NOBODY = Account(65534, 65534)


async def facts(guix: GuixCommand, folder: Path, evaluation: Evaluation | None, *, guix_is_mended: bool) -> Facts:
    """Return what is so of this machine, of GUIX, of the service's FOLDER and of how manifests are run by EVALUATION.

    Takes the time that Guix needs to tell its version, and some milliseconds.
    """
    return Facts(
        root=os.geteuid() == 0,
        containers=await _containers(),
        controllers=await asyncio.to_thread(controllers),
        daemon=await asyncio.to_thread(daemon_words),
        guix=await _version(guix),
        guix_is_mended=guix_is_mended,
        folder_open=await asyncio.to_thread(_is_open, folder),
        evaluates=evaluation is not None,
        evaluates_apart=evaluation is not None and await asyncio.to_thread(_apart, evaluation),
    )


async def _containers() -> str:
    try:
        await walls(_NOBODY if os.geteuid() == 0 else account_for(""))
    except GuixSpawnerError as error:
        return str(error.details.get("reason") or error.message)
    return ""


async def _version(guix: GuixCommand) -> str:
    with contextlib.suppress(OSError):
        done = await run(guix.version(), environment=guix.environment(), timeout=_SECONDS)
        if done.succeeded:
            return done.output.decode(errors="replace").partition("\n")[0]
    return ""


def controllers(root: Path = Path("/sys/fs/cgroup"), table: Path = Path("/proc/cgroups")) -> frozenset[str]:
    """Return what the cgroups mounted at ROOT bound: those of version 2, and those of version 1 in TABLE.  Blocks."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        found |= set((root / "cgroup.controllers").read_text().split())
    with contextlib.suppress(OSError):
        enabled = [line.split() for line in table.read_text().splitlines() if not line.startswith("#")]
        found |= {fields[0] for fields in enabled if fields[3:4] == ["1"] and (root / fields[0]).is_dir()}
    return frozenset(found)


def daemon_words(processes: Path = Path("/proc")) -> tuple[str, ...] | None:
    """Return the command line of the first guix-daemon among PROCESSES, or None.  Blocks."""
    for folder in sorted((path for path in processes.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if any(Path(word).name == "guix-daemon" for word in words[:2]):
                return tuple(words)
    return None


def _is_open(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def _apart(evaluation: Evaluation) -> bool:
    try:
        return account_for(evaluation.account).uid != os.geteuid()
    except GuixSpawnerError:
        return False
