"""BinderHub's clients and links find here what they know, without what its users fell into."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from guix_build_service.manager.manager import MayAdd, Policy
from guix_build_service.model.environments import Person
from guix_build_service.web.binderhub_events import admits_event_stream
from guix_environment.records import Visibility
from tests.service.listing import environments_for
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.scripted import HOSTILE

LINK = "build/git/https%3A%2F%2Fgit.example%2Fa%2Fgood/main"
ORDER = ["waiting", "fetching", "building", "built", "launching", "ready"]


def link(repository: str, ref: str = "main") -> str:
    return f"build/git/https%3A%2F%2Fgit.example%2Fa%2F{repository}/{ref}"


def events(answer: HTTPResponse) -> list[dict[str, object]]:
    """Return the events of the stream ANSWER, each of which must be as BinderHub's documentation has it."""
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    found = [
        json.loads(line.removeprefix("data: ")) for line in answer.body.decode().splitlines() if line.startswith("data")
    ]
    for event in found:
        assert event["phase"] in {*ORDER, "failed"}
        assert isinstance(event["message"], str)
    return found


def phases(found: list[dict[str, object]]) -> list[str]:
    """Return the phases of the events FOUND, each once, in the order of their first event."""
    return list(dict.fromkeys(str(event["phase"]) for event in found))


async def stream(site: Site, path: str = LINK, **headers: str) -> HTTPResponse:
    sent = {"Accept": "text/event-stream"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await site.ask("GET", path, token="token-ada", headers=sent)


@asynccontextmanager
async def listening(site: Site, path: str, seen: Callable[[str], bool]) -> AsyncIterator[None]:
    """Open the stream at PATH, wait until what was SEEN is enough, and go away when the context ends."""
    enough, text = asyncio.Event(), ""

    def take(piece: bytes) -> None:
        nonlocal text
        text += piece.decode()
        if seen(text):
            enough.set()

    client = AsyncHTTPClient(force_instance=True)
    request = HTTPRequest(
        f"{site.address}{PREFIX}{path}",
        headers={"Authorization": "token token-ada"},
        streaming_callback=take,
        request_timeout=0,
    )
    asking = asyncio.ensure_future(client.fetch(request, raise_error=False))
    try:
        await enough.wait()
        yield
    finally:
        client.close()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_repository_becomes_a_session_by_one_stream(site: Site) -> None:
    found = events(await stream(site))
    told = phases(found)
    assert told == [phase for phase in ORDER if phase in told], "in their order; who looks late misses some"
    assert {"waiting", "built", "launching", "ready"} <= set(told)
    assert {"phase": "launching", "message": "Half way\n"} in found
    assert any(HOSTILE in str(event["message"]) for event in found if event["phase"] == "building")
    last = found[-1]
    ((person, name, body),) = site.hub.started
    assert person == "ada"
    assert last["url"] == f"{site.address}/user/ada/{name}/"
    assert last["token"] == "minted-1"
    assert site.hub.minted[0]["scopes"] == [f"access:servers!server=ada/{name}"]
    assert last["repo_url"] == "https://git.example/a/good"
    assert last["binder_launch_host"] == f"{site.address}{PREFIX}"
    assert last["binder_request"] == "v2/git/https%3A%2F%2Fgit.example%2Fa%2Fgood/main"
    assert last["binder_persistent_request"] == f"v2/git/https%3A%2F%2Fgit.example%2Fa%2Fgood/{site.pipeline.commit}"
    assert next(event for event in found if event["phase"] == "built")["imageName"] == last["image"]
    assert body["user_options"] == {"environment": last["image"]}


async def test_whoever_asks_again_gets_the_same_session_and_builds_nothing(site: Site) -> None:
    first = events(await stream(site))[-1]
    again = events(await stream(site))
    assert phases(again) == ["waiting", "built", "ready"]
    assert again[-1]["url"] == first["url"]
    assert len(site.hub.started) == 1
    (detail,) = await environments_for(Person("ada"), site.manager)
    assert len(await site.manager.versions(detail.environment.id, Person("ada"))) == 1


@pytest.mark.parametrize("repository", ["good", "broken"])
async def test_a_browser_that_comes_back_after_the_last_event_is_told_to_stop(site: Site, repository: str) -> None:
    answer = await stream(site, link(repository))
    assert answer.body.decode().rstrip().split("\n\n")[-1].startswith("id: end\n")
    builds = len(site.hub.started)
    answer = await stream(site, link(repository), Last_Event_ID="end")
    assert (answer.code, answer.body) == (HTTPStatus.NO_CONTENT, b"")
    assert len(site.hub.started) == builds


async def test_only_a_build_can_be_asked_for(site: Site) -> None:
    found = events(await stream(site, f"{LINK}?build_only=true"))
    told = phases(found)
    assert told == [phase for phase in ORDER if phase in told], "in their order; who looks late misses some"
    assert {"waiting", "built", "ready"} <= set(told) <= set(ORDER) - {"launching"}
    (detail,) = await environments_for(Person("ada"), site.manager)
    assert found[-1]["imageName"] == detail.environment.id
    assert site.hub.started == []
    answer = await site.ask("GET", f"{LINK}?build_only=true", token="token-watcher")
    assert events(answer)[-1]["phase"] == "ready"  # a service has no sessions, and may build


@pytest.mark.parametrize(
    ("path", "said", "code"),
    [
        (link("broken"), f"Guix has no package called {HOSTILE}.", "build-failed"),
        (link("gone"), "No repository answers there.", "repository-unavailable"),
    ],
)
async def test_a_failure_is_told_and_ends_the_stream(site: Site, path: str, said: str, code: str) -> None:
    last = events(await stream(site, path))[-1]
    assert (last["phase"], last["code"]) == ("failed", code)
    assert said in str(last["message"])


async def test_a_session_that_does_not_start_is_told_and_ends_the_stream(site: Site) -> None:
    site.hub.fails = "Spawn failed: There is no room."
    last = events(await stream(site))[-1]
    assert (last["phase"], last["code"]) == ("failed", "session-failed")
    assert "There is no room." in str(last["message"])
    site.hub.fails = ""
    site.hub.refusal = (429, "slow down")
    last = events(await stream(site))[-1]
    assert (last["phase"], last["code"], last["status_code"]) == ("failed", "limit-reached", 429)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("build/nonsense/a/b/main", 404, "unknown-provider"),
        ("build/gh/a", 422, "invalid-address"),
        ("build/git/ssh%3A%2F%2Fgit.example%2Fa/main", 422, "invalid-address"),
        ("build/git/ext%3A%3Ash%20-c%20id%2F/main", 422, "invalid-address"),
        ("build/git/https%3A%2F%2Fme%3Asecret%40git.example%2Fa/main", 422, "invalid-address"),
        ("build/gh/a/b/--upload-pack=x", 422, "invalid-ref"),
        ("build/figshare/10.6084/m9.figshare.9782777.v1", 422, "archive-unsupported"),
    ],
)
async def test_what_is_wrong_with_a_link_comes_as_an_event_which_clients_look_at(
    site: Site, path: str, status: int, code: str
) -> None:
    answer = await stream(site, path)
    (event,) = events(answer)
    assert answer.code == HTTPStatus.OK
    assert (event["phase"], event["code"], event["status_code"]) == ("failed", code, status)
    assert "secret" not in answer.body.decode()
    assert await environments_for(Person("ada"), site.manager) == []


async def test_a_cookie_alone_starts_nothing(site: Site) -> None:
    browser = await site.login("ada")
    for headers in (
        {},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site", "X-XSRFToken": browser.xsrf},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "X-XSRFToken": "wrong"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "X-XSRFToken": "\xfc"},
    ):
        answer = await browser.ask("GET", LINK, headers=headers)
        assert (answer.code, events(answer)[0]["code"]) == (HTTPStatus.FORBIDDEN, "request-forged"), headers
    assert await environments_for(Person("ada"), site.manager) == []
    headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "X-XSRFToken": browser.xsrf}
    assert events(await browser.ask("GET", LINK, headers=headers))[-1]["phase"] == "ready"


async def test_nobody_is_sent_to_a_login_page(site: Site) -> None:
    answer = await site.ask("GET", LINK)
    assert (answer.code, events(answer)[0]["code"]) == (HTTPStatus.UNAUTHORIZED, "not-logged-in")


async def test_where_no_token_may_be_made_the_login_must_do(site: Site) -> None:
    site.hub.mints = False
    assert events(await stream(site))[-1]["token"] == ""


@pytest.mark.parametrize(
    ("accept", "admits"),
    [
        ("", True),
        ("*/*", True),
        ("text/event-stream", True),
        ("text/event-stream, */*", True),
        ("text/html;q=0.9,TEXT/Event-Stream;q=0.1", True),
        ("text/*", True),
        ("text/event-stream;charset=utf-8", True),
        ("application/json", False),
        ("text/html, application/json", False),
        ("text/event-stream;q=0, */*", False),
        ("*/*;q=0.0", False),
    ],
)
async def test_every_caller_who_takes_a_stream_gets_one(site: Site, accept: str, admits: bool) -> None:
    assert admits_event_stream(accept) is admits
    answer = await stream(site, f"{LINK}?build_only=true", Accept=accept)
    assert answer.code == (HTTPStatus.OK if admits else HTTPStatus.NOT_ACCEPTABLE)
    if admits:
        assert events(answer)[-1]["phase"] == "ready"
    else:
        assert json.loads(answer.body)["error"]["code"] == "nothing-acceptable"


async def test_a_stream_ends_when_its_right_does_and_the_build_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.web.events.KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr("guix_build_service.web.binderhub.IDENTITY_SECONDS", 0.1)
    asking = asyncio.create_task(stream(site, link("slow")))
    while not (found := await environments_for(Person("ada"), site.manager)):
        await asyncio.sleep(0.01)
    del site.hub.people["token-ada"]
    last = events(await asking)[-1]
    assert (last["phase"], last["code"]) == ("failed", "not-logged-in")
    after = await site.manager.environment(found[0].environment.id, Person("ada"))
    assert not after.state.is_final


async def test_a_build_goes_on_when_its_caller_leaves_and_is_found_again(site: Site) -> None:
    async with listening(site, link("slow"), lambda text: '"building"' in text):
        (detail,) = await environments_for(Person("ada"), site.manager)
    assert detail.build is not None
    async with listening(site, link("slow"), lambda text: "line 2" in text):
        site.pipeline.release.set()
        async for _ in site.manager.follow(detail.build.id, Person("ada")):
            pass
    (after,) = await environments_for(Person("ada"), site.manager)
    assert after.version is not None
    assert after.version.build == detail.build.id


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("?labpath=notes/a%20b.ipynb", {"path": "notes/a b.ipynb"}),
        ("?filepath=index.ipynb", {"path": "index.ipynb"}),
        ("?urlpath=lab%2Ftree%2Fx%3Fy", {"urlpath": "lab/tree/x?y"}),
    ],
)
async def test_what_a_link_opens_becomes_an_option_of_the_session(site: Site, query: str, options: dict[str, str]) -> None:
    found = events(await stream(site, LINK + query))
    body = site.hub.started[0][2]
    assert body["user_options"] == {"environment": found[-1]["image"], **options}


async def test_the_page_of_a_link_does_nothing_but_by_its_button(site: Site) -> None:
    browser = await site.login("ada")
    path = LINK.replace("build/", "v2/") + "?labpath=i.ipynb&x=%22%3E%3Cb%3E"
    page = await browser.get(path)
    assert page.code == HTTPStatus.OK
    text = page.body.decode()
    assert "Start good?" in text
    assert f'data-stream="{PREFIX}{LINK}?labpath=i.ipynb&amp;x=%22%3E%3Cb%3E"' in text
    assert "<b>" not in text
    assert await environments_for(Person("ada"), site.manager) == []
    assert site.hub.started == []
    to_build = await browser.submit(path)
    (detail,) = await environments_for(Person("ada"), site.manager)
    assert detail.build is not None
    assert (to_build.code, to_build.headers["Location"]) == (HTTPStatus.SEE_OTHER, f"{PREFIX}builds/{detail.build.id}")
    async for _ in site.manager.follow(detail.build.id, Person("ada")):
        pass
    started = await browser.submit(path)
    assert started.headers["Location"].startswith("/hub/spawn-pending/ada/")
    assert site.hub.started[0][2]["user_options"] == {"environment": detail.environment.id, "path": "i.ipynb"}
    again = await browser.submit(path)
    assert again.headers["Location"] == started.headers["Location"]
    assert len(site.hub.started) == 1
    assert (await browser.get("v2/gh/a")).code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await Site.ask(site, "GET", path)).headers["Location"].startswith("/hub/api/oauth2/authorize")


async def test_whoever_may_add_nothing_starts_what_is_shared_with_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = await site.ready("good", "root", visibility=Visibility.EVERYONE)
    await site.ready("good-too", "root")
    monkeypatch.setattr(site.manager, "_policy", Policy(MayAdd.ADMINS))
    for ref in ("HEAD", site.pipeline.commit):
        last = events(await stream(site, link("good", ref)))[-1]
        assert (last["phase"], last["image"]) == ("ready", shared.environment.id)
    for path in (link("good", "other"), link("good-too", "HEAD")):
        last = events(await stream(site, path))[-1]
        assert (last["phase"], last["code"]) == ("failed", "refused")
    assert {detail.environment.owner for detail in await environments_for(Person("root", admin=True), site.manager)} == {
        "root"
    }


async def test_the_badge_is_for_every_page(site: Site) -> None:
    answer = await site.ask("GET", "badge_logo.svg")
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.body.startswith(b"<svg ")
    assert (await site.ask("GET", "badge.svg")).body == answer.body
    look = await site.ask("HEAD", "badge_logo.svg")
    assert (look.code, look.body, look.headers["Content-Type"]) == (HTTPStatus.OK, b"", "image/svg+xml")


async def test_health_and_versions_are_told_in_binderhubs_form(site: Site) -> None:
    answer = await site.ask("GET", "health")
    assert json.loads(answer.body) == {
        "ok": True,
        "status": "ok",
        "checks": [{"service": "Build service", "ok": True}],
    }
    assert (await site.ask("HEAD", "health")).code == HTTPStatus.OK
    found = json.loads((await site.ask("GET", "versions", token="token-ada")).body)
    assert {"builder_info", "binderhub"} <= found.keys()
