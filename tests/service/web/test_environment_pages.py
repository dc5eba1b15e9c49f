"""The pages of environments: those that there are, what becomes of each, and what each visitor may do."""

import re
from http import HTTPStatus

from guix_build_service.model.environments import NewEnvironment, Person
from guix_environment.records import Visibility
from tests.service.listing import environments_for
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page, check

ADA = Person("ada")


async def test_the_first_visit_offers_examples(site: Site) -> None:
    browser = await site.login("eve")
    page = Page((await browser.get("")).body.decode())
    check(page)
    assert "No environments yet" in page.text
    assert "An example" in page.text


async def test_a_person_adds_watches_starts_stops_and_deletes(site: Site) -> None:
    browser = await site.login("ada")
    added = await browser.submit("", repo="https://git.example/a/slow", ref="main", audience="everyone")
    assert added.code == HTTPStatus.SEE_OTHER
    watched = added.headers["Location"]
    assert re.fullmatch(f"{PREFIX}builds/[a-z0-9]{{12}}", watched)
    page = Page((await browser.get(watched)).body.decode())
    check(page)
    assert "Building slow" in page.text
    assert [bar["id"] for bar in page.all("progress")] == ["progress", "bytes"]
    [environment] = await environments_for(ADA, site.manager)
    identifier = environment.environment.id
    site.pipeline.release.set()
    async for _ in site.manager.follow(watched.rpartition("/")[2], ADA):  # type: ignore[arg-type] # as the address has it
        pass
    page = Page((await browser.get(watched)).body.decode())
    check(page)
    assert "slow is ready" in page.text
    assert f"{PREFIX}environments/{identifier}/start" in [form["action"] for form in page.all("form")]
    started = await browser.submit(f"environments/{identifier}/start")
    assert started.code == HTTPStatus.SEE_OTHER
    assert started.headers["Location"] == f"/hub/spawn-pending/ada/slow-{identifier}"
    assert [name for _, name, _ in site.hub.started] == [f"slow-{identifier}"]
    again = await browser.submit(f"environments/{identifier}/start")
    assert again.headers["Location"] == started.headers["Location"]
    assert len(site.hub.started) == 1
    page = Page((await browser.get("")).body.decode())
    check(page)
    assert "session starting" in page.text
    refused = await browser.submit(f"environments/{identifier}/delete")
    assert refused.code == HTTPStatus.CONFLICT
    assert (await browser.submit(f"environments/{identifier}/stop")).code == HTTPStatus.SEE_OTHER
    assert site.hub.servers["ada"] == {}
    asked = Page((await browser.get(f"environments/{identifier}/delete")).body.decode())
    check(asked)
    assert "Nobody's files are touched" in asked.text
    deleted = await browser.submit(f"environments/{identifier}/delete")
    assert (deleted.code, deleted.headers["Location"]) == (HTTPStatus.SEE_OTHER, PREFIX)
    assert await environments_for(ADA, site.manager) == []


async def test_a_start_that_fails_says_why_and_offers_what_helps(site: Site) -> None:
    detail = await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    address = f"environments/{detail.environment.id}"
    site.hub.refusal = 500, "A part of good is no longer on this machine. Its owner can build it again, on its page."
    # To try the same again does not help, and to build it again is the owner's.
    site.pipeline.whole = False
    for name, offered, hint in (("ada", [f"{PREFIX}{address}/build"], False), ("eve", [], True)):
        browser = await site.login(name)
        answer = await browser.submit(f"{address}/start")
        assert answer.code == HTTPStatus.INTERNAL_SERVER_ERROR
        page = Page(answer.body.decode())
        check(page)
        assert "A part of good is no longer on this machine." in page.text
        assert ("Its owner can build it again" in page.text) is hint
        assert [form["action"] for form in page.all("form")] == offered
    site.pipeline.whole = True
    page = Page((await browser.submit(f"{address}/start")).body.decode())
    assert [form["action"] for form in page.all("form")] == [f"{PREFIX}{address}/start"]


async def test_what_belongs_to_others_shows_no_buttons_that_change_it(site: Site) -> None:
    browser = await site.login("eve")
    detail = await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    page = Page((await browser.get(f"environments/{detail.environment.id}")).body.decode())
    check(page)
    assert [form["action"] for form in page.all("form")] == [f"{PREFIX}environments/{detail.environment.id}/start"]


async def test_another_version_becomes_the_current_one(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    identifier = detail.environment.id
    assert detail.version is not None
    again = await site.manager.start_build(identifier, ADA, force=True)
    assert again.build is not None
    async for _ in site.manager.follow(again.build.id, ADA):
        pass
    page = Page((await browser.get(f"environments/{identifier}")).body.decode())
    check(page)
    assert detail.version.id in [field.get("value") for field in page.all("input")]
    assert (
        await browser.submit(f"environments/{identifier}/rollback", version=detail.version.id)
    ).code == HTTPStatus.SEE_OTHER
    assert (await site.manager.environment(identifier, ADA)).environment.current == detail.version.id


async def test_opening_a_page_changes_nothing(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    before = await environments_for(ADA, site.manager)
    for name in ("start", "stop", "build", "rollback"):
        answer = await browser.get(f"environments/{detail.environment.id}/{name}")
        assert answer.code == HTTPStatus.METHOD_NOT_ALLOWED
    assert detail.build is not None
    for address in ("", "api", f"environments/{detail.environment.id}", f"builds/{detail.build.id}"):
        assert (await browser.get(address)).code == HTTPStatus.OK
    assert await environments_for(ADA, site.manager) == before
    assert site.hub.started == []


async def test_a_session_offers_what_can_be_done_with_it_as_it_is(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    address = f"{PREFIX}environments/{detail.environment.id}"
    await browser.submit(f"environments/{detail.environment.id}/start")
    [session] = site.hub.servers["ada"].values()
    again, stop = f"{address}/build", f"{address}/stop"
    for changed, forms, words in (
        ({"ready": False, "pending": "spawn"}, [f"{address}/start", stop, again], "See it start"),
        ({"ready": True, "pending": None}, [stop, again], "Open"),
        ({"ready": False, "pending": "stop"}, [again], "Stopping…"),
    ):
        session |= changed
        page = Page((await browser.get("")).body.decode())
        check(page)
        # None is deleted from under a session.
        assert [form["action"] for form in page.all("form") if form["action"] != PREFIX] == forms
        assert words in page.text


async def test_an_address_that_no_browser_opens_is_no_link(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.manager.add_environment(NewEnvironment("git@git.example:a/slow"), ADA)
    page = Page((await browser.get(f"environments/{detail.environment.id}")).body.decode())
    assert "ssh://git@git.example/a/slow" in page.text
    assert not [link for link in page.all("a") if "git.example" in str(link.get("href"))]
