"""The pages show what there is, in people's words, with nothing in them that a repository could have put there."""

import logging
import re
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path

import pytest

from guix_build_service.manager.manager import MayAdd, Policy
from guix_build_service.model.environments import Changes, EnvironmentDetail, Expectation, NewEnvironment, Person
from guix_build_service.web.rendering import turn
from guix_build_service.web.settings import shared_folder
from guix_environment.records import Visibility
from tests.service.web.conftest import PREFIX, Site
from tests.service.web.scripted import HOSTILE

ADA = Person("ada")


class Page(HTMLParser):
    """What matters of a page: its elements, its headings, its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def check(page: Page) -> None:
    """Hold PAGE against what every page must be."""
    assert len(page.all("h1")) == 1
    assert [each["lang"] for each in page.all("html")] == ["en"]
    for landmark in ("header", "nav", "main"):
        assert len(page.all(landmark)) == 1
    for script in page.all("script"):
        assert (script.get("src") or "").startswith(f"{PREFIX}static/")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert "style" not in attributes
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    labelled = {label.get("for") for label in page.all("label")}
    for tag in ("input", "select", "textarea", "progress"):
        for control in page.all(tag):
            assert control.get("type") == "hidden" or control["id"] in labelled
    for form in page.all("form"):
        assert form["method"] == "post"
    described = [name for _, attributes in page.elements for name in (attributes.get("aria-describedby") or "").split()]
    assert set(described) <= set(identifiers)
    names = [attributes["name"] for attributes in page.all("input") if attributes.get("name") == "_xsrf"]
    assert len(names) == len(page.all("form"))


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
    [environment] = await site.manager.environments(ADA)
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
    assert await site.manager.environments(ADA) == []


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
    assert await site.manager.environments(ADA) == []


async def test_a_form_offers_to_share_with_ones_own_groups(site: Site) -> None:
    ada, eve = await site.login("ada"), await site.login("eve")
    choices = [choice["value"] for choice in Page((await ada.get("")).body.decode()).all("option")]
    assert choices == ["private", "group:lab", "everyone"]
    assert [choice["value"] for choice in Page((await eve.get("")).body.decode()).all("option")] == ["private", "everyone"]
    shared = await ada.submit("", repo="https://git.example/a/good", audience="group:lab")
    assert shared.code == HTTPStatus.SEE_OTHER
    [detail] = await site.manager.environments(ADA)
    assert (detail.environment.visibility, detail.environment.groups) == (Visibility.GROUPS, ("lab",))
    refused = await ada.submit("", repo="https://git.example/a/good", audience="all")
    assert refused.code == HTTPStatus.UNPROCESSABLE_ENTITY


async def test_hostile_words_are_words_on_every_page(site: Site) -> None:
    browser = await site.login("ada")
    addresses = [""]
    for repository in ("good", "broken"):
        detail = await site.ready(repository, "ada")
        identifier = detail.environment.id
        await site.manager.update_environment(identifier, Changes(name=HOSTILE, description=HOSTILE), ADA)
        assert detail.build is not None
        addresses += [f"environments/{identifier}", f"environments/{identifier}/delete", f"builds/{detail.build.id}"]
    for address in addresses:
        answer = await browser.get(address)
        assert answer.code == HTTPStatus.OK
        text = answer.body.decode()
        assert "<script>alert" not in text
        page = Page(text)
        check(page)
        assert HOSTILE in page.text, address


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

    async def fail(_: Person) -> list[EnvironmentDetail]:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(site.manager, "environments", fail)
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


async def test_opening_a_page_changes_nothing(site: Site) -> None:
    browser = await site.login("ada")
    detail = await site.ready("good", "ada")
    before = await site.manager.environments(ADA)
    for name in ("start", "stop", "build", "rollback"):
        answer = await browser.get(f"environments/{detail.environment.id}/{name}")
        assert answer.code == HTTPStatus.METHOD_NOT_ALLOWED
    assert detail.build is not None
    for address in ("", "api", f"environments/{detail.environment.id}", f"builds/{detail.build.id}"):
        assert (await browser.get(address)).code == HTTPStatus.OK
    assert await site.manager.environments(ADA) == before
    assert site.hub.started == []


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


async def test_every_answer_has_the_headers_that_keep_browsers_safe(site: Site) -> None:
    browser = await site.login("ada")
    for answer in (
        await browser.get(""),
        await browser.get("environments/x"),
        await browser.get("nowhere"),
        await site.ask("GET", "api/v1/health"),
        await site.ask("GET", "api/v1/environments"),
        await site.ask("GET", "static/build.js"),
        await site.ask("GET", "static/../layout.html"),
        await site.ask("GET", "static/missing.js"),
        await site.ask("GET", "oauth_callback"),
        await site.ask("GET", ""),
        await site.ask("TRACE", ""),
        await site.ask("GET", PREFIX.rstrip("/")),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "Server" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.code < 500
        assert b"Traceback" not in answer.body


async def test_static_files_are_those_of_one_folder(site: Site) -> None:
    answer = await site.ask("GET", "static/service.css")
    assert answer.code == HTTPStatus.OK
    assert answer.headers["Cache-Control"] == "no-cache"
    for path in ("../templates/service/layout.html", "%2e%2e/%2e%2e/pyproject.toml", "/etc/passwd", ""):
        assert (await site.ask("GET", f"static/{path}")).code in {
            HTTPStatus.NOT_FOUND,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.BAD_REQUEST,
        }


async def test_cookies_are_kept_from_scripts_and_other_paths(site: Site) -> None:
    browser = await site.login("ada")
    assert browser.cookies.keys() >= {"service-guix", "_xsrf"}
    assert browser.set_cookies
    for line in [each for each in browser.set_cookies if '=""' not in each]:
        assert f"Path={PREFIX}" in line
        assert "samesite" in line.lower()
        assert "httponly" in line.lower()


def test_scripts_put_no_text_into_a_page_as_markup() -> None:
    for script in Path(shared_folder("static")).glob("*.js"):
        text = script.read_text()
        for way in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in text, (script.name, way)


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
    (detail,) = await site.manager.environments(Person("ada"))
    assert detail.build is not None
    async for _ in site.manager.follow(detail.build.id, Person("ada")):
        pass
    await browser.submit(link)
    ((_, _, body),) = site.hub.started
    assert body["user_options"] == {"environment": detail.environment.id, "path": "notes/a b.ipynb"}
    folder = await browser.submit("", repo="https://codeberg.org/a/good/src/commit/7f3a9c1" + "0" * 33 + "/notes")
    assert folder.headers["Location"].startswith(f"{PREFIX}builds/")
