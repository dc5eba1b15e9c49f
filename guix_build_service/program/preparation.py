"""What must be so before the service serves: what is lacking ends the program with one sentence that says what to do."""

import os
import shutil
import sys
from pathlib import Path

from guix_build_service.credentials.keys import KeysUnusable
from guix_build_service.git.git import PASSAGES, Git, check
from guix_build_service.model.turns import Limits
from guix_build_service.program.application import BuildService
from guix_build_service.settings.credentials import CredentialKeys
from guix_build_service.settings.isolation import Isolation
from guix_build_service.settings.ssh import SshHosts
from guix_build_service.store import Store
from guix_build_service.vault.seals import KeySource
from guix_build_service.web.secret_file import SecretFileUnsafe, read_or_make_secret
from guix_environment.errors import GuixSpawnerError


def prepare_folder(folder: Path) -> None:
    """Make the service's own FOLDER, closed to others, and the empty home that Guix and Git get.

    Raises `SystemExit` with one sentence where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "home").mkdir(exist_ok=True, mode=0o700)
        shutil.rmtree(folder / "home" / PASSAGES, ignore_errors=True)  # of a run that was killed
        (folder / "builds").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        sys.exit(f"guix-build-service: cannot write into {folder}: {error.strerror}")


async def check_git(git: Git) -> None:
    """Return if GIT can be used.  Raises `SystemExit` with what is lacking and what to do about it."""
    try:
        await check(git)
    except GuixSpawnerError as error:
        sys.exit(f"guix-build-service: {error.message} {error.hint}")


def check_ssh(service: BuildService) -> None:
    """Return if hosts can be used over SSH as configured.  Raises `SystemExit` with what is lacking."""
    try:
        SshHosts(parent=service).check(service.workshop().git.search_path)
    except ValueError as error:
        sys.exit(f"guix-build-service: {error}")


async def check_walls(service: BuildService) -> None:
    """Return if manifests that are run, where any are, can be kept apart from everything else.

    Raises `SystemExit` with what is lacking: what was asked for and cannot be had is not done without.
    """
    evaluation = service.workshop().evaluation
    if evaluation is None:
        return
    try:
        await evaluation.check()
    except GuixSpawnerError as error:
        sys.exit(f"guix-build-service: {error.message} {error.hint}")


async def check_isolation(service: BuildService) -> None:
    """Return if people can be kept apart as well as is configured.  Raises `SystemExit` with what is lacking."""
    workshop = service.workshop()
    try:
        await Isolation(config=service.config).check(workshop.guix, service.folder, workshop.evaluation)
    except GuixSpawnerError as error:
        sys.exit(f"guix-build-service: {error.message} {error.hint}")


async def open_store(service: BuildService, limits: Limits) -> Store:
    """Return the database, of this release's schema.  Raises `SystemExit` with what is lacking."""
    try:
        return await Store.open(service.database_address, limits)
    except GuixSpawnerError as error:
        sys.exit(f"guix-build-service: {error.message} {error.hint}")


def key_source(service: BuildService) -> KeySource:
    """Return where the keys of secrets come from.  Raises `SystemExit` with one sentence where no key can be made."""
    try:
        return CredentialKeys(parent=service).source(service.folder, os.environ)
    except (OSError, SecretFileUnsafe, KeysUnusable) as error:
        sys.exit(f"guix-build-service: {error}")


def cookie_secret(file: Path) -> bytes:
    """Return the key that cookies are signed with, made at the first start, so that a restart logs nobody out.

    Raises `SystemExit` with one sentence where the file cannot be trusted with it.
    """
    try:
        return read_or_make_secret(file)
    except (OSError, SecretFileUnsafe) as error:
        sys.exit(f"guix-build-service: {error}")
