"""Whether this machine can run sessions at all, asked before somebody waits for one."""

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from guix_environment import system_call_filter
from guix_environment.container import ContainerPlan, Network
from guix_environment.errors import ContainerFailure, SessionFailure
from guix_environment.identifiers import StorePath, VersionId
from guix_environment.processes import Account
from guix_environment.records import EnvironmentRecord, Records
from guix_environment.store_items import all_there
from guixspawner.launch import Launcher

_PROBE = ContainerPlan(store_items=(), command=("/nothing",), directory="/", variables={}, host_name="probe")
"""A container with everything but programs."""


async def check_containers(launcher: Launcher, account: Account, network: Network) -> None:
    """Make an empty container as ACCOUNT and return when that works.

    Takes some milliseconds.  Raises `SessionFailure`, which says what this machine does not allow.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        waiting = await launcher.prepare(account, network, nowhere)
        await waiting.run(replace(_PROBE, network=network, filter=system_call_filter.compiled()))
    except ContainerFailure as failure:
        if failure.details["step"] == "command":
            return
        raise SessionFailure(
            "This machine does not let ordinary accounts make containers, which sessions need.",
            hint="Whoever runs it can allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1 on Debian, "
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu 24.04 and later.",
            details=failure.details,
        ) from failure
    finally:
        os.close(nowhere)


def check_folders(account: Account, *folders: Path) -> None:
    """Return when ACCOUNT can come to FOLDERS, as far as their modes tell.  Raises `SessionFailure`."""
    for folder in folders:
        closed = first_closed_folder(folder)
        if account.uid != os.geteuid() and closed:
            raise SessionFailure(
                "A folder of this installation is closed to its sessions.",
                hint="Whoever runs it can choose another folder, or open this one; the hub's log says which.",
                details={"folder": f"{closed} lacks the permission “x” for others"},
            )


def check_server_items(items: Iterable[StorePath]) -> None:
    """Return when all ITEMS of the server profile are on this machine.  Blocks.  Raises `SessionFailure`."""
    if not all_there(items):
        raise SessionFailure(
            "A part of JupyterLab is no longer on this machine.",
            hint="Whoever runs this installation can build it again with: guix-build-service server-layer",
        )


def check_environment_items(name: str, items: Iterable[StorePath]) -> None:
    """Return when all ITEMS of the environment called NAME are on this machine.  Blocks.  Raises `SessionFailure`."""
    if not all_there(items):
        raise SessionFailure(
            f"A part of {name} is no longer on this machine.", hint="Its owner can build it again, on its page."
        )


def check_kept(records: Records, environment: EnvironmentRecord, version: VersionId) -> None:
    """Return when the profile of VERSION of ENVIRONMENT is kept.  Blocks.  Raises `SessionFailure`."""
    let_go = records.let_go(environment.id, version)
    if let_go is not None:
        raise SessionFailure(
            f"The packages of {environment.name} are no longer kept on this machine. {let_go.why}",
            hint="Its owner can build it again, on its page.",
        )


def first_closed_folder(path: Path) -> Path | None:
    """Return the first folder on the way to PATH that accounts other than its owner cannot enter, or None.

    Sessions under numbers of their own need the way to the homes and to the records to be open.
    """
    resolved = path.resolve()
    for folder in (*reversed(resolved.parents), resolved):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None
