"""The pages on which environments are shared and given away, and what the API says about roles."""

import json
from http import HTTPStatus

from guix_build_service.model.environments import Person
from guix_build_service.model.members import Member, MemberKind, Role
from tests.service.web.conftest import PREFIX, Browser, Site, refusal

ADA = Person("ada")
HOSTILE_NAME = '<b>eve</b> & "co"'


async def page(browser: Browser, identifier: str) -> str:
    answer = await browser.get(f"environments/{identifier}")
    assert answer.code == HTTPStatus.OK
    return answer.body.decode()


async def test_an_owner_shares_changes_and_takes_back_on_the_page(site: Site) -> None:
    detail = await site.ready("good", "ada")
    one = detail.environment.id
    browser, eve = await site.login("ada"), await site.login("eve")
    assert "It is shared with nobody by name." in await page(browser, one)
    assert (await eve.get(f"environments/{one}")).code == HTTPStatus.NOT_FOUND
    for name, kind, role in (("eve", "user", "viewer"), (HOSTILE_NAME, "group", "editor"), ("eve", "user", "editor")):
        answer = await browser.submit(f"environments/{one}/members", name=name, kind=kind, role=role)
        assert answer.code == HTTPStatus.SEE_OTHER
        assert answer.headers["Location"] == f"{PREFIX}environments/{one}#sharing"
    assert await site.manager.members(one, ADA) == (
        Member(MemberKind.USER, "eve", Role.EDITOR),
        Member(MemberKind.GROUP, HOSTILE_NAME, Role.EDITOR),
    )
    shown = await page(browser, one)
    assert "<b>eve</b>" not in shown
    assert "nobody by name" not in shown
    # An editor builds, and finds neither what shares nor what deletes.
    theirs = await page(eve, one)
    assert f"environments/{one}/build" in theirs
    assert f"environments/{one}/delete" not in theirs
    assert "Give away" not in theirs
    assert "If you leave it, only ada can share it with you again." in " ".join(theirs.split())
    assert "shared with you" in (await eve.get("")).body.decode()
    removed = await browser.submit(f"environments/{one}/members/remove", name=HOSTILE_NAME, kind="group")
    assert removed.code == HTTPStatus.SEE_OTHER
    left = await eve.submit(f"environments/{one}/members/remove", name="eve", kind="user")
    assert left.headers["Location"] == PREFIX
    assert "It is shared with nobody by name." in await page(browser, one)


async def test_what_cannot_be_shared_is_told_beside_what_was_typed(site: Site) -> None:
    one = (await site.ready("good", "ada")).environment.id
    browser = await site.login("ada")
    for name, role, told in (("ada", "viewer", "is its owner already"), ("", "viewer", "name"), ("bob", "owner", "role")):
        answer = await browser.submit(f"environments/{one}/members", name=name, kind="user", role=role)
        assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
        shown = answer.body.decode()
        assert 'role="alert"' in shown
        assert told in shown
        assert not name or f'value="{name}"' in shown
    empty = await browser.submit(f"environments/{one}/owner", owner="")
    assert empty.code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert await site.manager.members(one, ADA) == ()


async def test_it_is_given_away_on_the_page(site: Site) -> None:
    one = (await site.ready("good", "ada")).environment.id
    browser = await site.login("ada")
    given = await browser.submit(f"environments/{one}/owner", owner="eve")
    assert given.code == HTTPStatus.SEE_OTHER
    assert "Give away" not in await page(browser, one)
    assert "Give away" in await page(await site.login("eve"), one)


async def test_the_api_says_who_is_what_and_takes_names_with_any_characters(site: Site) -> None:
    one = (await site.ready("good", "ada")).environment.id
    address = f"api/v1/environments/{one}"
    for name, path in (("a/b", "a%2Fb"), ("ä b", "%C3%A4%20b")):
        put = await site.ask("PUT", f"{address}/members/group/{path}", token="token-ada", json_body={"role": "editor"})
        assert put.code == HTTPStatus.OK
        assert {"kind": "group", "name": name, "role": "editor"} in json.loads(put.body)["members"]
    gone = await site.ask("DELETE", f"{address}/members/group/a%2Fb", token="token-ada")
    assert gone.code == HTTPStatus.NO_CONTENT
    await site.manager.share(one, Member(MemberKind.USER, "eve", Role.VIEWER), ADA)
    for name, role, changes in (("ada", "owner", True), ("root", "owner", True), ("eve", "viewer", False)):
        found = json.loads((await site.ask("GET", address, token=f"token-{name}")).body)
        assert (found["role"], found["may_change"]) == (role, changes)
    assert refusal(await site.ask("GET", f"{address}/members", token="token-eve")) == "refused"
    assert (await site.ask("GET", f"{address}/members/people/eve", token="token-ada")).code == HTTPStatus.METHOD_NOT_ALLOWED
    unknown = await site.ask("PUT", f"{address}/members/people/eve", token="token-ada", json_body={"role": "viewer"})
    assert unknown.code == HTTPStatus.NOT_FOUND
    owner = await site.ask("PUT", f"{address}/members/user/eve", token="token-ada", json_body={"role": "owner"})
    assert owner.code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await site.ask("PATCH", address, token="token-ada", json_body={"owner": "eve"})).code == HTTPStatus.OK
    assert (await site.ask("DELETE", address, token="token-ada")).code == HTTPStatus.FORBIDDEN
    assert (await site.ask("DELETE", address, token="token-eve")).code == HTTPStatus.NO_CONTENT
