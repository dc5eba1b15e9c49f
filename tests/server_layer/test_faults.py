"""What becomes of a server profile that cannot be built, or that two ask for at once.

The `guix` here is a script, since the real one does not fail, nor wait, when asked to.
"""

import asyncio
from pathlib import Path

import pytest

from guix_build_service import server_layer
from guix_build_service.server_definitions import definitions_folder
from guix_build_service.server_layer import ServerProfileSettings, ensure_server_profile, read_variables
from guix_environment.errors import BuildFailure, BuildTimeout, GuixUnavailable
from guix_environment.identifiers import StorePath


@pytest.fixture
def settings(tmp_path: Path) -> ServerProfileSettings:
    return ServerProfileSettings(
        definitions=definitions_folder(),
        series="6",
        records=tmp_path / "records",
        roots=tmp_path / "roots",
        logs=tmp_path / "logs",
    )


def put_guix(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make SCRIPT what `guix package` does."""
    command = folder / "guix"
    command.write_text(f'#!/bin/sh\ncase $1 in --version) echo "guix 1";; gc) :;; package) {script} ;; esac\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


async def test_that_a_failed_build_says_why_and_leaves_no_record(
    settings: ServerProfileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_guix(tmp_path, monkeypatch, "echo building; echo 'guix package: error: build of thing.drv failed' >&2; exit 1")
    with pytest.raises(BuildFailure, match=r"build of thing\.drv failed") as raised:
        await ensure_server_profile(settings)
    log = next(settings.logs.iterdir())
    assert str(log) in raised.value.hint
    assert "building" in log.read_text()
    assert not (settings.records / "server.json").exists()


async def test_that_a_second_failure_is_not_explained_by_the_first(
    settings: ServerProfileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_guix(tmp_path, monkeypatch, "echo 'guix package: error: the first' >&2; exit 1")
    with pytest.raises(BuildFailure, match="the first"):
        await ensure_server_profile(settings)
    put_guix(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(BuildFailure, match="no reason"):
        await ensure_server_profile(settings)


async def test_that_a_daemon_that_is_not_there_is_told_from_a_failed_build(
    settings: ServerProfileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "guix package: error: failed to connect to `/var/guix/daemon-socket/socket': No such file or directory"
    put_guix(tmp_path, monkeypatch, f'echo "{said.replace("`", chr(39))}" >&2; exit 1')
    with pytest.raises(GuixUnavailable, match="daemon does not answer"):
        await ensure_server_profile(settings)


async def test_that_no_guix_at_all_is_said_as_such(
    settings: ServerProfileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuixUnavailable, match="no command"):
        await ensure_server_profile(settings)


async def test_that_a_build_that_takes_too_long_is_ended(
    settings: ServerProfileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_layer, "BUILD_SECONDS", 0.2)
    put_guix(tmp_path, monkeypatch, "sleep 60")
    with pytest.raises(BuildTimeout):
        await ensure_server_profile(settings)


async def test_that_two_at_once_do_not_build_at_once(
    settings: ServerProfileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = tmp_path / "busy"
    put_guix(
        tmp_path,
        monkeypatch,
        f"mkdir {busy} || {{ echo 'error: two at once' >&2; exit 1; }}; sleep 0.3; rmdir {busy}; "
        "echo 'error: one at a time' >&2; exit 1",
    )
    told: list[str] = []
    ended = await asyncio.gather(*(ensure_server_profile(settings, told.append) for _ in range(2)), return_exceptions=True)
    assert [str(error) for error in ended] == ["Guix could not build the server layer: one at a time"] * 2
    assert any("waiting" in sentence for sentence in told)


def test_that_a_shells_own_variables_are_not_the_profiles() -> None:
    output = b"PATH=/a/bin:/b=c\0PWD=/\0SHLVL=0\0_=/a/env\0GUIX_PROFILE=/p\0GIT_EXEC_PATH=x\ny\0"
    assert read_variables(output) == {"PATH": "/a/bin:/b=c", "GIT_EXEC_PATH": "x\ny"}


def test_that_a_profile_without_certificates_has_no_variables_for_them() -> None:
    assert server_layer.certificate_variables(StorePath("/gnu/store/" + "0" * 32 + "-profile")) == {}
