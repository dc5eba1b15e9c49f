"""The API answers as it is described: the right status, the right body, and refusals of one form."""

import asyncio
import json
import re
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import pytest
from tornado.httpclient import HTTPResponse

from guix_build_service.model.environments import BuildState, NewEnvironment, Person
from guix_build_service.web import hub_client, refusals
from guix_build_service.web.api import operations
from guix_build_service.web.application import API, BESIDE, PAGES
from guix_environment.errors import GuixSpawnerError
from guix_environment.records import Visibility
from guix_environment.session_names import session_log
from tests.service.listing import environments_for
from tests.service.web.conftest import PREFIX, Site, refusal

TOKEN = "token-ada"
GOOD = "https://git.example/a/good"


def content(answer: HTTPResponse) -> dict[str, object]:
    value = json.loads(answer.body)
    assert isinstance(value, dict)
    return value


COMMIT = "7f3a9c1" + "0" * 33


async def add(site: Site, **body: object) -> HTTPResponse:
    return await site.ask("POST", "api/v1/environments", token=TOKEN, json_body={"repo": GOOD, **body})


@pytest.mark.parametrize(("name", "admin"), [("ada", False), ("root", True), ("service/watcher", False)])
async def test_callers_learn_who_they_are(site: Site, name: str, admin: bool) -> None:
    told = json.loads((await site.ask("GET", "api/v1/user", token=f"token-{name.removeprefix('service/')}")).body)
    assert (told["name"], told["admin"], told["may_add"]) == (name, admin, True)
    assert told["groups"] == (["lab"] if name == "ada" else [])
    assert told["disk"] == {"used": 0, "limit": None}


async def test_an_environment_is_added_built_and_then_ready(site: Site) -> None:
    accepted = await add(site, name="Plots", description="Of penguins", cpu=2, memory=1 << 30)
    assert accepted.code == HTTPStatus.ACCEPTED
    environment = content(accepted)
    assert accepted.headers["Location"] == f"{PREFIX}api/v1/environments/{environment['id']}"
    assert (environment["name"], environment["repo"], environment["owner"]) == ("Plots", GOOD, "ada")
    assert (environment["visibility"], environment["groups"], environment["memory"]) == ("private", [], 1 << 30)
    build = environment["build"]
    assert isinstance(build, dict)
    async for _ in site.manager.follow(build["id"], Person("ada")):
        pass
    shown = await site.ask("GET", accepted.headers["Location"], token=TOKEN)
    assert shown.code == HTTPStatus.OK
    ready = content(shown)
    assert (ready["state"], ready["commit"], ready["may_change"]) == ("ready", site.pipeline.commit, True)
    again = await add(site, name="Plots")
    assert again.code == HTTPStatus.OK
    assert content(again)["id"] == environment["id"]


async def test_versions_rollback_change_and_delete(site: Site) -> None:
    first = await site.ready("good", "ada")
    identifier = first.environment.id
    path = f"api/v1/environments/{identifier}"
    forced = await site.ask("POST", f"{path}/builds", token=TOKEN, json_body={"force": True})
    assert forced.code == HTTPStatus.ACCEPTED
    build = content(forced)["build"]
    assert isinstance(build, dict)
    async for _ in site.manager.follow(build["id"], Person("ada")):
        pass
    versions = content(await site.ask("GET", f"{path}/versions", token=TOKEN))
    listed = versions["versions"]
    assert isinstance(listed, list)
    assert [version["id"] == versions["current"] for version in listed] == [True, False]
    back = await site.ask("POST", f"{path}/rollback", token=TOKEN, json_body={"version": listed[1]["id"]})
    assert back.code == HTTPStatus.OK
    assert content(back)["version"] == listed[1]
    changed = await site.ask("PATCH", path, token=TOKEN, json_body={"name": "Other", "visibility": "everyone"})
    assert changed.code == HTTPStatus.OK
    assert (content(changed)["name"], content(changed)["visibility"]) == ("Other", "everyone")
    assert (await site.ask("DELETE", path, token=TOKEN)).code == HTTPStatus.NO_CONTENT
    assert (await site.ask("GET", path, token=TOKEN)).code == HTTPStatus.NOT_FOUND
    assert (await site.ask("DELETE", path, token=TOKEN)).code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed-request"),
        (b"\xff", 400, "malformed-request"),
        (b"[]", 422, "invalid-input"),
        (b"null", 422, "invalid-input"),
        (b"{}", 422, "invalid-input"),
        (b'{"repo": 1}', 422, "invalid-input"),
        (b'{"repo": ""}', 422, "invalid-input"),
        (b'{"repo": "a\\u0000b"}', 422, "invalid-input"),
        (b'{"repo": "https://git.example/a/b", "more": 1}', 422, "invalid-input"),
        (b'{"repo": "https://git.example/a/b", "memory": "2G"}', 422, "invalid-input"),
        (b'{"repo": "https://git.example/a/b", "cpu": NaN}', 422, "invalid-input"),
        (b'{"repo": "https://git.example/a/b", "cpu": 1e999}', 422, "invalid-input"),
        (b'{"repo": "https://git.example/a/b", "name": "a\\nb"}', 422, "invalid-input"),
        (b'{"repo": "https://git.example/a/b", "visibility": "all"}', 422, "invalid-input"),
        (b'{"repo": "not an address"}', 422, "invalid-address"),
        (b'{"repo": "https://git.example/a/b", "ref": "--upload-pack=x"}', 422, "invalid-ref"),
        (b'{"repo": "https://git.example/a/gone"}', 422, "repository-unavailable"),
        (b" " * (64 * 1024 + 1), 413, "request-too-large"),
    ],
)
async def test_what_cannot_be_used_is_refused_with_the_reason(site: Site, body: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await site.ask("POST", "api/v1/environments", token=TOKEN, headers=headers, body=body)
    assert (answer.code, refusal(answer)) == (status, code)
    assert content(await site.ask("GET", "api/v1/environments", token=TOKEN)) == {"next": None, "environments": []}


async def test_a_body_far_too_large_is_not_even_read(site: Site) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await site.ask("POST", "api/v1/environments", token=TOKEN, headers=headers, body=b" " * (2 << 20))
    assert answer.code in {400, 413, 599}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_must_be_json(site: Site, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    answer = await site.ask("POST", "api/v1/environments", token=TOKEN, headers=headers, body=json.dumps({"repo": GOOD}))
    assert answer.code in {HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.BAD_REQUEST}
    assert refusal(answer) in {"media-type-refused", "malformed-request"}


@pytest.mark.parametrize(
    "path",
    ["nothing", "environments/", "environments/x", "environments/../health", "environments/EAAAAAAAAAAA", "builds/%00"],
)
async def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    answer = await site.ask("GET", f"api/v1/{path}", token=TOKEN)
    assert (answer.code, refusal(answer)) == (HTTPStatus.NOT_FOUND, "not-found")


async def test_a_method_that_is_not_there_is_refused_with_those_that_are(site: Site) -> None:
    answer = await site.ask("PUT", "api/v1/environments", token=TOKEN, body=b"{}")
    assert (answer.code, refusal(answer)) == (HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    answer = await site.ask("HEAD", "api/v1/resolve", token=TOKEN)
    assert (answer.code, answer.headers["Allow"]) == (HTTPStatus.METHOD_NOT_ALLOWED, "POST")


HEADS = [
    "environments",
    "environments/{environment}",
    "openapi.json",
    "versions",
    "metrics",
    "builds/{build}/log",
    "sessions",
]


@pytest.mark.parametrize("path", HEADS)
async def test_a_look_at_the_headers_alone_is_answered_as_to_get(site: Site, path: str) -> None:
    detail = await site.ready("good", "ada")
    assert detail.build is not None
    path = f"api/v1/{path}".format(environment=detail.environment.id, build=detail.build.id)
    got = await site.ask("GET", path, token=TOKEN)
    look = await site.ask("HEAD", path, token=TOKEN)
    assert (look.code, look.body) == (HTTPStatus.OK, b"")
    for name in ("Content-Type", "Etag", "Content-Security-Policy"):
        assert look.headers.get(name) == got.headers.get(name)
    assert (await site.ask("HEAD", path)).code == HTTPStatus.UNAUTHORIZED
    if "{" in path:
        assert (await site.ask("HEAD", path, token="token-eve")).code == HTTPStatus.NOT_FOUND
    if "Etag" in got.headers:
        known = {"If-None-Match": got.headers["Etag"]}
        assert (await site.ask("HEAD", path, token=TOKEN, headers=known)).code == HTTPStatus.NOT_MODIFIED


async def test_a_look_at_a_stream_follows_and_builds_nothing(site: Site) -> None:
    detail = await site.manager.add_environment(NewEnvironment("https://git.example/a/slow"), Person("ada"))
    assert detail.build is not None
    path = f"api/v1/builds/{detail.build.id}/events"
    look = await site.ask("HEAD", path, token=TOKEN)  # and does not wait for the build's end
    assert (look.code, look.headers["Content-Type"]) == (HTTPStatus.OK, "text/event-stream; charset=utf-8")
    assert look.headers["X-Accel-Buffering"] == "no"
    assert (await site.ask("HEAD", path, token="token-eve")).code == HTTPStatus.NOT_FOUND
    link = f"build/git/{quote('https://git.example/a/good', safe='')}/main"
    assert (await site.ask("HEAD", link, token=TOKEN)).code == HTTPStatus.METHOD_NOT_ALLOWED
    assert [each.environment.repository.name for each in await environments_for(Person("ada"), site.manager)] == ["slow"]


async def test_others_are_not_told_who_shares_a_build(site: Site) -> None:
    mine = content(await add(site, repo="https://git.example/a/slow-too", visibility="everyone"))
    build = mine["build"]
    assert isinstance(build, dict)
    assert build["requested_by"] == "ada"
    seen = content(await site.ask("GET", f"api/v1/builds/{build['id']}", token="token-eve"))
    assert seen["requested_by"] is None
    assert "ada" not in json.dumps(seen)
    refused = await site.ask("POST", f"api/v1/builds/{build['id']}/cancel", token="token-eve")
    assert refused.code == HTTPStatus.FORBIDDEN
    stopped = content(await site.ask("POST", f"api/v1/builds/{build['id']}/cancel", token=TOKEN))
    assert stopped["state"] == BuildState.CANCELLED


async def test_a_failed_build_says_why(site: Site) -> None:
    detail = await site.ready("broken", "ada")
    shown = content(await site.ask("GET", f"api/v1/environments/{detail.environment.id}", token=TOKEN))
    assert shown["state"] == "failed"
    build = shown["build"]
    assert isinstance(build, dict)
    assert build["error"]["code"] == "packages-unknown"
    assert build["error"]["hint"]


async def test_a_log_is_text_that_can_be_read_in_parts(site: Site) -> None:
    detail = await site.ready("good", "ada")
    assert detail.build is not None
    path = f"api/v1/builds/{detail.build.id}/log"
    whole = await site.ask("GET", path, token=TOKEN)
    assert whole.code == HTTPStatus.OK
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert b"line 1 <script>" in whole.body
    part = await site.ask("GET", path, token=TOKEN, headers={"Range": "bytes=5-14"})
    assert part.code == HTTPStatus.PARTIAL_CONTENT
    assert part.body == whole.body[5:15]
    assert part.headers["Content-Range"] == f"bytes 5-14/{len(whole.body)}"
    rest = await site.ask("GET", path, token=TOKEN, headers={"Range": "bytes=-7"})
    assert rest.body == whole.body[-7:]
    behind = await site.ask("GET", path, token=TOKEN, headers={"Range": "bytes=99999-"})
    assert behind.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    assert behind.headers["Content-Range"] == f"bytes */{len(whole.body)}"


async def test_resolving_builds_nothing(site: Site) -> None:
    answer = await site.ask("POST", "api/v1/resolve", token=TOKEN, json_body={"repo": GOOD})
    assert content(answer) == {
        "repo": GOOD,
        "ref": "main",
        "commit": site.pipeline.commit,
        "subdir": "",
        "path": "",
    }
    assert content(await site.ask("GET", "api/v1/environments", token=TOKEN)) == {"next": None, "environments": []}


async def test_a_session_is_started_as_the_caller_seen_and_stopped(site: Site) -> None:
    detail = await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    identifier = detail.environment.id
    options = content(await site.ask("GET", "api/v1/session-options", token="token-eve"))
    assert [option["environment"] for option in options["environments"]] == [identifier]  # type: ignore[attr-defined]
    body = {"environment": identifier, "path": "index.ipynb"}
    started = await site.ask("POST", "api/v1/sessions", token="token-eve", json_body=body)
    assert started.code == HTTPStatus.ACCEPTED
    session = content(started)
    name = f"good-{identifier}"
    assert (session["name"], session["environment"], session["state"]) == (name, identifier, "starting")
    assert session["pending_url"] == f"/hub/spawn-pending/eve/{name}"
    assert site.hub.started == [("eve", name, {"display_name": "good", "user_options": body})]
    assert "token-eve" in site.hub.identified
    listed = content(await site.ask("GET", "api/v1/sessions", token="token-eve"))
    assert listed["sessions"] == [session]
    assert content(await site.ask("GET", "api/v1/sessions", token=TOKEN))["sessions"] == []
    assert (await site.ask("GET", f"api/v1/sessions/{name}", token=TOKEN)).code == HTTPStatus.NOT_FOUND
    assert (await site.ask("DELETE", f"api/v1/sessions/{name}", token=TOKEN)).code == HTTPStatus.NOT_FOUND
    assert (await site.ask("DELETE", f"api/v1/sessions/{name}", token="token-eve")).code == HTTPStatus.NO_CONTENT
    assert (await site.ask("GET", f"api/v1/sessions/{name}", token="token-eve")).code == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"environment": "x"}, 422),
        ({"environment": "eaaaaaaaaaaa"}, 404),
        ({"version": "../../x"}, 422),
        ({"name": "a/b"}, 422),
        ({"name": "../x"}, 422),
        ({"argv": ["sh"]}, 422),
        ({"path": "a\nb"}, 422),
    ],
)
async def test_a_session_that_cannot_be_is_not_asked_for(site: Site, changes: dict[str, object], status: int) -> None:
    detail = await site.ready("good", "ada")
    body = {"environment": detail.environment.id, **changes}
    assert (await site.ask("POST", "api/v1/sessions", token=TOKEN, json_body=body)).code == status
    assert site.hub.started == []


async def test_a_slow_start_goes_on_without_us(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "START_SECONDS", 0.2)
    site.hub.starts.clear()
    detail = await site.ready("good", "ada")
    body = {"environment": detail.environment.id}
    started = await site.ask("POST", "api/v1/sessions", token=TOKEN, json_body=body)
    assert started.code == HTTPStatus.ACCEPTED
    assert (content(started)["state"], content(started)["environment"]) == ("starting", detail.environment.id)
    assert site.hub.started == []
    site.hub.starts.set()
    while not site.hub.started:
        await asyncio.sleep(0.01)
    assert [name for _, name, _ in site.hub.started] == [content(started)["name"]]


async def test_an_environment_that_is_not_ready_is_not_started(site: Site) -> None:
    detail = await site.ready("broken", "ada")
    answer = await site.ask("POST", "api/v1/sessions", token=TOKEN, json_body={"environment": detail.environment.id})
    assert (answer.code, refusal(answer)) == (HTTPStatus.CONFLICT, "conflict")


async def test_the_description_names_every_address_and_only_what_there_is(site: Site) -> None:
    described = content(await site.ask("GET", "api/v1/openapi.json", token=TOKEN))
    assert described["openapi"] == "3.1.0"
    text = json.dumps(described)
    schemas = described["components"]["schemas"]  # type: ignore[index]
    for reference in set(text.split('"#/components/schemas/')[1:]):
        assert reference.partition('"')[0] in schemas
    paths = described["paths"]
    assert isinstance(paths, dict)
    assert {"/environments", "/builds/{build}/events", "/sessions/{name}", "/health"} <= paths.keys()
    identifiers = [
        each["operationId"] for methods in paths.values() for name, each in methods.items() if name != "parameters"
    ]
    assert len(identifiers) == len(set(identifiers)) > 20


def test_the_documentation_names_every_address_and_every_refusal_of_the_web() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/api.md").read_text()
    own, _, binderhub = text.partition("## As BinderHub has it")
    named, as_binderhub = (set(re.findall(r"^\| `([A-Z]+ [^`]+)`", part, re.MULTILINE)) for part in (own, binderhub))
    assert named == {f"{method.upper()} {handler.route}" for handler in API for method in operations(handler)}
    beside = {f"{method} {handler.route}" for handler in (*PAGES, *BESIDE) for method in handler.SUPPORTED_METHODS}
    assert as_binderhub
    assert as_binderhub <= beside
    kinds = [kind for kind in vars(refusals).values() if isinstance(kind, type) and issubclass(kind, GuixSpawnerError)]
    of_web = [kind for kind in kinds if kind.__module__ == refusals.__name__]
    assert len(of_web) >= 9
    assert [kind.code for kind in of_web if f"`{kind.code}`" not in text] == []


async def test_a_sessions_log_is_its_persons_alone(site: Site) -> None:
    log = session_log(site.sessions, "ada", "good-eaaaaaaaaaaa")
    log.parent.mkdir(parents=True)
    log.write_text("hello from the server\n")
    session_log(site.sessions, "ada", "").write_text("the one without a name\n")
    path = "api/v1/sessions/good-eaaaaaaaaaaa/log"
    whole = await site.ask("GET", path, token=TOKEN)
    assert (whole.code, whole.body) == (HTTPStatus.OK, b"hello from the server\n")
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    part = await site.ask("GET", path, token=TOKEN, headers={"Range": "bytes=6-9"})
    assert (part.code, part.body) == (HTTPStatus.PARTIAL_CONTENT, b"from")
    behind = await site.ask("GET", path, token=TOKEN, headers={"Range": "bytes=22-"})
    assert behind.headers["Content-Range"] == "bytes */22"
    assert (await site.ask("GET", "api/v1/sessions/-/log", token=TOKEN)).body == b"the one without a name\n"
    assert (await site.ask("GET", path, token="token-eve")).code == HTTPStatus.NOT_FOUND
    assert (await site.ask("GET", "api/v1/sessions/none/log", token=TOKEN)).code == HTTPStatus.NOT_FOUND
    assert (await site.ask("GET", path)).code == HTTPStatus.UNAUTHORIZED
    for name in ("..%2fada%2fdefault", "%2e%2e", "..%2f..%2fetc%2fpasswd"):
        assert (await site.ask("GET", f"api/v1/sessions/{name}/log", token="token-eve")).code == HTTPStatus.NOT_FOUND


async def test_a_page_leads_to_the_log_with_the_browsers_login(site: Site) -> None:
    log = session_log(site.sessions, "ada", "")
    log.parent.mkdir(parents=True)
    log.write_text("<script>alert(1)</script>\n")
    browser = await site.login("ada")
    page = await browser.get("sessions/-/log")
    assert (page.code, page.body) == (HTTPStatus.OK, b"<script>alert(1)</script>\n")
    assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert (await (await site.login("eve")).get("sessions/-/log")).code == HTTPStatus.NOT_FOUND
    stranger = await site.ask("GET", "sessions/-/log", headers={"Sec-Fetch-Mode": "navigate"})
    assert stranger.code == HTTPStatus.FOUND


async def test_the_address_of_a_page_of_a_forge_is_enough(site: Site) -> None:
    body = {"repo": "https://codeberg.org/a/good/src/branch/main/notes"}
    answer = await site.ask("POST", "api/v1/environments", token="token-ada", json_body=body)
    assert answer.code == HTTPStatus.ACCEPTED
    added = json.loads(answer.body)
    assert (added["repo"], added["subdir"]) == ("https://codeberg.org/a/good", "")
    assert added["ref"] == "main/notes"  # the scripted repository has every name that it is asked for
    body = {"repo": f"https://github.com/a/good/blob/{COMMIT}/notes/a%20b.ipynb"}
    answer = await site.ask("POST", "api/v1/resolve", token="token-ada", json_body=body)
    found = json.loads(answer.body)
    assert (found["repo"], found["ref"], found["path"]) == ("https://github.com/a/good", COMMIT, "notes/a b.ipynb")
    for text in ("10.6084/m9.figshare.9782777.v1", f"swh:1:snp:{COMMIT}"):
        answer = await site.ask("POST", "api/v1/environments", token="token-ada", json_body={"repo": text})
        assert (answer.code, refusal(answer)) == (HTTPStatus.UNPROCESSABLE_ENTITY, "archive-unsupported")
