"""What the server profile is made from, and when it counts as another one."""

import shutil
from pathlib import Path

import pytest

from guix_build_service.server_layer.definitions import (
    build_command,
    definition_files,
    definitions_folder,
    hub_series,
    locked_versions,
    profile_key,
)
from guix_environment.errors import Conflict

GUIX = "/gnu/store/x-guix/bin/guix"


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """Return a copy of the package definitions."""
    return Path(shutil.copytree(definitions_folder(), tmp_path / "guix"))


@pytest.mark.parametrize(
    ("version", "series"), [("5.5.4", "5"), ("5.9", "5"), ("6.0.1", "6"), ("6.1.1", "6"), ("6.2.0b1", "6")]
)
def test_that_a_hub_gets_the_layer_of_its_series(version: str, series: str) -> None:
    assert hub_series(version) == series


@pytest.mark.parametrize("version", ["4.1.6", "5.4.6", "7.0.0", "unknown"])
def test_that_another_hub_gets_none(version: str) -> None:
    with pytest.raises(Conflict, match=version):
        hub_series(version)


def test_that_the_installed_hub_is_supported() -> None:
    assert hub_series() in {"5", "6"}


@pytest.mark.parametrize(
    "file",
    [
        "server-layer/lock-6.json",
        "server-layer/install.py",
        "server-layer/configuration/etc/jupyter/jupyter_server_config.json",
        "guixspawner/packages/server-layer.scm",
        "guixspawner/server-profile.scm",
        "server-profile-hub-6.scm",
    ],
)
def test_that_the_key_follows_every_file(definitions: Path, file: str) -> None:
    before = profile_key(definitions, "6", GUIX)
    with (definitions / file).open("a") as changed:
        changed.write("\n")
    assert profile_key(definitions, "6", GUIX) != before


def test_that_the_key_follows_guix_and_the_series(definitions: Path) -> None:
    keys = {profile_key(definitions, series, guix) for series in ("5", "6") for guix in (GUIX, GUIX + " 2")}
    assert len(keys) == 4


def test_that_the_key_does_not_follow_what_is_not_in_the_profile(definitions: Path) -> None:
    before = profile_key(definitions, "6", GUIX)
    with (definitions / "server-layer/lock-5.json").open("a") as changed:
        changed.write("\n")
    (definitions / "README").write_text("")
    assert profile_key(definitions, "6", GUIX) == before


def test_that_the_key_is_the_same_wherever_the_files_are(definitions: Path) -> None:
    assert profile_key(definitions, "6", GUIX) == profile_key(definitions_folder(), "6", GUIX)


def test_that_every_definition_is_a_file(definitions: Path) -> None:
    for series in ("5", "6"):
        files = definition_files(definitions, series)
        assert files == sorted(files)
        assert all(file.is_file() for file in files)


def test_the_command_that_builds() -> None:
    command = build_command("/usr/bin/guix", Path("/share/guix"), "6", Path("/roots/key/profile"))
    assert command == (
        "/usr/bin/guix",
        "package",
        "--profile=/roots/key/profile",
        "--load-path=/share/guix",
        "--manifest=/share/guix/server-profile-hub-6.scm",
    )


def test_that_versions_are_those_of_the_lock() -> None:
    versions = locked_versions(definitions_folder(), "5")
    assert versions["jupyterhub"].startswith("5.5.")
    assert versions["jupyterlab"].startswith("4.6.")
