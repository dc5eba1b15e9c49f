"""The corpora of addresses and refs, and how the service takes one."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts
from guix_build_service.pipeline.resolve import resolve
from guix_environment.errors import GuixSpawnerError, HostRefused, InvalidAddress, InvalidRef
from guix_environment.repository_url import RepositoryUrl

CORPORA = Path(__file__).parents[2] / "corpora"
FORGE = "https://forge.example/a/b"
REFUSALS = (InvalidAddress, InvalidRef, HostRefused)


def lines(file: str) -> list[str]:
    """Return the entries of FILE of the corpora."""
    return [line for line in (CORPORA / file).read_text().splitlines() if line and not line.startswith("#")]


HOSTILE_ADDRESSES: list[str] = [json.loads(line) for line in lines("hostile-addresses.txt")]
HOSTILE_REFS: list[str] = [json.loads(line) for line in lines("hostile-refs.txt")]


async def forbidden(host: str, port: int) -> Sequence[str]:
    """Fail the test that asks."""
    raise AssertionError(f"{host}:{port} was looked up")


def nothing_but_refusal() -> Hosts:
    """Return hosts that fail a test where one is looked up."""
    return Hosts(resolver=forbidden)


def no_git(folder: Path) -> Git:
    """Return a Git that tells by a file that it was run."""
    program = folder / "git"
    program.write_text(f"#!/bin/sh\ntouch {folder}/was-run\nexit 1\n")
    program.chmod(0o755)
    return Git(str(program), folder)


async def refused(git: Git, hosts: Hosts, address: str, ref: str) -> bool:
    """Tell whether the service refuses REF of the repository at ADDRESS, as it does where somebody asks for it."""
    try:
        await resolve(git, hosts, RepositoryUrl.parse(address), ref)
    except REFUSALS as error:
        return is_told_well(error)
    return False


def is_told_well(error: GuixSpawnerError) -> bool:
    """Tell whether a person learns from ERROR what to do, in a few words that do not repeat a password."""
    return bool(error.message and error.hint and len(error.message + error.hint) < 600) and "secret" not in str(
        error.as_json()
    )


def can_trace() -> bool:
    """Tell whether strace is here and may look on."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0
