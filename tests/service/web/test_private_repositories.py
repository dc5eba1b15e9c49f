"""Private repositories through the API, with the real Git and a server that asks for a password."""

import json
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from tornado.httpclient import HTTPResponse

from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.model.environments import Person
from guix_build_service.web.limits import RequestLimits
from guix_environment.identifiers import BuildId, EnvironmentId
from guix_environment.repository_access import RepositoryAccess
from tests.git_server import ANYBODY, OVERLOADED, GitServer, serve_git
from tests.service.web.conftest import Site, refusal, served_site
from tests.service.web.fake_hub import FakeHub
from tests.service.web.scripted import AskingPipeline, running_manager

ADA, EVE = "token-ada", "token-eve"
SECRET = "the-secret-of-the-test"
GIVEN = {"user": "ada", "password": SECRET}


@pytest.fixture
def passwords() -> dict[str, str]:
    """Give what opens the repositories of `server`."""
    return {"ada": SECRET}


@pytest.fixture
def server(tmp_path: Path, passwords: dict[str, str]) -> Iterator[GitServer]:
    """Give a Git host with one private repository."""
    (tmp_path / "served").mkdir()
    with serve_git(tmp_path / "served", passwords=passwords) as server:
        server.commit("private", {"manifest.scm": "()"})
        yield server


@pytest.fixture
async def private_site(hub: FakeHub, limits: RequestLimits, tmp_path: Path, server: GitServer) -> AsyncIterator[Site]:
    """Give the service, which may ask that host."""
    hosts = Hosts([PrivateHost.parse(server.host)])
    async with (
        running_manager(tmp_path, AskingPipeline, hosts) as running,
        served_site(hub, limits, tmp_path, *running) as site,
    ):
        yield site


async def add(site: Site, server: GitServer, token: str = ADA, **body: object) -> HTTPResponse:
    asked = {"repo": server.url("private"), **body}
    return await site.ask("POST", "api/v1/environments", token=token, json_body=asked)


async def kept(site: Site, token: str = ADA) -> list[str]:
    listed = json.loads((await site.ask("GET", "api/v1/credentials", token=token)).body)["credentials"]
    return [each["host"] for each in listed]


async def test_what_opens_a_repository_is_given_with_it_and_kept_for_its_host(private_site: Site, server: GitServer) -> None:
    refused = await add(private_site, server)
    assert (refused.code, refusal(refused)) == (422, "repository-unavailable")
    added = await add(private_site, server, credentials=GIVEN)
    assert added.code == HTTPStatus.ACCEPTED, added.body
    assert SECRET not in added.body.decode()
    assert await kept(private_site) == [server.host]
    again = await add(private_site, server)
    assert again.code in {HTTPStatus.OK, HTTPStatus.ACCEPTED}
    assert json.loads(again.body)["id"] == json.loads(added.body)["id"]
    assert (await add(private_site, server, EVE)).code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert await kept(private_site, EVE) == []


async def test_what_opens_nothing_is_not_kept_and_replaces_nothing(private_site: Site, server: GitServer) -> None:
    wrong = {"user": "ada", "password": "mistyped"}
    assert (await add(private_site, server, credentials=wrong)).code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert await kept(private_site) == []
    assert (await add(private_site, server, credentials=GIVEN)).code == HTTPStatus.ACCEPTED
    refused = await add(private_site, server, credentials=wrong)
    assert (refused.code, refusal(refused)) == (422, "repository-unavailable")
    assert (await add(private_site, server)).code in {HTTPStatus.OK, HTTPStatus.ACCEPTED}


async def test_another_one_takes_the_place_of_what_no_longer_opens(
    private_site: Site, server: GitServer, passwords: dict[str, str]
) -> None:
    assert (await add(private_site, server, credentials=GIVEN)).code == HTTPStatus.ACCEPTED
    passwords["ada"] = "changed"
    assert (await add(private_site, server)).code == HTTPStatus.UNPROCESSABLE_ENTITY
    changed = await add(private_site, server, credentials={"user": "ada", "password": "changed"})
    assert changed.code in {HTTPStatus.OK, HTTPStatus.ACCEPTED}
    assert (await add(private_site, server)).code in {HTTPStatus.OK, HTTPStatus.ACCEPTED}


@pytest.mark.parametrize(
    "given",
    [SECRET, [SECRET], {}, {"password": ""}, {"user": SECRET}, {"password": f"{SECRET}\n"}, {**GIVEN, "host": "here"}],
)
async def test_what_cannot_be_a_credential_is_refused_and_not_repeated(
    private_site: Site, server: GitServer, given: object
) -> None:
    answer = await add(private_site, server, credentials=given)
    assert (answer.code, refusal(answer)) == (422, "invalid-input")
    assert SECRET not in answer.body.decode()
    assert await kept(private_site) == []


async def test_a_folder_is_given_no_credential(private_site: Site, server: GitServer) -> None:
    answer = await add(private_site, server, repo="file:///srv/repository", credentials=GIVEN)
    assert (answer.code, refusal(answer)) == (422, "invalid-input")


async def ready(site: Site, server: GitServer, visibility: str = "private") -> EnvironmentId:
    """Add the private repository as an environment of ada's, and wait until sessions can start from it."""
    added = await add(site, server, credentials=GIVEN, visibility=visibility)
    identifier = EnvironmentId(json.loads(added.body)["id"])
    build = BuildId(json.loads(added.body)["build"]["id"])
    async for _ in site.manager.follow(build, Person("ada")):
        pass
    return identifier


async def start(site: Site, environment: EnvironmentId, token: str = ADA) -> HTTPResponse:
    return await site.ask("POST", "api/v1/sessions", token=token, json_body={"environment": environment})


def noted(site: Site, environment: EnvironmentId) -> RepositoryAccess | None:
    return site.pipeline.workshop.records.read_access(environment)


async def test_a_build_notes_that_the_repository_is_private_and_was_read(private_site: Site, server: GitServer) -> None:
    identifier = await ready(private_site, server)
    access = noted(private_site, identifier)
    assert access is not None
    assert access.read is not None
    assert not access.refused


async def test_who_can_no_longer_read_a_repository_starts_no_session_of_it_until_they_can(
    private_site: Site, server: GitServer, passwords: dict[str, str]
) -> None:
    identifier = await ready(private_site, server)
    before = noted(private_site, identifier)
    del passwords["ada"]
    refused = await start(private_site, identifier)
    assert (refused.code, refusal(refused)) == (HTTPStatus.FORBIDDEN, "repository-withdrawn")
    assert f"You can no longer read {server.url('private')}." in refused.body.decode()
    assert private_site.hub.started == []
    after = noted(private_site, identifier)
    assert before is not None
    assert after == RepositoryAccess(before.read, refused=True)
    passwords["ada"] = SECRET
    assert (await start(private_site, identifier)).code == HTTPStatus.ACCEPTED
    again = noted(private_site, identifier)
    assert again is not None
    assert not again.refused


async def test_the_page_says_so_too(private_site: Site, server: GitServer, passwords: dict[str, str]) -> None:
    identifier = await ready(private_site, server)
    browser = await private_site.login("ada")
    del passwords["ada"]
    page = await browser.submit(f"environments/{identifier}/start")
    assert page.code == HTTPStatus.FORBIDDEN
    assert "You can no longer read" in page.body.decode()
    assert private_site.hub.started == []


async def test_whom_it_is_shared_with_starts_by_the_right_of_its_owner(
    private_site: Site, server: GitServer, passwords: dict[str, str]
) -> None:
    identifier = await ready(private_site, server, visibility="everyone")
    assert (await start(private_site, identifier, EVE)).code == HTTPStatus.ACCEPTED
    del passwords["ada"]
    refused = await start(private_site, identifier, EVE)
    assert (refused.code, refusal(refused)) == (HTTPStatus.FORBIDDEN, "repository-withdrawn")
    assert "ada, whom this environment belongs to, can no longer read" in refused.body.decode()


async def test_who_forgets_their_credential_can_no_longer_read(private_site: Site, server: GitServer) -> None:
    identifier = await ready(private_site, server)
    await private_site.ask("DELETE", f"api/v1/credentials/{server.host}", token=ADA)
    assert (await start(private_site, identifier)).code == HTTPStatus.FORBIDDEN


async def test_a_host_that_cannot_answer_changes_nothing_of_what_is_known(
    private_site: Site, server: GitServer, passwords: dict[str, str]
) -> None:
    identifier = await ready(private_site, server)
    before = noted(private_site, identifier)
    passwords[OVERLOADED] = ""
    assert (await start(private_site, identifier)).code == HTTPStatus.ACCEPTED
    assert noted(private_site, identifier) == before


async def test_of_an_environment_of_before_it_is_found_out_at_its_next_start(private_site: Site, server: GitServer) -> None:
    identifier = await ready(private_site, server)
    private_site.pipeline.workshop.records.write_access(identifier, None)
    assert (await start(private_site, identifier)).code == HTTPStatus.ACCEPTED
    assert noted(private_site, identifier) is not None


async def test_what_became_public_is_no_longer_asked_for(
    private_site: Site, server: GitServer, passwords: dict[str, str]
) -> None:
    identifier = await ready(private_site, server)
    passwords.clear()
    passwords[ANYBODY] = ""
    assert (await start(private_site, identifier)).code == HTTPStatus.ACCEPTED
    assert noted(private_site, identifier) is None
