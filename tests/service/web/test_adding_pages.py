"""The form by which an environment is added: what it offers, what it refuses, and where it leads."""

from http import HTTPStatus

import pytest

from guix_build_service.manager.manager import MayAdd, Policy
from guix_build_service.model.environments import Person
from guix_environment.records import Visibility
from tests.service.listing import environments_for
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page, check
from tests.service.web.scripted import HOSTILE

ADA = Person("ada")


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        ("not an address", "What to do:"),
        ("https://git.example/a/gone", "No repository answers there."),
        (f"https://git.example/{HOSTILE}", "What to do:"),
        ("x" * 600, "512"),
        ("", "required"),
    ],
)
async def test_a_form_that_cannot_be_used_comes_back_with_the_reason(site: Site, repository: str, shown: str) -> None:
    browser = await site.login("ada")
    answer = await browser.submit("", repo=repository, name="Kept")
    assert answer.code == HTTPStatus.UNPROCESSABLE_ENTITY
    page = Page(answer.body.decode())
    check(page)
    assert shown in page.text
    fields = {field.get("id"): field.get("value") for field in page.all("input")}
    assert (fields["repo"], fields["name"]) == (repository, "Kept")
    assert await environments_for(ADA, site.manager) == []


async def test_a_form_offers_to_share_with_ones_own_groups(site: Site) -> None:
    ada, eve = await site.login("ada"), await site.login("eve")
    choices = [choice["value"] for choice in Page((await ada.get("")).body.decode()).all("option")]
    assert choices == ["private", "group:lab", "everyone"]
    assert [choice["value"] for choice in Page((await eve.get("")).body.decode()).all("option")] == ["private", "everyone"]
    shared = await ada.submit("", repo="https://git.example/a/good", audience="group:lab")
    assert shared.code == HTTPStatus.SEE_OTHER
    [detail] = await environments_for(ADA, site.manager)
    assert (detail.environment.visibility, detail.environment.groups) == (Visibility.GROUPS, ("lab",))
    refused = await ada.submit("", repo="https://git.example/a/good", audience="all")
    assert refused.code == HTTPStatus.UNPROCESSABLE_ENTITY


async def test_one_who_may_not_add_sees_no_form(site: Site) -> None:
    browser = await site.login("eve")
    site.manager._policy = Policy(may_add=MayAdd.ADMINS)
    page = Page((await browser.get("")).body.decode())
    check(page)
    assert page.all("form") == []
    assert "you may not add one here" in page.text
    refused = await browser.submit("", repo="https://git.example/a/good")
    assert refused.code == HTTPStatus.FORBIDDEN
    assert "You may not add environments" in Page(refused.body.decode()).text


async def test_the_address_of_a_file_leads_to_where_it_can_be_opened(site: Site) -> None:
    browser = await site.login("ada")
    file = "https://codeberg.org/a/good/raw/commit/7f3a9c1" + "0" * 33 + "/notes/a%20b.ipynb"
    added = await browser.submit("", repo=file)
    link = "v2/git/https%3A%2F%2Fcodeberg.org%2Fa%2Fgood/7f3a9c1" + "0" * 33 + "?labpath=notes/a%20b.ipynb"
    assert (added.code, added.headers["Location"]) == (303, PREFIX + link)
    page = await browser.get(link)
    assert "opens <code>notes/a b.ipynb</code>" in page.body.decode()
    (detail,) = await environments_for(Person("ada"), site.manager)
    assert detail.build is not None
    async for _ in site.manager.follow(detail.build.id, Person("ada")):
        pass
    await browser.submit(link)
    ((_, _, body),) = site.hub.started
    assert body["user_options"] == {"environment": detail.environment.id, "path": "notes/a b.ipynb"}
    folder = await browser.submit("", repo="https://codeberg.org/a/good/src/commit/7f3a9c1" + "0" * 33 + "/notes")
    assert folder.headers["Location"].startswith(f"{PREFIX}builds/")
