"""What people and administrators ask about versions that are kept or not, over the API."""

import json
from datetime import timedelta
from http import HTTPStatus

from guix_build_service.model.environments import EnvironmentDetail, Person, Version
from guix_build_service.model.retention import Rules
from guix_environment.identifiers import Commit
from tests.service.web.conftest import PREFIX, Site, refusal
from tests.service.web.page import Page, check

ADA, ROOT = Person("ada"), Person("root", admin=True)


async def two_versions(site: Site) -> tuple[EnvironmentDetail, Version]:
    """Return an environment of ada's, which is at its second version, and its first one."""
    detail = await site.ready("good", "ada")
    assert detail.version is not None
    site.pipeline.commit = Commit("8" * 40)
    again = await site.manager.start_build(detail.environment.id, ADA, force=True)
    assert again.build is not None
    async for _ in site.manager.follow(again.build.id, ADA):
        pass
    return await site.manager.environment(detail.environment.id, ADA), detail.version


async def let_go(site: Site) -> None:
    assert (await site.manager.let_go(ROOT, Rules(unused=timedelta(0)))).decisions


async def test_a_dry_run_tells_what_would_go_and_letting_go_does_just_that(site: Site) -> None:
    detail, old = await two_versions(site)
    assert json.loads((await site.ask("GET", "api/v1/retention", token="token-root")).body)["profiles"] == []
    path = f"api/v1/environments/{detail.environment.id}/versions/{old.id}"
    dry = json.loads((await site.ask("GET", "api/v1/retention?unused_days=0.00000001", token="token-root")).body)
    (profile,) = dry["profiles"]
    assert profile["reason"] == "unused"
    assert [each["version"] for each in profile["versions"]] == [old.id]
    assert dry["kept"] == {"pinned": 0, "in-session": 0, "current": 1, "used": 0}
    assert json.loads((await site.ask("GET", path, token="token-ada")).body)["profile"] == "present"

    asked = {"unused_days": 0.00000001}
    done = json.loads((await site.ask("POST", "api/v1/retention", json_body=asked, token="token-root")).body)
    assert [each["profile"] for each in done["profiles"]] == [profile["profile"]]
    shown = json.loads((await site.ask("GET", path, token="token-ada")).body)
    assert (shown["profile"], shown["let_go"]["why"]) == ("gone", "It was not used for 0 days.")
    assert (await site.ask("GET", f"{path}/export", token="token-ada")).code == HTTPStatus.OK
    for wrong in ({"unused_days": -1}, {"unused_days": "x"}, {"days": 1}):
        answer = await site.ask("POST", "api/v1/retention", json_body=wrong, token="token-root")
        assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY


async def test_a_version_is_pinned_and_deleted(site: Site) -> None:
    detail, old = await two_versions(site)
    path = f"api/v1/environments/{detail.environment.id}/versions"
    answer = await site.ask("PATCH", f"{path}/{old.id}", json_body={"pinned": True}, token="token-ada")
    assert json.loads(answer.body)["pinned"] is True
    assert (await site.manager.retention(ROOT, Rules(unused=timedelta(0)))).decisions == ()
    wrong = await site.ask("PATCH", f"{path}/{old.id}", json_body={"pinned": "yes"}, token="token-ada")
    assert wrong.code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert (await site.ask("DELETE", f"{path}/{old.id}", token="token-ada")).code == HTTPStatus.NO_CONTENT
    assert (await site.ask("GET", f"{path}/{old.id}", token="token-ada")).code == HTTPStatus.NOT_FOUND
    assert detail.version is not None
    current = await site.ask("DELETE", f"{path}/{detail.version.id}", token="token-ada")
    assert (current.code, refusal(current)) == (HTTPStatus.CONFLICT, "conflict")


async def test_a_session_in_what_is_gone_is_refused_and_the_rebuild_offered(site: Site) -> None:
    detail, old = await two_versions(site)
    await let_go(site)
    environment = detail.environment.id
    wanted = {"environment": environment, "version": old.id}
    answer = await site.ask("POST", "api/v1/sessions", json_body=wanted, token="token-ada")
    assert (answer.code, refusal(answer)) == (HTTPStatus.CONFLICT, "profile-let-go")
    error = json.loads(answer.body)["error"]
    assert (error["environment"], error["version"]) == (environment, old.id)
    assert "Build it again" in error["hint"]
    assert site.hub.started == []
    built = await site.ask(
        "POST", f"api/v1/environments/{environment}/builds", json_body={"version": old.id}, token="token-ada"
    )
    assert built.code == HTTPStatus.ACCEPTED
    unknown = {"version": "vaaaaaaaaaaa"}
    answer = await site.ask("POST", f"api/v1/environments/{environment}/builds", json_body=unknown, token="token-ada")
    assert answer.code == HTTPStatus.NOT_FOUND


async def test_the_page_says_what_is_kept_and_has_a_button_for_each_thing(site: Site) -> None:
    detail, old = await two_versions(site)
    browser, address = await site.login("ada"), f"environments/{detail.environment.id}"
    version = f"{address}/versions/{old.id}"

    async def page() -> Page:
        found = Page((await browser.get(address)).body.decode())
        check(found)
        return found

    assert f"{PREFIX}{version}/pin" in [form["action"] for form in (await page()).all("form")]
    assert (await browser.submit(f"{version}/pin", pinned="yes")).code == HTTPStatus.SEE_OTHER
    assert (await site.manager.version(detail.environment.id, old.id, ADA)).pinned
    assert "Need not be kept" in (await page()).text
    assert (await browser.submit(f"{version}/pin", pinned="no")).code == HTTPStatus.SEE_OTHER

    await let_go(site)
    gone = await page()
    assert "It was not used for 0 days." in gone.text
    assert "Build it again" in gone.text
    assert f"{PREFIX}{address}/rollback" not in [form["action"] for form in gone.all("form")]
    question = Page((await browser.get(f"{version}/delete")).body.decode())
    check(question)
    assert "Nobody's files are touched" in question.text
    assert (await browser.submit(f"{version}/delete")).code == HTTPStatus.SEE_OTHER
    assert old.commit.short not in (await page()).text


async def test_a_start_in_what_is_gone_is_explained_with_the_button_that_helps(site: Site) -> None:
    detail = await site.ready("good", "ada")
    await site.manager.let_go(ROOT, Rules(unused_current=timedelta(0)))
    browser, address = await site.login("ada"), f"environments/{detail.environment.id}"
    site.pipeline.whole = False
    answer = await browser.submit(f"{address}/start")
    assert answer.code == HTTPStatus.CONFLICT
    page = Page(answer.body.decode())
    check(page)
    assert "are no longer kept on this machine. It was not used for 0 days." in " ".join(page.text.split())
    assert [form["action"] for form in page.all("form")] == [f"{PREFIX}{address}/build"]
    assert detail.version is not None
    led = await browser.submit(f"{address}/build", version=detail.version.id)
    assert led.headers["Location"].startswith(f"{PREFIX}builds/")
    assert site.hub.started == []
