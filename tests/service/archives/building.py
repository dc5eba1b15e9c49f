"""Environments of what archives keep, built by a pipeline that asks an archive on loopback, and what became of them."""

import subprocess
from pathlib import Path

from guix_build_service.archives.commits import Authorship
from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import BuildState, EnvironmentDetail, NewEnvironment, Person
from tests.git_server import IDENTITY

ADA, BOB = Person("ada"), Person("bob")


SAYS = Authorship("zenodo.org", "records@zenodo.org", 1560158871, "Record 7\n")


FILES = {"plots-1.0/manifest.scm": b"(list)", "plots-1.0/notes/a b.ipynb": b"{}"}


async def built(manager: Manager, address: str, ref: str = "", person: Person = ADA) -> EnvironmentDetail:
    """Return the environment of ADDRESS once its build has ended."""
    detail = await manager.add_environment(NewEnvironment(address, ref), person)
    if detail.build is not None:
        async for _ in manager.follow(detail.build.id, person):
            pass
    return await manager.environment(detail.environment.id, person)


def in_repository(tmp_path: Path, detail: EnvironmentDetail, *words: str) -> str:
    """Return what Git says of the repository that sessions of the environment in DETAIL take their copy from."""
    folder = tmp_path / "records" / "environments" / detail.environment.id / "repository.git"
    command = ["git", "--git-dir", str(folder), *words]
    return subprocess.run(command, env=IDENTITY, check=True, capture_output=True, text=True).stdout


def failed(detail: EnvironmentDetail) -> tuple[str, str]:
    """Return the code and the message of why the last build of the environment in DETAIL failed."""
    assert detail.build is not None
    assert detail.build.state is BuildState.FAILED
    error = detail.build.error or {}
    return str(error["code"]), str(error["message"])
