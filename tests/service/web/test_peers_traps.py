"""What went wrong in services like this one: each of their traps has a test, here or where `TESTED_AT` says."""

import ast
import json
from http import HTTPStatus
from pathlib import Path

import pytest
from tornado.netutil import bind_sockets

from guix_build_service.model.environments import NewEnvironment, Person
from guix_build_service.web import events
from guix_build_service.web.application import API, make_application, make_server
from guix_build_service.web.hub_client import session_name
from guix_build_service.web.openapi import describe
from guix_build_service.web.settings import WebSettings, shared_folder
from guix_environment.errors import InvalidAddress, RefNotFound
from tests.git_server import GitServer
from tests.service.client import Client
from tests.service.web.conftest import PREFIX, Site, refusal
from tests.service.web.fake_hub import FakeHub
from tests.service.web.scripted import running_manager

TESTS = Path(__file__).resolve().parents[2]
TOKEN = "token-ada"

TESTED_AT: dict[str, tuple[str, ...]] = {
    "a service posts to /hub/spawn, which asks for an XSRF token": (
        "service/web/test_hub_client.py::test_a_session_starts_with_the_options_that_either_hub_understands",
        "service/web/test_real_hub.py::test_a_browser_starts_its_own_session_and_is_led_to_the_hub",
    ),
    "credentials in a repository's address reach database, log and labels": (
        "service/web/test_peers_traps.py::test_an_address_with_a_password_is_refused_and_kept_nowhere",
        "service/credentials/test_canaries.py::test_no_secret_leaves_a_trace",
    ),
    "two repositories of one name and ref are taken for each other": (
        "service/web/test_peers_traps.py::test_repositories_of_one_name_and_ref_are_two",
    ),
    "building again does nothing": (
        "service/manager/test_versions.py::test_a_new_commit_is_a_new_version_and_one_can_go_back",
        "service/manager/test_versions.py::test_a_version_of_which_parts_are_gone_is_built_again",
    ),
    "what can be started is told apart by the name it is shown with": (
        "spawner/test_form.py::test_environments_of_one_name_are_two_choices",
    ),
    "a link that is only followed creates a server": (
        "service/web/test_binderhub.py::test_the_page_of_a_link_does_nothing_but_by_its_button",
        "service/web/test_environment_pages.py::test_opening_a_page_changes_nothing",
        "spawner/test_hub.py::test_a_link_starts_nothing_and_chooses",
    ),
    "DELETE says 200 when nothing was deleted": (
        "service/web/test_peers_traps.py::test_a_deletion_that_deletes_nothing_says_so",
    ),
    "DELETE drops the record first, and then fails with what it was of": (
        "service/queue/test_stops_and_faults.py::test_a_deletion_that_was_cut_short_is_finished_at_the_next_start",
    ),
    "what the hub refuses becomes a 500": (
        "service/web/test_peers_traps.py::test_what_the_hub_refuses_keeps_its_status",
        "service/web/test_hub_client.py::test_what_the_hub_refuses_becomes_a_kind_of_failure",
    ),
    "404 where 403 is meant": (
        "service/manager/test_rights.py::test_what_one_may_see_and_not_change_is_refused",
        "service/web/test_authorization.py::test_everybody_gets_what_is_theirs_and_nothing_else",
    ),
    "the files stay old where the environment is new": (
        "session/test_update.py::test_a_copy_with_nothing_of_its_own_is_brought_to_the_version",
        "session/test_update.py::test_changed_files_are_named_and_left_alone",
    ),
    "an event stream is silent, and a proxy closes it": (
        "service/web/test_peers_traps.py::test_silence_is_shorter_than_proxies_wait",
        "service/web/test_events.py::test_silence_is_broken_so_that_nobody_hangs_up",
    ),
    "a browser reconnects after the last event and builds again": (
        "service/web/test_binderhub.py::test_a_browser_that_comes_back_after_the_last_event_is_told_to_stop",
        "service/web/test_events.py::test_whoever_comes_back_gets_what_is_missing_and_then_nothing",
    ),
    "a hub's base address with spaces in it": ("service/web/test_peers_traps.py::test_a_base_address_with_a_space_works",),
    "ssh and file addresses reach Git": (
        "unit/test_repository_url.py::test_what_is_no_address_is_refused_with_a_hint",
        "service/git/test_hosts.py::test_files_are_used_below_listed_folders_alone",
    ),
    "short commits, tags and branches are mixed up": (
        "service/git/test_repositories.py::test_a_name_stands_for_one_commit",
        "service/git/test_repositories.py::test_a_short_commit_is_explained",
    ),
    "a default branch that was renamed": ("service/web/test_peers_traps.py::test_a_renamed_default_branch_is_followed",),
}
"""Traps, each with the tests that nobody falls into it here."""


def named_in(module: Path) -> set[str]:
    """Return the names of the tests in MODULE."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(module.read_text()).body if isinstance(node, functions)}


@pytest.mark.parametrize("trap", TESTED_AT)
def test_each_trap_has_its_tests(trap: str) -> None:
    for place in TESTED_AT[trap]:
        module, _, name = place.partition("::")
        assert name in named_in(TESTS / module), place


async def test_an_address_with_a_password_is_refused_and_kept_nowhere(site: Site, tmp_path: Path) -> None:
    body = {"repo": "https://ada:canary-7f3a@git.example/a/good"}
    answer = await site.ask("POST", "api/v1/environments", token=TOKEN, json_body=body)
    assert (answer.code, refusal(answer)) == (HTTPStatus.UNPROCESSABLE_ENTITY, InvalidAddress.code)
    assert b"canary" not in answer.body
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    assert not [file for file in kept if b"canary-7f3a" in file.read_bytes()]


async def test_repositories_of_one_name_and_ref_are_two(site: Site) -> None:
    details = []
    for owner in ("a", "b"):  # forks, at the same commit
        request = NewEnvironment(repository=f"https://git.example/{owner}/good", ref="main")
        detail = await site.manager.add_environment(request, Person("ada"))
        assert detail.build is not None
        async for _ in site.manager.follow(detail.build.id, Person("ada")):
            pass
        details.append(await site.manager.environment(detail.environment.id, Person("ada")))
    first, second = details
    assert first.version is not None
    assert second.version is not None
    assert first.version.commit == second.version.commit
    assert first.environment.id != second.environment.id
    assert first.version.id != second.version.id
    assert first.version.build != second.version.build
    names = {session_name(detail.environment.id, "good") for detail in details}
    assert len(names) == 2


async def test_a_deletion_that_deletes_nothing_says_so(site: Site) -> None:
    mine = (await site.ready("good", "ada")).environment.id
    paths = [path for path, methods in describe(API, PREFIX)["paths"].items() if "delete" in methods]  # type: ignore[attr-defined] # as OpenAPI has it
    assert len(paths) >= 3
    for path in paths:
        named = path.format(
            environment="eaaaaaaaaaaa",
            version="vaaaaaaaaaaa",
            name="good-eaaaaaaaaaaa",
            host="nowhere.example",
            kind="user",
            member="eve",
        )
        answer = await site.ask("DELETE", f"api/v1{named}", token=TOKEN)
        assert answer.code == HTTPStatus.NOT_FOUND, (path, answer.body)
    assert (await site.ask("DELETE", f"api/v1/environments/{mine}", token="token-eve")).code == HTTPStatus.NOT_FOUND
    assert (await site.ask("DELETE", f"api/v1/environments/{mine}", token=TOKEN)).code == HTTPStatus.NO_CONTENT
    assert (await site.ask("DELETE", f"api/v1/environments/{mine}", token=TOKEN)).code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        ((400, "ada:x is already running"), HTTPStatus.CONFLICT),
        ((400, "User ada already has the maximum of 3 named servers."), HTTPStatus.TOO_MANY_REQUESTS),
        ((403, ""), HTTPStatus.FORBIDDEN),
        ((429, "Too many users"), HTTPStatus.TOO_MANY_REQUESTS),
        ((503, ""), HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
async def test_what_the_hub_refuses_keeps_its_status(site: Site, refused: tuple[int, str], status: int) -> None:
    detail = await site.ready("good", "ada")
    site.hub.refusal = refused
    body = {"environment": detail.environment.id}
    answer = await site.ask("POST", "api/v1/sessions", token=TOKEN, json_body=body)
    assert answer.code == status
    assert json.loads(answer.body)["error"]["message"]


def test_silence_is_shorter_than_proxies_wait() -> None:
    assert events.KEEP_ALIVE_SECONDS < 60  # nginx's proxy_read_timeout, where nothing else was set


async def test_a_base_address_with_a_space_works(hub: FakeHub, tmp_path: Path) -> None:
    prefix = "/@/a%20hub/services/guix/"
    settings = WebSettings(
        api_url=hub.api_url,
        api_token="the-service's-own",
        client_id="service-guix",
        cookie_secret=b"0" * 32,
        templates=shared_folder("templates/service"),
        static=shared_folder("static"),
        isolation=lambda: pytest.fail("nobody asked"),
        prefix=prefix,
        hub_prefix="/@/a%20hub/hub/",
    )
    async with running_manager(tmp_path) as (manager, pipeline):
        server = make_server(make_application(manager, settings))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        site = Site(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", hub, manager, pipeline, tmp_path, settings, prefix)
        try:
            detail = await site.ready("good", "ada")
            listed = await site.ask("GET", "api/v1/environments", token=TOKEN)
            assert [each["id"] for each in json.loads(listed.body)["environments"]] == [detail.environment.id]
            browser = await site.login("ada")
            page = await browser.get(f"environments/{detail.environment.id}")
            assert page.code == HTTPStatus.OK
            assert f'href="{prefix}"' in page.body.decode()
            assert "%2520" not in page.body.decode()
            sent = await browser.submit(f"environments/{detail.environment.id}/start")
            assert (sent.code, [name for name, _, _ in hub.started]) == (HTTPStatus.SEE_OTHER, ["ada"])
            assert sent.headers["Location"].startswith("/@/a%20hub/hub/")
            assert all(f"Path={prefix}" in line for line in browser.set_cookies)
        finally:
            server.stop()
            await server.close_all_connections()


async def test_a_renamed_default_branch_is_followed(git_server: GitServer, tmp_path: Path) -> None:
    client = Client(tmp_path, git_server.host)
    url = git_server.url("renamed")
    before = git_server.commit("renamed", {"README": "one"}, branch="master")
    assert (await client.resolve(url)).ref == "master"
    git_server.rename("renamed", "master", "main")
    after = git_server.commit("renamed", {"README": "two"}, branch="main")
    followed = await client.resolve(url)
    assert (followed.ref, followed.commit) == ("main", after)
    assert after != before
    # Whoever named the branch is told; a full commit stands for itself as long as the server has it.
    with pytest.raises(RefNotFound, match="master"):
        await client.resolve(url, "master")
    assert (await client.fetched(url, before))[1].commit == before
