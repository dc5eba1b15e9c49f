"""The service as a program: what it needs of its surroundings, and how it starts and ends."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from traitlets import TraitError

from guix_build_service.command_line import main
from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import BuildState
from guix_build_service.program.application import BuildService
from guix_build_service.program.initial_environments import add_initial_environments
from guix_build_service.program.preparation import check_isolation, check_walls, cookie_secret
from guix_build_service.store.engine import open_database
from guix_environment.process_identity import identify, is_running, send_signal
from tests.ports import free_port
from tests.service.installation import BOB
from tests.service.listing import environments_for
from tests.service.scripted import scripted

HUB = {
    "JUPYTERHUB_API_TOKEN": "token",
    "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
    "JUPYTERHUB_BASE_URL": "/",
    "JUPYTERHUB_CLIENT_ID": "service-guix",
    "JUPYTERHUB_HOST": "",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:services!service=guix"]',
    "JUPYTERHUB_OAUTH_CALLBACK_URL": "/services/guix/oauth_callback",
    "JUPYTERHUB_SERVICE_NAME": "guix",
    "JUPYTERHUB_SERVICE_PREFIX": "/services/guix/",
}


@contextmanager
def running(
    folder: Path, *options: str, port: int | None = None, given: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the service as a hub does: with nothing in its environment but what the hub gives, such as GIVEN."""
    address = f"http://127.0.0.1:{port or free_port()}"
    command = [
        *(sys.executable, "-m", "guix_build_service"),
        f"--BuildService.service_folder={folder}/service",
        f"--BuildService.records_folder={folder}/records",
        f"--BuildService.roots_folder={folder}/roots",
        *options,
    ]
    environment = {**HUB, "PATH": os.environ["PATH"], "JUPYTERHUB_SERVICE_URL": address, **(given or {})}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=Path(__file__).parents[3])
    try:
        yield process, f"{address}/services/guix/"
    finally:
        process.kill()
        process.wait()


def answer(address: str, seconds: float = 120) -> dict[str, object]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                content: dict[str, object] = json.load(response)
                return content
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_service_starts_with_next_to_nothing_and_ends_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as (process, address):
        assert answer(f"{address}health")["status"] == "ok"
        assert (tmp_path / "service").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "service/cookie-secret").stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert b"Traceback" not in (tmp_path / "output").read_bytes()


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(tmp_path, port=port) as (process, _):
            assert process.wait(120) == 1
    said = (tmp_path / "output").read_text()
    assert said.endswith(f"guix-build-service: cannot listen at http://127.0.0.1:{port}: Address already in use\n")
    assert "Traceback" not in said


def test_a_setting_that_does_not_exist_or_fit_is_one_sentence(tmp_path: Path) -> None:
    with running(tmp_path, "--BuildService.running_builds=0") as (process, _):
        assert process.wait(120) == 1
    said = (tmp_path / "output").read_text()
    assert "running_builds" in said
    assert "Traceback" not in said


def test_without_a_hub_it_says_who_starts_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    BuildService.clear_instance()
    assert main(["serve"]) == 1
    assert "JupyterHub starts the service" in capsys.readouterr().err
    BuildService.clear_instance()
    assert main(["no-such-command"]) == 2


def test_the_key_of_cookies_stays_the_same(tmp_path: Path) -> None:
    secret = cookie_secret(tmp_path / "secret")
    assert len(secret) == 32
    assert cookie_secret(tmp_path / "secret") == secret
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(SystemExit, match="can be read by others"):
        cookie_secret(tmp_path / "secret")


def test_the_hub_s_command_line_is_understood(tmp_path: Path) -> None:
    service = BuildService()
    first, second = {"repo": "https://forge.example/a", "name": "A"}, {"repo": "https://forge.example/b"}
    service.initialize(
        [
            "--BuildService.private_hosts=127.0.0.1:3000",
            f"--BuildService.file_repositories={tmp_path}",
            f"--BuildService.initial_environments={json.dumps(first)}",
            f"--BuildService.initial_environments={json.dumps(second)}",
            "--BuildService.initial_owner=demo",
        ]
    )
    assert service.private_hosts == ["127.0.0.1:3000"]
    assert service.initial_environments == [first, second]
    one = BuildService()
    one.initialize([f"--BuildService.initial_environments={json.dumps(first)}"])
    assert one.initial_environments == [first]


@pytest.mark.parametrize("address", ["postgresql://guix:secret@host/guix", "postgresql://guix@host/guix?password=secret"])
def test_a_password_of_the_database_on_the_command_line_is_refused_and_in_a_file_taken(tmp_path: Path, address: str) -> None:
    with running(tmp_path, f"--BuildService.database_url={address}") as (process, _):
        assert process.wait(60) == 1
    told = (tmp_path / "output").read_text()
    assert "belongs into config_file" in told
    assert "secret" not in told
    (tmp_path / "config.py").write_text(f"c.BuildService.database_url = {address!r}\n")
    service = BuildService()
    service.initialize([f"--BuildService.config_file={tmp_path}/config.py"])
    assert service.database_url == address


def test_the_database_is_taken_back_for_an_earlier_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"--BuildService.service_folder={tmp_path}"
    open_database(f"sqlite:///{tmp_path}/service.sqlite").dispose()
    BuildService.clear_instance()
    assert main(["downgrade", "0002", folder]) == 0
    assert "schema 0002 now" in capsys.readouterr().err
    for words, status in (((), 2), (("0001", "0002"), 2), (("nonsense",), 1)):
        BuildService.clear_instance()
        assert main(["downgrade", *words, folder]) == status
        assert capsys.readouterr().err.startswith("guix-build-service: ")
    BuildService.clear_instance()
    open_database(f"sqlite:///{tmp_path}/service.sqlite").dispose()


async def test_initial_environments_are_added_once_even_when_they_were_deleted(tmp_path: Path) -> None:
    wanted = [
        {"repo": "https://forge.example/a", "name": "A", "description": "The first."},
        {"repo": "no address"},
        {"repo": "https://forge.example/b"},
    ]

    async def add(manager: Manager) -> list[str]:
        await add_initial_environments(manager, wanted, "demo", tmp_path / "initial-environments.json")
        details = await environments_for(BOB, manager)
        return [detail.environment.name for detail in details]

    async with scripted(tmp_path) as (installation, _):
        assert await add(installation.manager) == ["A", "b"]
        assert await add(installation.manager) == ["A", "b"]
        [first, second] = await environments_for(BOB, installation.manager)
        assert first.environment.owner == "demo"
        assert (await installation.finished(first)).state is BuildState.READY
        await installation.finished(second)
        await installation.store.remove_environment(first.environment.id)
    async with scripted(tmp_path) as (installation, _):
        assert await add(installation.manager) == ["b"]


def test_two_services_of_one_account_do_not_share_their_roots(tmp_path: Path) -> None:
    folders = []
    for name in ("one", "two", "one"):
        service = BuildService(service_folder=str(tmp_path / name), roots_folder="/var/guix/profiles/per-user/x/y")
        folders.append(service.workshop().roots.folder)
        # The server profile is the same for all of them.
        assert service.roots == Path("/var/guix/profiles/per-user/x/y")
    assert folders[0] == folders[2] != folders[1]
    assert all(folder.is_relative_to("/var/guix/profiles/per-user/x/y/environments") for folder in folders)


async def test_it_does_not_begin_where_manifests_would_be_run_without_walls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    service = BuildService()
    await check_walls(service)
    service.config.ManifestEvaluation.repositories = ["git.example.edu"]
    service.config.ManifestEvaluation.account = "root"
    with pytest.raises(SystemExit, match="not run as root"):
        await check_walls(service)


def test_channels_are_checked_when_they_are_configured() -> None:
    with pytest.raises(TraitError, match="has not name, url, commit and fingerprint"):
        BuildService(allowed_channels=[{"name": "science"}])
    channel = {"name": "science", "url": "https://example.org/c.git", "commit": "a" * 40, "fingerprint": "AB CD" * 10}
    assert BuildService(allowed_channels=[channel]).workshop().allowed_channels[0].addresses == (
        "https://example.org/c.git",
    )


async def test_it_does_not_begin_below_the_isolation_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    service = BuildService(guix="no-such-guix")
    await check_isolation(service)
    service.config.Isolation.level = "strangers"
    with pytest.raises(SystemExit, match="isolation strangers was asked for") as caught:
        await check_isolation(service)
    assert "Guix does not answer" in str(caught.value)


def test_the_doctor_says_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--BuildService.guix=no-such-guix", "--Isolation.level=people", "--json"]
    assert main(["doctor", *words]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["good"]
    there = {need["name"]: need["there"] for need in found["needs"]}
    assert there["Guix"] is False
    assert there["the running service"] is None
    assert found["isolation"]["wanted"] == "people"
    names = [finding["name"] for finding in found["isolation"]["findings"]]
    assert names == ["containers", "builds", "rights", "bounds", "folder", "guix", "downloads", "manifests"]
    BuildService.clear_instance()
    assert main(["doctor", *words[:-1]]) == 1
    assert "people is asked for, and the service does not start" in capsys.readouterr().out
    BuildService.clear_instance()


def test_the_service_of_a_hub_that_was_killed_makes_room_for_the_next_one_at_the_same_port(tmp_path: Path) -> None:
    port = free_port()
    places = [f"--BuildService.{name}_folder={tmp_path}/{name}" for name in ("service", "records", "roots")]
    command = shlex.join([sys.executable, "-m", "guix_build_service", *places])
    environment = {**HUB, "PATH": os.environ["PATH"], "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}"}
    hub = subprocess.Popen(
        ["sh", "-c", f"{command} >/dev/null 2>&1 & echo $!; wait"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert hub.stdout is not None
    left = identify(int(hub.stdout.readline()))
    assert left is not None
    try:
        answer(f"http://127.0.0.1:{port}/services/guix/health")
        hub.kill()
        hub.wait()
        assert is_running(left), "as nobody told it to end"
        with running(tmp_path, port=port) as (process, address):
            while is_running(left):
                assert process.poll() is None
                time.sleep(0.05)
            assert answer(f"{address}health")["status"] == "ok"
    finally:
        send_signal(left, signal.SIGKILL)
