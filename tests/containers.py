"""Run a planned container in tests, on any machine that makes them."""

import asyncio
import os
import tempfile
from pathlib import Path

from guix_environment import process_identity
from guix_environment.container import ContainerPlan
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.launch import ColdLauncher

ACCOUNT = Account(70000, 70000) if os.geteuid() == 0 else Account(os.geteuid(), os.getegid())
"""Whom containers run as here: never root, which no session is."""


async def started(plan: ContainerPlan, log: int, account: Account = ACCOUNT) -> ProcessIdentity:
    """Return the first process of a container that was made of PLAN and runs its command."""
    waiting = await ColdLauncher().prepare(account, plan.network, log)
    await waiting.run(plan)
    return waiting.first


async def printed_in(plan: ContainerPlan, account: Account = ACCOUNT) -> str:
    """Return what PLAN's command printed until its container ended."""
    with tempfile.TemporaryFile() as log:
        first = await started(plan, log.fileno(), account)
        while process_identity.is_running(first):
            await asyncio.sleep(0.01)
        log.seek(0)
        return log.read().decode()


def processes_with(mark: str) -> list[Path]:
    """Return the processes whose command line holds MARK."""
    return [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _content(path)]


def processes_writing_to(descriptor: int) -> list[Path]:
    """Return the processes other than this one that have our open file DESCRIPTOR as their standard output."""
    wanted = os.fstat(descriptor)
    return [
        path.parents[1]
        for path in Path("/proc").glob("[0-9]*/fd/1")
        if _is(path, wanted) and path.parts[2] != str(os.getpid())
    ]


def _is(path: Path, wanted: os.stat_result) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
