"""The API's lists: in parts, filtered, and of what the caller may see; and what an entity tag is good for."""

import json
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPResponse

from guix_build_service.model.environments import BuildChanged, BuildFilter, NewEnvironment, PageRequest, Person
from guix_build_service.web.api import cursor, place_of
from guix_environment.records import Visibility
from tests.service.web.conftest import Site, refusal

TOKEN = "token-ada"
NAMES = ("Ähren", "anna", "Bert", "bert", "ähren 2", "Zoé_1", "zoë%2")


def content(answer: HTTPResponse) -> dict[str, object]:
    assert answer.code == 200, answer.body
    found: dict[str, object] = json.loads(answer.body)
    return found


async def add(site: Site, name: str, owner: str = "ada", **given: object) -> str:
    request = NewEnvironment(repository=f"https://git.example/{owner}/slow", name=name, **given)  # type: ignore[arg-type]
    return (await site.manager.add_environment(request, Person(owner))).environment.id


async def listed(site: Site, path: str = "environments", key: str = "environments", **query: str) -> list[dict[str, object]]:
    """Return a whole list, asked for part by part."""
    found: list[dict[str, object]] = []
    address = f"api/v1/{path}?{urlencode(query)}"
    while address:
        answer = await site.ask("GET", address, token=TOKEN)
        part = content(answer)
        found += part[key]  # type: ignore[arg-type] # a list
        link = answer.headers.get("Link", "")
        assert bool(link) == (part["next"] is not None)
        address = link.removeprefix("<").partition(">")[0]
    return found


@pytest.mark.parametrize("limit", ["1", "2", "3", "500"])
async def test_parts_of_a_list_are_the_whole_in_order(site: Site, limit: str) -> None:
    for name in NAMES:
        await add(site, name)
    names = [each["name"] for each in await listed(site, limit=limit)]
    assert sorted(names) == sorted(NAMES)  # type: ignore[type-var] # they are strings
    assert [str(name).casefold() for name in names] == sorted(name.casefold() for name in NAMES)
    builds = await listed(site, "builds", "builds", limit=limit)
    # They asked for the same, so that it is one build.
    assert [build["repo"] for build in builds] == ["https://git.example/ada/slow"]


async def test_what_comes_and_goes_meanwhile_makes_nothing_come_twice(site: Site) -> None:
    identifiers = [await add(site, name) for name in ("b", "d", "f")]
    first = content(await site.ask("GET", "api/v1/environments?limit=2", token=TOKEN))
    await site.manager.delete_environment(identifiers[1], Person("ada"))  # type: ignore[arg-type] # an identifier
    await add(site, "a")
    await add(site, "e")
    rest = content(await site.ask("GET", f"api/v1/environments?cursor={first['next']}", token=TOKEN))
    assert [each["name"] for each in rest["environments"]] == ["e", "f"]  # type: ignore[attr-defined]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"text": "ÄHREN"}, {"Ähren", "ähren 2"}),
        ({"text": "_"}, {"Zoé_1"}),
        ({"text": "%"}, {"zoë%2"}),
        ({"text": "GIT.example/ada"}, set(NAMES)),
        ({"text": "about rye"}, {"Ähren"}),
        ({"text": ""}, {*NAMES, "hers", "all's"}),
        ({"owner": "eve"}, {"hers", "all's"}),
        ({"visibility": "everyone"}, {"all's"}),
        ({"repo": "https://GIT.example/eve/slow"}, {"hers", "all's"}),
        ({"state": "ready"}, set()),
        ({"state": "building", "owner": "ada"}, set(NAMES)),
    ],
)
async def test_a_list_is_of_what_is_wanted_and_may_be_seen(site: Site, query: dict[str, str], expected: set[str]) -> None:
    for name in NAMES:
        await add(site, name, description="About RYE." if name == "Ähren" else "")
    await add(site, "hers", "eve", visibility=Visibility.GROUPS, groups=("other", "lab"))
    await add(site, "all's", "eve", visibility=Visibility.EVERYONE)
    await add(site, "her own", "eve")
    await add(site, "another group's", "eve", visibility=Visibility.GROUPS, groups=("la", "lab2"))
    for owner in ("ada", "eve"):
        [build] = (await site.manager.some_builds(Person(owner), BuildFilter(), PageRequest())).items[:1]
        async for event in site.manager.follow(build.id, Person(owner)):
            if isinstance(event, BuildChanged) and event.build.progress.phase == "Waiting":
                break
    assert {each["name"] for each in await listed(site, limit="3", **query)} == expected


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=", "cursor=x", "cursor=WzFd", "cursor=%00", "cursor=WyJhXHUwMDAwIiwgImIiXQ",
     "state=done", "owner=a&owner=b", "onwer=ada", "repo=none", "visibility=all", "text=a%00b"],
)  # fmt: skip
async def test_a_query_that_cannot_be_meant_is_refused(site: Site, query: str) -> None:
    answer = await site.ask("GET", f"api/v1/environments?{query}", token=TOKEN)
    assert answer.code == 422
    assert refusal(answer) in {"invalid-input", "invalid-address"}


async def test_a_cursor_of_another_list_is_refused_or_harmless(site: Site) -> None:
    await add(site, "plots")
    names = content(await site.ask("GET", f"api/v1/environments?cursor={cursor(place_of('WyIiLCAiIl0'))}", token=TOKEN))
    assert len(names["environments"]) == 1  # type: ignore[arg-type]
    answer = await site.ask("GET", "api/v1/builds?cursor=WyIiLCAiIl0", token=TOKEN)
    assert (answer.code, refusal(answer)) == (422, "invalid-input")


async def test_builds_are_told_to_those_who_see_them(site: Site) -> None:
    mine = await site.ready("good", "ada")
    await site.ready("good-2", "eve")
    shared = await site.ready("good-3", "eve", visibility=Visibility.EVERYONE)
    assert mine.build is not None
    assert shared.build is not None
    builds = await listed(site, "builds", "builds", limit="1")
    assert [build["id"] for build in builds] == [shared.build.id, mine.build.id]
    assert [build["requested_by"] for build in builds] == [None, "ada"]
    assert [build["id"] for build in await listed(site, "builds", "builds", requested_by="ada")] == [mine.build.id]
    assert await listed(site, "builds", "builds", requested_by="eve") == []
    assert [build["id"] for build in await listed(site, f"environments/{mine.environment.id}/builds", "builds")] == [
        mine.build.id
    ]
    answer = await site.ask("GET", "api/v1/builds?requested_by=eve", token="token-root")
    assert len(content(answer)["builds"]) == 2  # type: ignore[arg-type]


async def test_a_version_is_its_environments_own(site: Site) -> None:
    detail, other = await site.ready("good", "ada"), await site.ready("good-2", "eve")
    assert detail.version is not None
    assert other.version is not None
    address = f"api/v1/environments/{detail.environment.id}/versions"
    assert content(await site.ask("GET", f"{address}/{detail.version.id}", token=TOKEN))["id"] == detail.version.id
    for identifier in (other.version.id, "v" * 12, "x"):
        assert (await site.ask("GET", f"{address}/{identifier}", token=TOKEN)).code == 404
    theirs = f"api/v1/environments/{other.environment.id}/versions/{other.version.id}"
    assert (await site.ask("GET", theirs, token=TOKEN)).code == 404


async def test_a_version_is_exported_with_the_command_that_makes_it_again(site: Site) -> None:
    detail = await site.ready("good", "ada")
    assert detail.version is not None
    address = f"api/v1/environments/{detail.environment.id}/versions/{detail.version.id}/export"
    assert content(await site.ask("GET", address, token=TOKEN)) == {
        "manifest": '(specifications->manifest (list "python"))',
        "channels": "(list)",
        "command": "guix time-machine -C channels.scm -- shell --pure -m manifest.scm",
    }
    assert (await site.ask("GET", address, token="token-eve")).code == 404


async def test_the_gallery_has_what_everyone_may_start(site: Site) -> None:
    await site.ready("good", "ada")
    await site.ready("broken", "eve", visibility=Visibility.EVERYONE)
    shown = await site.ready("good-2", "eve", visibility=Visibility.EVERYONE)
    [entry] = await listed(site, "gallery")
    assert entry["environment"] == shown.environment.id
    assert entry["link"] == f"/services/guix/environments/{shown.environment.id}"
    assert {option["environment"] for option in await listed(site, "session-options")} > {shown.environment.id}


async def test_what_the_caller_has_already_is_not_sent_again(site: Site) -> None:
    detail = await site.ready("good", "ada")
    address = f"api/v1/environments/{detail.environment.id}"
    answer = await site.ask("GET", address, token=TOKEN)
    tag = answer.headers["Etag"]
    again = await site.ask("GET", address, token=TOKEN, headers={"If-None-Match": tag})
    assert (again.code, again.body, again.headers["Etag"]) == (304, b"", tag)
    await site.ask("PATCH", address, token=TOKEN, json_body={"name": "Another"})
    answer = await site.ask("GET", address, token=TOKEN, headers={"If-None-Match": tag})
    assert answer.code == 200
    assert answer.headers["Etag"] != tag


async def test_what_was_changed_meanwhile_is_not_changed_by_who_did_not_see_it(site: Site) -> None:
    detail = await site.ready("good", "ada")
    address = f"api/v1/environments/{detail.environment.id}"
    tag = (await site.ask("GET", address, token=TOKEN)).headers["Etag"]
    answer = await site.ask("PATCH", address, token=TOKEN, json_body={"name": "Mine"}, headers={"If-Match": f'"x", {tag}'})
    assert answer.code == 200
    for method, body in (("PATCH", {"name": "Also mine"}), ("DELETE", None)):
        old = await site.ask(method, address, token=TOKEN, json_body=body, headers={"If-Match": tag})
        assert (old.code, refusal(old)) == (412, "changed-meanwhile")
    assert content(await site.ask("GET", address, token=TOKEN))["name"] == "Mine"
    assert (await site.ask("DELETE", address, token=TOKEN, headers={"If-Match": answer.headers["Etag"]})).code == 204


async def test_a_version_that_was_pinned_meanwhile_is_not_deleted_by_who_did_not_see_it(site: Site) -> None:
    detail = await site.ready("good", "ada")
    assert detail.version is not None
    newer = await site.manager.start_build(detail.environment.id, Person("ada"), force=True)
    assert newer.build is not None
    async for _ in site.manager.follow(newer.build.id, Person("ada")):
        pass
    address = f"api/v1/environments/{detail.environment.id}/versions/{detail.version.id}"
    tag = (await site.ask("GET", address, token=TOKEN)).headers["Etag"]
    pinned = await site.ask("PATCH", address, token=TOKEN, json_body={"pinned": True}, headers={"If-Match": tag})
    assert pinned.code == 200
    for method, body in (("PATCH", {"pinned": False}), ("DELETE", None)):
        old = await site.ask(method, address, token=TOKEN, json_body=body, headers={"If-Match": tag})
        assert (old.code, refusal(old)) == (412, "changed-meanwhile")
    assert content(await site.ask("GET", address, token=TOKEN))["pinned"] is True
    assert (await site.ask("DELETE", address, token=TOKEN, headers={"If-Match": pinned.headers["Etag"]})).code == 204


async def test_a_limit_can_be_taken_away(site: Site) -> None:
    address = f"api/v1/environments/{await add(site, 'plots', memory=2**30, cpu=2.0)}"
    changed = content(await site.ask("PATCH", address, token=TOKEN, json_body={"name": "b"}))
    assert (changed["memory"], changed["cpu"]) == (2**30, 2.0)
    changed = content(await site.ask("PATCH", address, token=TOKEN, json_body={"memory": None}))
    assert (changed["memory"], changed["cpu"]) == (None, 2.0)
