"""The page of a build: its turn, its log, and why it failed."""

from http import HTTPStatus

import pytest

from guix_build_service.model.environments import Expectation, NewEnvironment, Person
from guix_build_service.web import build_pages
from guix_build_service.web.rendering import turn
from guix_environment.records import Visibility
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.page import Page


async def test_a_build_that_waits_says_its_place_in_the_line(site: Site) -> None:
    browser, ada = await site.login("ada"), Person("ada")
    placed: dict[int, str] = {}
    for number in range(20):
        detail = await site.manager.add_environment(NewEnvironment(f"https://git.example/a/slow-{number}"), ada)
        assert detail.build is not None
        found = await site.manager.build(detail.build.id, ada)
        if found.expected is not None and found.expected.seconds is None:
            placed[found.expected.position] = f"builds/{found.id}"
    for position, words in ((1, "next in line"), (2, "number 2 in line")):
        page = Page((await browser.get(placed[position])).body.decode())
        assert f"Waiting for its turn {words}" in " ".join(page.text.split())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "number 3 in line"), (0.0, "number 3 in line, begins within a minute or so"),
        (61.0, "number 3 in line, begins in about 2 minutes"), (3600.0, "number 3 in line, begins in about 60 minutes"),
    ],
)  # fmt: skip
def test_when_a_turn_comes_is_said_as_far_as_it_is_known(seconds: float | None, words: str) -> None:
    assert turn(Expectation(3, seconds)) == words
    assert turn(None) == ""


async def test_a_failure_says_what_happened_and_what_to_do(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.ready("broken", "ada")
    assert detail.build is not None
    page = Page((await browser.get(f"builds/{detail.build.id}")).body.decode())
    assert "broken could not be built" in page.text
    assert "Guix has no package called" in page.text
    assert "Did you mean" in page.text
    assert f"{PREFIX}environments/{detail.environment.id}/build" in [form["action"] for form in page.all("form")]
    again = await browser.submit(f"environments/{detail.environment.id}/build")
    assert again.code == HTTPStatus.SEE_OTHER


async def test_a_long_log_is_shown_from_its_end_with_the_right_numbers(site: Site) -> None:
    site.pipeline.lines = 2500
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    assert detail.build is not None
    log = (await site.ask("GET", f"api/v1/builds/{detail.build.id}/log", token="token-ada")).body.decode()
    page = Page((await browser.get(f"builds/{detail.build.id}")).body.decode())
    numbers = [int(anchor["data-number"] or 0) for anchor in page.all("a") if "data-number" in anchor]
    assert numbers == list(range(log.count("\n") - 1999, log.count("\n") + 1))
    assert "Only the end is shown" in page.text


async def test_a_build_is_stopped_by_those_who_may_and_not_by_who_only_sees_it(site: Site) -> None:
    ada, eve = await site.login("ada"), await site.login("eve")
    request = NewEnvironment("https://git.example/a/slow", visibility=Visibility.EVERYONE)
    detail = await site.manager.add_environment(request, Person("ada"))
    assert detail.build is not None
    address = f"builds/{detail.build.id}"
    stop = f"{PREFIX}{address}/cancel"
    for browser, offered in ((ada, [stop]), (eve, [])):
        page = Page((await browser.get(address)).body.decode())
        assert "Building slow" in page.text
        assert [form["action"] for form in page.all("form")] == offered
    assert (await ada.submit(f"{address}/cancel")).code == HTTPStatus.SEE_OTHER
    async for _ in site.manager.follow(detail.build.id, Person("ada")):
        pass
    page = Page((await ada.get(address)).body.decode())
    assert "The build of slow was stopped" in page.text
    assert stop not in [form["action"] for form in page.all("form")]


async def test_of_a_log_too_long_to_be_counted_the_end_is_shown_without_numbers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_pages, "LARGEST_NUMBERED", 100)
    monkeypatch.setattr(build_pages, "TAIL", 60)
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    assert detail.build is not None
    page = Page((await browser.get(f"builds/{detail.build.id}")).body.decode())
    assert not [anchor for anchor in page.all("a") if "data-number" in anchor]
    assert "Only the end is shown" in page.text
    assert "line 0" not in page.text
