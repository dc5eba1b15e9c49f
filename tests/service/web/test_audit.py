"""The audit log as administrators read it."""

import json
from urllib.parse import urlencode

from tornado.httpclient import HTTPResponse

from tests.service.web.conftest import Site, refusal

ADMINISTRATOR = "token-root"
SECRET = "a-password-that-nobody-else-knows"


async def read(site: Site, **query: str) -> dict[str, object]:
    answer = await site.ask("GET", f"api/v1/audit?{urlencode(query)}", token=ADMINISTRATOR)
    assert answer.code == 200, answer.body
    found: dict[str, object] = json.loads(answer.body)
    return found


async def entries(site: Site, **query: str) -> list[dict[str, object]]:
    found = (await read(site, **query))["entries"]
    assert isinstance(found, list)
    return found


async def done(site: Site, method: str, path: str, token: str, **content: object) -> HTTPResponse:
    answer = await site.ask(method, f"api/v1/{path}", token=token, json_body=content if method != "DELETE" else None)
    assert answer.code < 300, answer.body
    return answer


async def test_who_did_what_by_which_token(site: Site) -> None:
    detail = await site.ready("good", "ada")
    one = detail.environment.id
    await done(site, "POST", "sessions", "token-ada", environment=one, name="mine")
    await done(site, "POST", f"environments/{one}/builds", "token-keeper", force=True)
    await done(site, "PATCH", f"environments/{one}", "token-root", visibility="everyone")
    await done(site, "DELETE", f"environments/{one}", "token-ada")
    found = await entries(site, environment=one)
    assert [(each["who"], each["action"]) for each in reversed(found)] == [
        ("ada", "added"),
        ("ada", "started-session"),
        ("service/keeper", "built"),
        ("root", "shared"),
        ("ada", "deleted"),
    ]
    assert {each["owner"] for each in found} == {"ada"}
    assert [each["about"]["session"] for each in found if each["action"] == "started-session"] == ["mine"]  # type: ignore[index]
    assert [each["who"] for each in await entries(site, who="service/keeper")] == ["service/keeper"]


async def test_of_credentials_the_host_is_told_and_nothing_else(site: Site) -> None:
    await done(site, "PUT", "credentials/git.example", "token-ada", user="ada-there", password=SECRET)
    await done(site, "DELETE", "credentials/GIT.example", "token-ada")
    missing = await site.ask("DELETE", "api/v1/credentials/git.example", token="token-ada")
    assert missing.code == 404
    found = await entries(site)
    assert [(each["action"], each["about"]) for each in found] == [
        ("removed-credential", {"host": "git.example"}),
        ("set-credential", {"host": "git.example"}),
    ]
    kept = (await site.ask("GET", "api/v1/audit", token=ADMINISTRATOR)).body.decode()
    assert SECRET not in kept
    assert "ada-there" not in kept


async def test_a_session_that_the_hub_refuses_was_not_started(site: Site) -> None:
    detail = await site.ready("broken", "ada")
    answer = await site.ask("POST", "api/v1/sessions", token="token-ada", json_body={"environment": detail.environment.id})
    assert answer.code == 409
    assert await entries(site, action="started-session") == []


async def test_it_is_read_in_parts(site: Site) -> None:
    for number in range(5):
        await done(site, "PUT", f"credentials/host-{number}.example", "token-ada", password=SECRET)
    first = await read(site, limit="3")
    second = await read(site, limit="3", cursor=str(first["next"]))
    hosts = [each["about"]["host"] for part in (first, second) for each in part["entries"]]  # type: ignore[attr-defined]
    assert hosts == [f"host-{number}.example" for number in reversed(range(5))]
    assert second["next"] is None
    moment = first["entries"][2]["created"]  # type: ignore[index]
    assert len(await entries(site, since=moment)) == 3
    assert len(await entries(site, until=moment)) == 2


async def test_who_is_no_administrator_is_refused_also_what_they_did_themselves(site: Site) -> None:
    for token in ("token-ada", "token-watcher"):
        answer = await site.ask("GET", "api/v1/audit?who=ada", token=token)
        assert (answer.code, refusal(answer)) == (403, "refused")


async def test_filters_that_make_no_sense_are_refused(site: Site) -> None:
    for query in (
        "action=looked",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "environment=../x",
        "who=a%0ab",
        "by=ada",
    ):
        answer = await site.ask("GET", f"api/v1/audit?{query}", token=ADMINISTRATOR)
        assert answer.code == 422, query
