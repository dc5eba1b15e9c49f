"""What becomes of a server profile that cannot be built, or that two ask for at once.

The `guix` here is a script, since the real one does not fail, nor wait, when asked to.
"""

import asyncio
import os
from pathlib import Path

import pytest

from guix_build_service.pipeline.failures import ATTEMPTS
from guix_build_service.server_layer import profile as server_layer
from guix_build_service.server_layer.definitions import definitions_folder
from guix_build_service.server_layer.profile import ServerProfileSettings, ensure_server_profile
from guix_environment.errors import BuildFailure, BuildTimeout, GuixUnavailable
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import StorePath


@pytest.fixture
def settings(tmp_path: Path) -> ServerProfileSettings:
    return ServerProfileSettings(
        definitions=definitions_folder(),
        series="6",
        records=tmp_path / "records",
        roots=tmp_path / "roots",
        logs=tmp_path / "logs",
        guix=GuixCommand(str(tmp_path / "guix"), tmp_path, "ada"),
    )


def put_guix(settings: ServerProfileSettings, script: str) -> None:
    """Make SCRIPT what `guix package` does."""
    command = Path(settings.guix.program)
    command.write_text(f"#!/bin/sh\ncase $1 in gc) :;; package) {script} ;; esac\n")
    command.chmod(0o755)
    # The same Guix as before, whatever it does now.
    os.utime(command, (1, 1))


async def test_that_a_failed_build_says_why_and_leaves_no_record(settings: ServerProfileSettings) -> None:
    put_guix(settings, "echo building; echo 'guix package: error: build of thing.drv failed' >&2; exit 1")
    with pytest.raises(BuildFailure, match=r"build of thing\.drv failed") as raised:
        await ensure_server_profile(settings)
    [log] = settings.logs.iterdir()
    assert str(log) in raised.value.hint
    assert "building" in log.read_text()
    assert not (settings.records / "server.json").exists()


async def test_that_a_second_failure_is_not_explained_by_the_first(settings: ServerProfileSettings) -> None:
    put_guix(settings, "echo 'guix package: error: the first' >&2; exit 1")
    with pytest.raises(BuildFailure, match="the first"):
        await ensure_server_profile(settings)
    put_guix(settings, "exit 1")
    with pytest.raises(BuildFailure, match="no reason"):
        await ensure_server_profile(settings)


async def test_that_a_daemon_that_is_not_there_is_told_from_a_failed_build(settings: ServerProfileSettings) -> None:
    said = "guix package: error: failed to connect to `/var/guix/daemon-socket/socket': No such file or directory"
    put_guix(settings, f'echo "{said.replace("`", chr(39))}" >&2; exit 1')
    with pytest.raises(GuixUnavailable, match="daemon does not answer"):
        await ensure_server_profile(settings)


async def test_that_no_guix_at_all_is_said_as_such(
    settings: ServerProfileSettings,
) -> None:
    with pytest.raises(GuixUnavailable, match="no Guix"):
        await ensure_server_profile(settings)


async def test_that_a_build_that_takes_too_long_is_ended(
    settings: ServerProfileSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_layer, "BUILD_SECONDS", 0.2)
    put_guix(settings, "sleep 60")
    with pytest.raises(BuildTimeout):
        await ensure_server_profile(settings)


async def test_that_two_at_once_do_not_build_at_once(settings: ServerProfileSettings, tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    put_guix(
        settings,
        f"mkdir {busy} || {{ echo 'error: two at once' >&2; exit 1; }}; sleep 0.3; rmdir {busy}; "
        "echo 'error: one at a time' >&2; exit 1",
    )
    told: list[str] = []
    ended = await asyncio.gather(*(ensure_server_profile(settings, told.append) for _ in range(2)), return_exceptions=True)
    assert [str(error) for error in ended] == ["Guix could not build the server layer: one at a time"] * 2
    assert any("waiting" in sentence for sentence in told)


def test_that_a_profile_without_certificates_has_no_variables_for_them() -> None:
    assert server_layer.certificate_variables(StorePath("/gnu/store/" + "0" * 32 + "-profile")) == {}


async def test_that_guix_is_run_again_where_only_its_client_broke_down(
    settings: ServerProfileSettings, tmp_path: Path
) -> None:
    counter = tmp_path / "runs"
    said = "Backtrace:\nIn guix/status.scm:\n 282:33 (compute-status _ #f)\nguix/ui.scm:920:18: Wrong type argument"
    put_guix(settings, f"echo >> {counter}; printf '{said}' >&2; exit 1")
    with pytest.raises(BuildFailure):
        await ensure_server_profile(settings)
    assert len(counter.read_text().splitlines()) == ATTEMPTS
