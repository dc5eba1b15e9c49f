"""The front page: those environments that there are, searched for, in parts, and as their owners describe them."""

import pytest

from guix_build_service.model.environments import NewEnvironment, Person
from guix_build_service.web import front_page
from guix_environment.records import Visibility
from tests.service.web.conftest import PREFIX, Browser, Site
from tests.service.web.page import Page, check

NAMES = ("Plots", "Rye & Co", "Wheat", "Barley", "Oats", "Millet", "Maize")


async def add(site: Site, name: str, **further: object) -> None:
    request = NewEnvironment("https://git.example/a/slow", name=name, **further)  # type: ignore[arg-type] # as it takes them
    await site.manager.add_environment(request, Person("ada"))


async def shown(browser: Browser, address: str = "") -> Page:
    answer = await browser.get(address)
    assert answer.code == 200
    page = Page(answer.body.decode())
    check(page)
    return page


def cards(page: Page) -> int:
    return len([each for each in page.all("li") if str(each.get("id")).startswith("card-")])


def searches(page: Page) -> list[str | None]:
    return [form.get("role") for form in page.all("form") if form.get("role") == "search"]


async def test_a_few_are_not_searched_and_many_are(site: Site) -> None:
    browser = await site.login("ada")
    for name in NAMES[:-1]:
        await add(site, name)
    assert searches(await shown(browser)) == []
    await add(site, NAMES[-1])
    page = await shown(browser)
    assert (searches(page), cards(page)) == (["search"], 7)
    page = await shown(browser, "?text=RYE+%26")
    assert cards(page) == 1
    assert "Rye & Co" in page.text
    assert [each.get("value") for each in page.all("input") if each.get("id") == "text"] == ["RYE &"]
    assert PREFIX in [link.get("href") for link in page.all("a") if "btn" in str(link.get("class"))]


async def test_nothing_found_is_not_taken_for_a_first_visit(site: Site) -> None:
    browser = await site.login("ada")
    await add(site, "Plots")
    page = await shown(browser, "?text=%3Cb%3Ebeans")
    assert cards(page) == 0
    assert "No environment that you may see has “<b>beans” in its name" in " ".join(page.text.split())
    assert "No environments yet" not in page.text


async def test_long_lists_come_in_parts_which_have_each_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_page, "SHOWN", 3)
    browser = await site.login("ada")
    for name in NAMES:
        await add(site, name)
    address, found, said = "?text=git.example", list[str](), list[str]()
    while address:
        page = await shown(browser, address)
        found += [str(each["id"]) for each in page.all("li") if str(each.get("id")).startswith("card-")]
        said += [words for words in ("1 to 3 of 7", "4 to 6 of 7", "7 to 7 of 7") if words in page.text]
        following = [str(link["href"]) for link in page.all("a") if link.get("rel") == "next"]
        address = following[0] if following else ""
    assert len(found) == len(set(found)) == 7
    assert said == ["1 to 3 of 7", "4 to 6 of 7", "7 to 7 of 7"]
    before = [link["href"] for link in page.all("a") if link.get("rel") == "prev"]
    assert before == [f"{PREFIX}?text=git.example&from=3"]
    assert "1 to 3 of 7" in (await shown(browser, str(before[0]).replace("from=3", "from=99999"))).text


async def test_those_beyond_what_is_looked_through_are_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await site.login("ada")
    for name in NAMES[:3]:
        await add(site, name)
    words = "There are more than these 2. Search to find the others."
    assert words not in (await shown(browser)).text
    monkeypatch.setattr(front_page, "LARGEST_PAGE", 2)
    page = await shown(browser)
    assert cards(page) == 2
    assert words in page.text


async def test_a_card_says_for_which_groups_it_is(site: Site) -> None:
    browser = await site.login("ada")
    await add(site, "Plots", visibility=Visibility.GROUPS, groups=("lab",))
    assert "for members of lab" in (await shown(browser)).text


async def test_what_runs_stands_before_what_is_built_and_that_before_the_rest(site: Site) -> None:
    browser = await site.login("ada")
    running = (await site.ready("good", "ada")).environment.id
    await browser.submit(f"environments/{running}/start")
    await add(site, "Plots")
    last = (await site.ready("good-2", "ada")).environment.id
    found = [str(each["id"]) for each in (await shown(browser)).all("li") if str(each.get("id")).startswith("card-")]
    assert (found[0], found[2]) == (f"card-{running}", f"card-{last}")
