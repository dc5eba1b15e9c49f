"""What a page says of what is not there, is not for the visitor, or went wrong."""

import logging
from http import HTTPStatus

import pytest

from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page, check
from tests.service.web.scripted import HOSTILE


async def test_what_is_not_there_has_a_page_that_says_so(site: Site) -> None:
    browser = await site.login("ada")
    for address in ("environments/eaaaaaaaaaaa", "builds/baaaaaaaaaaa", "environments/x/delete", "nowhere", "/elsewhere"):
        answer = await browser.get(address)
        assert answer.code == HTTPStatus.NOT_FOUND
        page = Page(answer.body.decode())
        check(page)
        assert "To the environments" in page.text


async def test_what_goes_wrong_is_logged_without_what_was_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser = await site.login("ada")

    async def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(site.manager, "some_environments", fail)
    caplog.set_level(logging.DEBUG)
    answer = await browser.get("?secret=5ecret")
    assert answer.code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert b"a fault of ours" not in answer.body
    check(Page(answer.body.decode()))
    await browser.get("oauth_callback?code=5ecret")
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("asyncio"))
    assert "a fault of ours" in caplog.text
    assert "5ecret" not in ours
    assert "Traceback" in caplog.text


async def test_administrators_alone_see_how_well_people_are_kept_apart(site: Site) -> None:
    browser = await site.login("root")
    assert f"{PREFIX}isolation" in [link.get("href") for link in Page((await browser.get("")).body.decode()).all("a")]
    answer = await browser.get("isolation")
    assert answer.code == HTTPStatus.OK
    assert "<script>alert" not in answer.body.decode()
    page = Page(answer.body.decode())
    check(page)
    said = " ".join(page.text.split())
    assert "people who trust each other, and not every repository that they use: the level team" in said
    assert "The level strangers is asked for. As the machine is now, the service would not start again." in said
    assert "✓ held containers Containers can be made. people:" in said  # what is so needs no remedy
    assert f"✕ missing rights It runs as {HOSTILE}. What to do: Give it {HOSTILE} of its own." in said
    assert "? unknown guix Guix does not answer. What to do: Start it." in said
    browser = await site.login("ada")
    assert f"{PREFIX}isolation" not in [link.get("href") for link in Page((await browser.get("")).body.decode()).all("a")]
    refused = await browser.get("isolation")
    assert refused.code == HTTPStatus.FORBIDDEN
    assert "Containers can be made" not in refused.body.decode()
