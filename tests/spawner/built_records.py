"""An environment of everybody's, and the server profile, that the real Guix built for the tests."""

import asyncio
import getpass
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jupyterhub

from guix_build_service.pipeline.kernels import write_kernels
from guix_build_service.pipeline.variables import read_variables
from guix_build_service.server_layer.definitions import definitions_folder
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile
from guix_environment.identifiers import Commit, StorePath
from guix_environment.records import Records, Visibility
from tests.spawner.conftest import ENVIRONMENT, VERSION, environment, version

PACKAGES = ("python", "python-ipykernel", "python-pandas", "r-minimal", "r-irkernel")
"""What the environment of the tests asks for."""


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def built_records() -> Iterator[Path]:
    """Yield a folder of records with the server profile and an environment of everybody's, built by the real Guix.

    Where there is its store and no Guix, GUIX_TEST_RECORDS names such a folder, from elsewhere.
    """
    if elsewhere := os.environ.get("GUIX_TEST_RECORDS"):
        yield Path(elsewhere)
        return
    folder = Path(tempfile.mkdtemp(prefix="guixspawner-records-"))
    folder.chmod(0o755)
    roots = Path("/var/guix/profiles/per-user") / getpass.getuser() / f"guix-build-service-spawner-tests-{os.getpid()}"
    try:
        roots.mkdir(parents=True)
        series = jupyterhub.__version__.partition(".")[0]
        server = ServerProfileSettings(definitions_folder(), series, folder / "records", roots / "server", folder / "logs")
        asyncio.run(ensure_server_profile(server))
        output("guix", "package", f"--profile={roots / 'environment'}", "--install", *PACKAGES)
        _write_environment(
            Records(folder / "records"), StorePath(os.path.realpath(roots / "environment")), folder / "source"
        )
        yield folder / "records"
    finally:
        shutil.rmtree(roots, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _write_environment(records: Records, profile: StorePath, source: Path) -> None:
    bare = records.repository(ENVIRONMENT)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    output("git", "init", "--quiet", "--initial-branch=trunk", source)
    (source / "index.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    output("git", "-C", source, "add", ".")
    output("git", "-C", source, *identity, "commit", "--quiet", "--message=one")
    output("git", "clone", "--quiet", "--bare", source, bare)
    variables = read_variables(profile)
    fields = version()
    written = type(fields)(
        id=VERSION,
        commit=Commit(output("git", "-C", source, "rev-parse", "HEAD").strip()),
        ref="trunk",
        subdirectory="",
        profile=profile,
        closure=tuple(StorePath(item) for item in output("guix", "gc", "--requisites", profile).split()),
        variables=variables,
        kernels=write_kernels(profile, variables, records.kernels(ENVIRONMENT, VERSION)),
        size=1,
        notebook="index.ipynb",
    )
    records.write_version(ENVIRONMENT, written)
    records.write_environment(environment(visibility=Visibility.EVERYONE))
