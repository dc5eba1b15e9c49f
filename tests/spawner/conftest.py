"""Records as the build service writes them, made up for tests that need no Guix."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guix_environment.identifiers import Commit, EnvironmentId, KernelName, StorePath, VariableName, VersionId
from guix_environment.process_identity import ProcessIdentity, identify
from guix_environment.records import EnvironmentRecord, Kernel, Records, ServerRecord, VersionRecord, Visibility

SERVER = StorePath("/gnu/store/" + "s" * 32 + "-profile")
PROFILE = StorePath("/gnu/store/" + "p" * 32 + "-profile")
BASH = StorePath("/gnu/store/" + "b" * 32 + "-bash-5.2.37")
ENVIRONMENT = EnvironmentId("eaaaaaaaaaaa")
VERSION = VersionId("vaaaaaaaaaaa")
OLD_VERSION = VersionId("vbbbbbbbbbbb")


def version(identifier: VersionId = VERSION) -> VersionRecord:
    return VersionRecord(
        id=identifier,
        commit=Commit("c0ffee" + "0" * 34),
        ref="main",
        subdirectory="",
        profile=PROFILE,
        closure=(PROFILE, BASH),
        variables={VariableName("PATH"): f"{PROFILE}/bin:/usr/bin:.", VariableName("GREETING"): 'it\'s\na "test"'},
        kernels=(Kernel(KernelName("python3"), "Python 3", "python"),),
        size=1,
        notebook="index.ipynb",
    )


def environment(**changes: object) -> EnvironmentRecord:
    fields: dict[str, object] = {
        "id": ENVIRONMENT,
        "name": "An analysis",
        "description": "",
        "repository": "https://git.example/somebody/analysis",
        "owner": "ada",
        "visibility": Visibility.PRIVATE,
        "groups": (),
        "current": VERSION,
        "memory": None,
        "cpu": None,
    }
    return EnvironmentRecord(**{**fields, **changes})  # type: ignore[arg-type]  # as the test has it


@pytest.fixture
def sleeping() -> Iterator[ProcessIdentity]:
    """A process that can stand for a session's first one, and that somebody waits for."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    process = identify(child.pid)
    assert process is not None
    yield process
    child.kill()
    reaper.join()


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Records with one private environment of ada's, of two versions."""
    records = Records(tmp_path / "records")
    records.write_server(
        ServerRecord("key", SERVER, (SERVER, BASH), {VariableName("PATH"): f"{SERVER}/bin"}, {"jupyterhub": "6.1.1"})
    )
    records.write_version(ENVIRONMENT, version(OLD_VERSION))
    records.write_version(ENVIRONMENT, version())
    records.write_environment(environment())
    return records
