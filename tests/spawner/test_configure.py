"""One call that sets up a hub."""

import json
import os
import pwd
from pathlib import Path

import pytest
from traitlets.config import Config

from guix_build_service.isolation.levels import Level
from guix_build_service.program.application import BuildService
from guix_build_service.settings.isolation import Isolation
from guix_build_service.settings.login_tokens import LoginTokenHosts
from guixspawner import GuixSpawner
from guixspawner.configure import configure, roots_folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def configured(state: Path, c: Config | None = None, **options: object) -> Config:
    c = c or Config()
    configure(c, state_folder=state, **options)  # type: ignore[arg-type]  # as the test has it
    return c


def service(c: Config) -> dict[str, object]:
    [found] = [one for one in c.JupyterHub.services if one["name"] == "guix"]
    assert isinstance(found, dict)
    return found


def test_the_folders_are_as_open_as_they_must_be(state: Path) -> None:
    before = os.umask(0o077)
    try:
        configured(state)
    finally:
        os.umask(before)
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in state.iterdir()}
    assert modes == {"records": 0o755, "homes": 0o711, "hub": 0o700, "service": 0o700, "sessions": 0o700, "run": 0o711}
    assert state.stat().st_mode & 0o777 == 0o755
    (state / "homes").chmod(0o750)
    configured(state)
    assert (state / "homes").stat().st_mode & 0o777 == 0o750, "what the administrator changed stays"


def test_spawner_and_service_are_told_of_the_same_folders(state: Path) -> None:
    c = configured(state)
    assert c.JupyterHub.spawner_class is GuixSpawner
    assert f"--BuildService.records_folder={c.GuixSpawner.records_folder}" in service(c)["command"]  # type: ignore[operator]
    assert f"--BuildService.leases_folder={c.GuixSpawner.leases_folder}" in service(c)["command"]  # type: ignore[operator]
    assert c.GuixSpawner.leases_folder.startswith(str(roots_folder()))
    assert c.GuixSpawner.leases_folder != configured(state / "other").GuixSpawner.leases_folder


def test_what_a_person_configures_of_their_own_server_does_not_run_with_its_rights(state: Path) -> None:
    assert GuixSpawner(config=configured(state)).disable_user_config


def test_every_trait_that_is_set_exists(state: Path) -> None:
    c = configured(state)
    assert set(c.GuixSpawner) <= set(GuixSpawner.class_trait_names(config=True))


def test_ports_stay_the_same_and_are_free(state: Path) -> None:
    one, again = configured(state, port=18700), configured(state, port=18700)
    ports = [one.JupyterHub.hub_bind_url, one.ConfigurableHTTPProxy.api_url, service(one)["url"]]
    assert ports == [again.JupyterHub.hub_bind_url, again.ConfigurableHTTPProxy.api_url, service(again)["url"]]
    assert len({*ports, "http://127.0.0.1:18700"}) == 4


def test_what_the_administrator_has_is_kept(state: Path) -> None:
    c = Config()
    c.JupyterHub.services = [{"name": "other"}]
    c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "shares!user"]}, {"name": "lab", "scopes": []}]
    c.JupyterHub.template_paths.append("/srv/templates")
    configured(state, c)
    assert [one["name"] for one in c.JupyterHub.services] == ["other", "cull-idle", "guix"]
    assert c.JupyterHub.load_roles[0]["scopes"] == ["self", "shares!user", "access:services!service=guix"]
    assert [role["name"] for role in c.JupyterHub.load_roles] == ["user", "lab", "cull-idle"]
    first, second = c.JupyterHub.template_paths
    assert first == "/srv/templates"
    assert (Path(second) / "spawn.html").exists()
    assert not (Path(second) / "page.html").exists(), "it would take the place of the whole hub's"


def test_everybody_may_use_the_service(state: Path) -> None:
    c = configured(state, idle_timeout=0)
    assert c.JupyterHub.load_roles == [{"name": "user", "scopes": ["self", "access:services!service=guix"]}]


def test_idle_sessions_are_ended_after_a_day_unless_said_otherwise(state: Path) -> None:
    c = configured(state)
    [culler] = [one for one in c.JupyterHub.services if one["name"] == "cull-idle"]
    assert {"--timeout=86400", "--max-age=0"} <= set(culler["command"])
    assert (c.SessionLife.idle_timeout, c.SessionLife.maximal_age) == (86400, 0)
    never = configured(state, idle_timeout=0, maximal_age=0)
    assert [one["name"] for one in never.JupyterHub.services] == ["guix"]
    aged = configured(state, idle_timeout=0, maximal_age=3600)
    assert [one["name"] for one in aged.JupyterHub.services] == ["cull-idle", "guix"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other groups")
def test_the_services_account_reads_sessions_logs_and_nothing_beside_them(state: Path) -> None:
    folder = state / "sessions" / "ada"
    folder.mkdir(parents=True)
    for name in ("default.log", "default.log.1", "default.json"):
        (folder / name).touch(mode=0o600)
    configured(state, service_account="nobody")
    group = pwd.getpwnam("nobody").pw_gid
    found = {
        path.name: (path.stat().st_gid, path.stat().st_mode & 0o7777) for path in (folder.parent, *folder.parent.rglob("*"))
    }
    assert found == {
        "sessions": (group, 0o2750),
        "ada": (group, 0o2750),
        "default.log": (group, 0o640),
        "default.log.1": (group, 0o640),
        "default.json": (0, 0o600),
    }
    configured(state)
    assert (state / "sessions").stat().st_mode & 0o7777 == 0o700


def test_what_the_service_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIX_DAEMON_SOCKET", "/var/guix/other")
    monkeypatch.setenv("SECRET_OF_THE_HUB", "x")
    environment = {"repo": "file:///srv/a b", "name": 'An "example"'}
    c = configured(
        state,
        base_url="/hub-of-ours",
        private_hosts=["127.0.0.1:3000"],
        file_repositories=[Path("/srv")],
        initial_environments=[environment],
        initial_owner="ada",
    )
    command = service(c)["command"]
    assert isinstance(command, list)
    assert "--BuildService.private_hosts=127.0.0.1:3000" in command
    assert "--BuildService.file_repositories=/srv" in command
    assert "--BuildService.initial_owner=ada" in command
    [written] = [word.partition("=")[2] for word in command if word.startswith("--BuildService.initial_environments=")]
    assert json.loads(written) == environment
    variables = service(c)["environment"]
    assert isinstance(variables, dict)
    assert variables["GUIX_DAEMON_SOCKET"] == "/var/guix/other"
    assert "SECRET_OF_THE_HUB" not in variables
    assert c.JupyterHub.bind_url == "http://127.0.0.1:8000/hub-of-ours/"
    assert c.JupyterHub.default_url == "/hub-of-ours/services/guix/"


def test_the_service_understands_what_it_is_told_of_walls(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    c = configured(
        state,
        certificate_authorities=Path("authorities.pem"),
        allowed_channels=[{"name": "lab", "url": "file:///srv/lab", "unauthenticated": True}],
        isolation="people",
        guix_is_mended=True,
        run_manifests_of=["https://codeberg.org/ours/*", "git.example.edu"],
        run_manifests_for=["our group"],
        run_manifests_as="guix-manifests",
        build_definitions_of=["https://codeberg.org/ours/tools"],
        build_definitions_for=["developers"],
        download_definitions_from=["files.example.edu"],
    )
    told = service(c)["command"]
    assert isinstance(told, list)
    program = BuildService()
    program.initialize(told[3:])
    assert [channel.name for channel in program.workshop().allowed_channels] == ["lab"]
    assert program.certificate_authorities == f"{tmp_path}/authorities.pem"
    isolation = Isolation(config=program.config)
    assert (isolation.wanted, isolation.guix_is_mended) == (Level.PEOPLE, True)
    evaluation = program.workshop().evaluation
    assert evaluation is not None
    assert evaluation.repositories == ("https://codeberg.org/ours/*", "git.example.edu")
    assert evaluation.groups == {"our group"}
    assert evaluation.building_repositories == ("https://codeberg.org/ours/tools",)
    assert evaluation.building_groups == {"developers"}
    assert evaluation.download_hosts == ("files.example.edu",)
    assert evaluation.account == "guix-manifests"


def test_the_service_understands_which_repositories_may_be_used_and_reads_a_file_for_the_rest(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("service_config.py").write_text(
        "c = get_config()\nc.BuildService.running_builds = 7\nc.BuildService.running_builds_per_host = 5\n"
    )
    c = configured(
        state,
        allowed_repositories=["*.example.edu", "https://codeberg.org/ours/*"],
        banned_repositories=["https://git.example.edu/big/*", "old.example.edu"],
        running_builds_per_host=1,
        service_configuration=Path("service_config.py"),
    )
    told = service(c)["command"]
    assert isinstance(told, list)
    program = BuildService()
    program.initialize(told[3:])
    assert program.allowed_repositories == ["*.example.edu", "https://codeberg.org/ours/*"]
    assert program.banned_repositories == ["https://git.example.edu/big/*", "old.example.edu"]
    assert program.running_builds == 7
    assert program.running_builds_per_host == 1, "what `configure` is told comes before the file"


def test_every_repository_may_be_used_unless_somebody_says_otherwise(state: Path) -> None:
    told = service(configured(state))["command"]
    assert isinstance(told, list)
    kinds = ("allowed_repositories", "banned_repositories", "running_builds_per_host", "config_file")
    assert not [word for word in told for kind in kinds if word.startswith(f"--BuildService.{kind}")]


def test_no_manifest_is_run_and_nothing_promised_unless_somebody_says_so(state: Path) -> None:
    told = service(configured(state))["command"]
    assert isinstance(told, list)
    assert not [word for word in told if word.startswith(("--ManifestEvaluation", "--Isolation"))]
    assert not [word for word in told if "certificate_authorities" in word]


def test_a_service_account_gets_what_the_service_needs_and_nothing_of_the_hubs(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another account")
    monkeypatch.setattr(
        "guixspawner.configure.roots_folder", lambda account="": state / "roots" / (account or "hub") / "links"
    )
    monkeypatch.setenv("HOME", "/root")
    configured(state)
    (state / "service" / "service.sqlite").touch()
    c = configured(state, service_account="nobody")
    assert service(c)["user"] == "nobody"
    assert "HOME" not in service(c)["environment"]  # type: ignore[operator]
    roots = f"--BuildService.roots_folder={state}/roots/nobody/links"
    assert roots in service(c)["command"]  # type: ignore[operator]
    assert "nobody" not in c.GuixSpawner.leases_folder
    theirs = {path.name for path in [*state.iterdir(), *(state / "service").iterdir()] if path.owner() == "nobody"}
    assert theirs == {"records", "service", "service.sqlite"}
    assert (state / "service").stat().st_mode & 0o777 == 0o700
    assert (state / "roots" / "nobody").owner() == "nobody"


def test_tokens_of_logins_are_read_only_where_that_is_asked_for(state: Path) -> None:
    without = configured(state)
    assert "enable_auth_state" not in without.Authenticator
    assert "admin:auth_state" not in str(without.JupyterHub.load_roles)
    c = configured(state, login_tokens={"github.com": "access_token"})
    assert c.Authenticator.enable_auth_state is True
    [role] = [role for role in c.JupyterHub.load_roles if "admin:auth_state" in role["scopes"]]
    assert (role["services"], role["scopes"]) == (["guix"], ["admin:auth_state", "read:users:name"])
    told = service(c)["command"]
    assert isinstance(told, list)
    program = BuildService()
    program.initialize(told[3:])
    assert LoginTokenHosts(parent=program).places() == {"github.com": "access_token"}
