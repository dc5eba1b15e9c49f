"""What is looked at before somebody waits for a session, and what is told of a machine that cannot run any."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guix_environment.container import Network
from guix_environment.errors import ContainerFailure, SessionFailure
from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.processes import Account
from guix_environment.records import EnvironmentRecord, LetGo, Records, Visibility
from guixspawner.checks import (
    check_containers,
    check_environment_items,
    check_folders,
    check_kept,
    check_server_items,
    first_closed_folder,
)
from guixspawner.launch import ColdLauncher
from tests.containers import ACCOUNT
from tests.spawner.conftest import PROFILE

OWN = Account(os.geteuid(), os.getegid())


async def test_this_machine_makes_containers() -> None:
    for network in Network:
        await check_containers(ColdLauncher(), ACCOUNT, network)


async def test_what_the_machine_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> None:
        raise ContainerFailure("…", details={"step": "namespaces", "reason": "new namespaces: Operation not permitted"})

    monkeypatch.setattr(ColdLauncher, "prepare", refused)
    with pytest.raises(SessionFailure, match="does not let ordinary accounts make containers") as told:
        await check_containers(ColdLauncher(), ACCOUNT, Network.OWN)
    assert "max_user_namespaces" in told.value.hint or "sysctl" in told.value.hint


def test_a_collected_item_is_told() -> None:
    with pytest.raises(SessionFailure, match="A part of Plots is no longer on this machine") as lost:
        check_environment_items("Plots", [PROFILE])
    assert "build it again" in lost.value.hint
    with pytest.raises(SessionFailure, match="A part of JupyterLab is no longer on this machine"):
        check_server_items([PROFILE])


def test_a_profile_that_is_no_longer_kept_is_told_although_it_is_still_there(tmp_path: Path) -> None:
    records, version = Records(tmp_path), VersionId.new()
    environment = EnvironmentRecord(
        EnvironmentId.new(), "Plots", "", "https://git.example/a", "ada", Visibility.PRIVATE, (), version, None, None
    )
    records.version_folder(environment.id, version).mkdir(parents=True)
    check_kept(records, environment, version)
    records.write_let_go(environment.id, version, LetGo(datetime(2026, 6, 1, tzinfo=UTC), "It was not used for 9 days."))
    with pytest.raises(SessionFailure, match="Plots are no longer kept on this machine") as told:
        check_kept(records, environment, version)
    assert "It was not used for 9 days." in told.value.message
    assert "build it again" in told.value.hint
    records.remove_let_go(environment.id, version)
    check_kept(records, environment, version)


def test_a_folder_that_others_cannot_enter_is_found(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/") and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    assert first_closed_folder(inner) is None
    inner.parent.chmod(0o700)
    assert first_closed_folder(inner) == inner.parent
    check_folders(OWN, inner)
    with pytest.raises(SessionFailure, match="closed to its sessions") as closed:
        check_folders(Account(OWN.uid + 1, OWN.gid), inner)
    assert str(inner.parent) in str(closed.value.details)
