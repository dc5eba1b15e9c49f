"""The token with which somebody logged in at a forge opens their repositories there, and nothing anywhere else."""

import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from traitlets import TraitError

from guix_build_service.command_line import main
from guix_build_service.credentials.envelope import Secret
from guix_build_service.credentials.keys import GivenKeys, parse_keys
from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.pipeline.resolve import resolve
from guix_build_service.program.application import BuildService
from guix_build_service.settings.login_tokens import LoginTokenHosts
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.login_tokens import ANY_USER, SCOPES, LoginTokens, ReadAuthState, ReadScopes
from guix_build_service.vault.vault import Vault
from guix_build_service.web.hub_client import HubClient, HubUnavailable
from guix_environment.errors import CredentialUnusable, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import GitServer, serve_git
from tests.service.program.test_application import answer, running
from tests.service.web.real_hub import RealHub, running_hub

TOKEN = "gho-token-of-a-login-at-the-forge"
READER, STRANGER = "token-of-who-may-read", "token-of-who-may-not"
LETS_READ = f"""
from jupyterhub.auth import DummyAuthenticator
class OfAForge(DummyAuthenticator):
    async def authenticate(self, handler, data):
        state = {{"access_token": "{TOKEN}", "user": {{"login": data["username"]}}}}
        return {{"name": data["username"], "auth_state": state}}
c.JupyterHub.authenticator_class = OfAForge
c.CryptKeeper.keys = [bytes(32)]
c.Authenticator.enable_auth_state = True
c.JupyterHub.services += [
    {{"name": "reader", "api_token": "{READER}"}},
    {{"name": "other", "api_token": "{STRANGER}"}},
]
c.JupyterHub.load_roles += [
    {{"name": "readers", "services": ["reader"], "scopes": ["admin:auth_state", "read:users:name"]}},
    {{"name": "others", "services": ["other"], "scopes": ["read:users:name"]}},
]
"""


class Asked:
    """What a hub says, and of whom it was asked."""

    def __init__(self, said: Mapping[str, object]) -> None:
        self.said = said
        self.people: list[str] = []

    async def __call__(self, person: str) -> Mapping[str, object]:
        self.people.append(person)
        return self.said


def told(*scopes: str) -> ReadScopes:
    async def tell() -> frozenset[str]:
        return frozenset(scopes)

    return tell


@pytest.fixture
def passwords() -> dict[str, str]:
    return {ANY_USER: TOKEN}


@pytest.fixture
def server(tmp_path: Path, passwords: dict[str, str]) -> Iterator[GitServer]:
    (tmp_path / "served").mkdir()
    with serve_git(tmp_path / "served", passwords=passwords) as server:
        server.commit("private", {"manifest.scm": "()"})
        yield server


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/service.sqlite")
    yield store
    await store.close()


def vault_of(store: Store, tmp_path: Path, host: str, read: ReadAuthState, path: str = "access_token") -> Vault:
    tokens = LoginTokens({host: path}, read, told(*SCOPES))
    return Vault(CredentialRows(store), GivenKeys(parse_keys("00" * 32)), tmp_path / "loans", tokens)


async def commit_of(server: GitServer, vault: Vault, tmp_path: Path, person: str = "ada") -> Commit:
    git, hosts = Git("git", tmp_path, lender=vault.lend, person=person), Hosts([PrivateHost.parse(server.host)])
    return (await resolve(git, hosts, RepositoryUrl.parse(server.url("private")), "main")).commit


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("access_token", {"access_token": TOKEN}),
        ("forge.token", {"forge": {"token": TOKEN}}),
    ],
)
async def test_it_is_asked_for_when_the_host_wants_it_and_is_not_kept(
    server: GitServer, store: Store, tmp_path: Path, path: str, state: dict[str, object]
) -> None:
    asked = Asked({"name": "ada", "auth_state": state})
    vault = vault_of(store, tmp_path, server.host, asked, path)
    assert await commit_of(server, vault, tmp_path)
    assert asked.people == ["ada"]
    assert await vault.credentials("ada") == []
    assert await vault.has("ada", RepositoryUrl.parse(server.url("private")))
    assert not await vault.keeps("ada", RepositoryUrl.parse(server.url("private")))
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()


async def test_for_a_public_repository_nobody_is_asked(
    server: GitServer, store: Store, tmp_path: Path, passwords: dict[str, str]
) -> None:
    passwords["anybody"] = ""
    asked = Asked({"auth_state": {"access_token": TOKEN}})
    assert await commit_of(server, vault_of(store, tmp_path, server.host, asked), tmp_path)
    assert asked.people == []


@pytest.mark.parametrize("listed", ["github.com", "127.0.0.1", "127.0.0.1:1", "localhost"])
async def test_a_host_that_is_not_listed_gets_none(server: GitServer, store: Store, tmp_path: Path, listed: str) -> None:
    asked = Asked({"auth_state": {"access_token": TOKEN}})
    with pytest.raises(RepositoryUnavailable):
        await commit_of(server, vault_of(store, tmp_path, listed, asked), tmp_path)
    assert asked.people == []


def test_over_ssh_and_in_a_folder_there_is_none() -> None:
    tokens = LoginTokens({"git.example": "access_token", "": "access_token"}, Asked({}), told(*SCOPES))
    assert tokens.may_open(RepositoryUrl.parse("https://git.example/a"))
    for address in ("git@git.example:a", "https://git.example:8443/a", "https://git.example.evil/a", "file:///a"):
        assert not tokens.may_open(RepositoryUrl.parse(address))


async def test_what_the_person_keeps_goes_first(
    server: GitServer, store: Store, tmp_path: Path, passwords: dict[str, str]
) -> None:
    asked = Asked({"auth_state": {"access_token": "another"}})
    vault = vault_of(store, tmp_path, server.host, asked)
    passwords["ada"] = "kept"
    await vault.put("ada", server.host, Secret("ada", "kept"))
    assert await commit_of(server, vault, tmp_path)
    assert asked.people == []


@pytest.mark.parametrize("state", [None, {}, {"access_token": None}, {"access_token": ""}, {"access_token": "a\nb"}, "x"])
async def test_without_a_token_the_repository_is_private(
    server: GitServer, store: Store, tmp_path: Path, state: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(RepositoryUnavailable, match="private"):
        await commit_of(server, vault_of(store, tmp_path, server.host, Asked({"auth_state": state})), tmp_path)
    assert ("enable_auth_state" in caplog.text) is (state is None)


async def test_a_token_that_the_host_refuses_is_told_to_the_administrator_and_not_shown(
    server: GitServer, store: Store, tmp_path: Path, passwords: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    passwords[ANY_USER] = "another"
    vault = vault_of(store, tmp_path, server.host, Asked({"auth_state": {"access_token": TOKEN}}))
    with pytest.raises(RepositoryUnavailable, match="private"):
        await commit_of(server, vault, tmp_path)
    assert "did not accept the token with which 'ada' logged in" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("scopes", "lacking"),
    [
        (SCOPES, ""),
        (("admin:auth_state!group=lab", "read:users:name!group=lab"), ""),
        (("read:users:name",), "the scope admin:auth_state."),
        (("admin:auth_state",), "the scope read:users:name."),
        ((), "the scopes admin:auth_state and read:users:name."),
    ],
)
async def test_what_the_hub_does_not_let_the_service_do_is_found_before_anybody_needs_it(
    scopes: tuple[str, ...], lacking: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = LoginTokens({"git.example": "access_token"}, Asked({}), told(*scopes))
    await tokens.look()
    assert tokens.hindrance.endswith(lacking)
    assert bool(tokens.hindrance) is bool(lacking)
    assert (lacking in caplog.text) is True


async def test_a_hub_that_does_not_answer_leaves_it_unknown() -> None:
    nowhere = HubClient("http://127.0.0.1:1/hub/api")
    tokens = LoginTokens({"git.example": "access_token"}, Asked({}), partial(nowhere.scopes, READER))
    await tokens.look()
    assert tokens.hindrance.endswith("is not known. The hub does not answer.")


async def test_each_use_tells_anew_whether_it_can_be_read() -> None:
    url, asked = RepositoryUrl.parse("https://git.example/a"), Asked({"name": "ada"})
    tokens = LoginTokens({"git.example": "access_token"}, asked, told(*SCOPES))
    with pytest.raises(CredentialUnusable):
        await tokens.secret("ada", url)
    assert "admin:auth_state" in tokens.hindrance
    asked.said = {"auth_state": None}
    assert await tokens.secret("ada", url) is None
    assert tokens.hindrance == ""


@pytest.mark.parametrize(
    "text", ["github.com", "github.com=", "=access_token", "a b=x", "https://github.com=x", "GitHub.com=x"]
)
def test_what_is_no_host_and_path_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(TraitError, match="Write it as"):
        LoginTokenHosts(hosts=[text])


def test_hosts_are_listed_with_where_their_token_lies() -> None:
    assert LoginTokenHosts(hosts=["github.com=access_token"]).places() == {"github.com": "access_token"}
    assert LoginTokenHosts().places() == {}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    with running_hub(tmp_path_factory.mktemp("hub"), "/", LETS_READ) as hub:
        hub.browser("ada")  # who logs in
        yield hub


@pytest.mark.hub
@pytest.mark.timeout(300)
async def test_a_real_hub_gives_the_token_to_who_may_read_it_and_to_nobody_else(
    hub: RealHub, server: GitServer, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = HubClient(f"{hub.address}/hub/api")
    reading = vault_of(store, tmp_path, server.host, partial(client.person, READER))
    assert await commit_of(server, reading, tmp_path)
    with pytest.raises(RepositoryUnavailable, match="private"):
        await commit_of(server, reading, tmp_path, "bob")  # whom the hub does not know
    with pytest.raises(CredentialUnusable, match="does not tell this service"):
        await commit_of(server, vault_of(store, tmp_path, server.host, partial(client.person, STRANGER)), tmp_path)
    assert "admin:auth_state" in caplog.text
    nowhere = HubClient("http://127.0.0.1:1/hub/api")
    with pytest.raises(HubUnavailable):
        await commit_of(server, vault_of(store, tmp_path, server.host, partial(nowhere.person, READER)), tmp_path)
    assert TOKEN not in caplog.text
    assert TOKEN not in (hub.folder / "hub.log").read_text()


def was_asked(hub: RealHub, service: str) -> bool:
    """Tell whether SERVICE asked the hub what it may do."""
    return f"GET /hub/api/user ({service}@" in (hub.folder / "hub.log").read_text()


def examined(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[bool | None, str]:
    """Return what the doctor says of the service of FOLDER, told nothing but where that is."""
    BuildService.clear_instance()
    main(["doctor", f"--BuildService.service_folder={folder}", "--json"])
    BuildService.clear_instance()
    needs = json.loads(capsys.readouterr().out)["needs"]
    return next((need["there"], need["said"]) for need in needs if need["name"] == "the running service")


@pytest.mark.hub
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("token", "said"), [(READER, ""), (STRANGER, "it lacks the scope admin:auth_state.")])
def test_the_doctor_tells_whether_a_real_hub_lets_the_service_read_tokens(
    hub: RealHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str, said: str
) -> None:
    given = {"JUPYTERHUB_API_TOKEN": token, "JUPYTERHUB_API_URL": f"{hub.address}/hub/api"}
    with running(tmp_path, "--LoginTokenHosts.hosts=git.example=access_token", given=given) as (process, service):
        while not (answer(f"{service}api/v1/health")["logins"] if said else was_asked(hub, "reader")):
            assert process.poll() is None, (tmp_path / "output").read_text()
            time.sleep(0.1)
        there, found = examined(tmp_path / "service", capsys)
        health = answer(f"{service}api/v1/health")
    assert health["status"] == "ok", "as people may keep tokens of their own"
    assert (there, found) == (not said, str(health["logins"]) or "nothing keeps it from its work")
    assert found.endswith(said)
    assert said in (tmp_path / "output").read_text()
