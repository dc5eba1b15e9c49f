"""The pages in a real browser: live, without scripts, by keyboard, on a phone, in the dark, no stranger's script."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.barriers import AXE, BARRIERS, LOW_CONTRAST
from tests.service.web.real_hub import RealHub, running_hub
from tests.service.web.scripted import HOSTILE

pytestmark = [pytest.mark.hub, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    with running_hub(tmp_path_factory.mktemp("hub"), "/") as hub:
        yield hub


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(chromium: Browser, hub: RealHub, name: str, **options: object) -> Iterator[Page]:
    """Open the service as NAME; fail when a page's script fails, breaks the policy, or a stranger's script runs."""
    with_scripts = options.pop("java_script_enabled", True)
    context: BrowserContext = chromium.new_context(java_script_enabled=bool(with_scripts), **options)  # type: ignore[arg-type] # playwright's own
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.goto(f"{hub.address}/hub/login?next=/services/guix/")
    page.fill("#username_input", name)
    page.fill("#password_input", "x")
    page.click("#login_submit")
    page.wait_for_url("**/services/guix/")
    yield page
    context.close()
    assert complaints == []


def add(page: Page, repository: str, name: str = "") -> None:
    page.fill("#repo", f"https://git.example/a/{repository}")
    if name:
        page.click("summary")
        page.fill("#name", name)
    page.get_by_role("button", name="Build", exact=True).click()
    page.wait_for_url("**/builds/*")


def test_hostile_names_and_logs_are_shown_and_not_run(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve") as page:
        add(page, "good-hostile", HOSTILE)
        expect(page.get_by_role("heading", level=1)).to_contain_text(f"{HOSTILE} is ready", timeout=30_000)
        expect(page.locator("#L2")).to_contain_text(HOSTILE)
        page.goto(f"{hub.address}/services/guix/")
        expect(page.get_by_role("link", name=HOSTILE, exact=True)).to_be_visible()


def test_a_failure_shows_its_reason_and_a_way_on(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve") as page:
        add(page, "broken")
        expect(page.get_by_role("alert")).to_contain_text("What to do: Did you mean", timeout=30_000)
        expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_the_button_of_a_link_shows_what_happens_and_what_went_wrong(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve") as page:
        page.goto(f"{hub.address}/services/guix/v2/git/https%3A%2F%2Fgit.example%2Fa%2Fbroken/main?labpath=i.ipynb")
        expect(page.get_by_role("heading", level=1)).to_have_text("Start broken?")
        button = page.get_by_role("button", name="Build and start")
        button.click()
        expect(page.get_by_role("alert")).to_contain_text("Guix has no package called", timeout=30_000)
        expect(page.locator("#log")).to_contain_text("Looking for main of https://git.example/a/broken")
        assert page.evaluate(LOW_CONTRAST) == []
        expect(button).to_be_visible()


def addresses(page: Page) -> list[str]:
    """Return where pages of all kinds are, from the list of environments that is on PAGE."""
    links = page.locator("h2 a, .actions a[href*='builds'], .actions a[href$='delete']")
    found = [f"/services/guix/{path}" for path in ("", "api", "credentials", "environments/eaaaaaaaaaaa")]
    found += [str(links.nth(index).get_attribute("href")) for index in range(links.count())]
    assert len(found) > 7
    return found + [each.replace("/delete", "/change") for each in found if each.endswith("/delete")]


def test_no_page_keeps_out_who_does_not_see_or_uses_no_mouse(chromium: Browser, hub: RealHub) -> None:
    # What looks for barriers tries styles of its own, which the policy of the pages forbids.
    with visit(chromium, hub, "ada", bypass_csp=True) as page:
        for address in addresses(page):
            page.goto(hub.address + address)
            page.evaluate(AXE.read_text())
            assert page.evaluate(BARRIERS) == [], address


def test_every_page_can_be_read_in_light_in_dark_and_on_a_phone(chromium: Browser, hub: RealHub) -> None:
    for scheme in ("light", "dark"):
        options: dict[str, object] = {"color_scheme": scheme, "viewport": {"width": 360, "height": 740}}
        with visit(chromium, hub, "ada", **options) as page:
            for address in addresses(page):
                page.goto(hub.address + address)
                assert page.evaluate("document.documentElement.dataset.bsTheme") == scheme
                assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
                assert page.evaluate(LOW_CONTRAST) == [], address
                rows = page.locator("nav .nav-link").evaluate_all("links => links.map(link => link.offsetTop)")
                assert len(set(rows)) == 1, rows


def test_what_was_searched_for_is_brought_up_to_date_as_what_was_searched_for(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "ada") as page:
        page.clock.install()
        page.goto(f"{hub.address}/services/guix/?text=slow")
        expect(page.get_by_role("searchbox", name="Find an environment")).to_have_value("slow")
        with page.expect_request("**/services/guix/?text=slow") as asked:
            page.clock.run_for(5000)
        assert asked.value.resource_type == "fetch"
        expect(page.get_by_role("link", name="slow", exact=True)).to_be_visible()


def test_a_credential_is_kept_and_forgotten_by_keyboard(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "ada", viewport={"width": 360, "height": 740}, color_scheme="dark") as page:
        page.goto(f"{hub.address}/services/guix/credentials?host=https://git.example/a/private")
        expect(page.get_by_label("Host", exact=True)).to_have_value("git.example")
        expect(page.get_by_label("Token or password", exact=True)).to_be_focused()
        page.keyboard.type("a-token-of-the-test")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="git.example", exact=True)).to_be_visible()
        assert "a-token-of-the-test" not in page.content()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate(LOW_CONTRAST) == []
        page.get_by_role("link", name="Forget what is kept for git.example").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Forget what is kept for git.example?")
        assert page.evaluate(LOW_CONTRAST) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Forget it").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("You keep nothing yet.")).to_be_visible()


def test_the_theme_is_the_hubs_and_can_be_changed(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "ada", color_scheme="light") as page:
        page.get_by_role("button", name="Change between light and dark").click()
        assert page.evaluate("localStorage.getItem('jupyterhub-bs-theme')") == "dark"
        page.goto(f"{hub.address}/hub/token")
        assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"


def test_all_is_reached_by_keyboard(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve") as page:
        add(page, "good-keys", "Keys")
        page.goto(f"{hub.address}/services/guix/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.get_by_role("link", name="Delete Keys").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Delete Keys?")
        expect(dialog).to_be_visible()
        expect(dialog).to_contain_text("Nobody's files are touched")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("link", name="Delete Keys")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Delete Keys").press("Enter")
        page.wait_for_url("**/services/guix/")
        expect(page.get_by_role("link", name="Keys", exact=True)).to_have_count(0)


def test_a_line_of_a_log_can_be_linked_to(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve") as page:
        add(page, "good-lines", "Lines")
        expect(page.locator("#L2")).to_be_visible(timeout=30_000)
        page.goto(f"{page.url}#L2")
        assert page.evaluate("document.querySelector(':target').id") == "L2"
        expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")


def test_the_api_is_read_and_tried_on_its_page(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "ada") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{hub.address}/services/guix/api")
        listing = page.locator("section", has=page.get_by_text("List the environments that you may see."))
        listing.get_by_text("Try it").click()
        listing.get_by_label("text").fill("good")
        listing.get_by_label("visibility").select_option("everyone")
        listing.get_by_role("button", name="Send").click()
        expect(listing.locator(".answer")).to_contain_text("200 OK · ETag:")
        expect(listing.locator(".answer-body")).to_contain_text('"repo": "https://git.example/a/good"')
        assert any(url.endswith("/api/v1/environments?text=good&visibility=everyone") for url in asked)
        resolving = page.locator("section", has=page.get_by_text("See which commit would be built; builds nothing."))
        resolving.get_by_text("Try it").press("Enter")
        body = resolving.get_by_label("ResolveRequest")
        expect(body).to_have_value('{\n  "repo": "https://codeberg.org/somebody/analysis"\n}')
        body.fill('{"repo": "https://git.example/a/good"}')
        resolving.get_by_role("button", name="Send").click()
        expect(resolving.locator(".answer-body")).to_contain_text('"commit": "7f3a9c1')
        body.fill('{"repo": 1}')
        resolving.get_by_role("button", name="Send").click()
        expect(resolving.locator(".answer")).to_contain_text("422")
        expect(resolving.locator(".answer-body")).to_contain_text('"code": "invalid-input"')
        assert not [url for url in asked if not url.startswith(hub.address)]


def test_without_scripts_a_person_still_builds_and_starts(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve", java_script_enabled=False) as page:
        add(page, "good-plain")
        expect(page.get_by_role("heading", level=1)).to_contain_text("good-plain is ready", timeout=30_000)
        page.goto(f"{hub.address}/services/guix/")
        page.get_by_role("link", name="Delete good-plain").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Delete good-plain?")
        page.get_by_role("link", name="Keep it").click()
        page.get_by_role("button", name="Start good-plain").click()
        page.wait_for_url("**/hub/spawn-pending/eve/good-plain-*")


def test_a_build_is_watched_from_its_first_line_to_ready(chromium: Browser, hub: RealHub) -> None:
    with visit(chromium, hub, "eve") as page:
        add(page, "slow")
        expect(page.get_by_role("heading", level=1)).to_have_text("Building slow")
        expect(page.locator(".phases .now")).to_contain_text("building", timeout=30_000)
        expect(page.locator("#progress")).to_have_attribute("max", "3")
        expect(page.get_by_role("progressbar", name="Downloaded")).to_have_attribute("max", "80000000")
        expect(page.locator("#amount")).to_have_text("24 MB of 80 MB")
        expect(page.locator("#log .line")).not_to_have_count(0)
        expect(page.get_by_text("Waiting", exact=True)).to_be_visible()
        page.reload()  # in the middle of a line
        expect(page.locator("#log .line").last).to_have_text("half a ")
        (hub.folder / "service" / "release").touch()
        expect(page.get_by_role("heading", level=1)).to_have_text("slow is ready", timeout=30_000)
        expect(page.locator("#announcements")).to_have_text("slow is ready to start.")
        assert page.title().startswith("ready: slow ")
        expect(page.locator("#log .line").last).to_contain_text("Ready.")
        expect(page.locator("#log").get_by_text("half a line", exact=True)).to_have_count(1)
        numbers = page.locator("#log .line a").evaluate_all("links => links.map(link => Number(link.dataset.number))")
        assert numbers == list(range(1, len(numbers) + 1))
        expect(page.get_by_role("button", name="Start slow")).to_be_enabled()
