"""What people see of their session in JupyterLab: on a real hub, in a real session, in a real browser."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from guix_environment.identifiers import Commit, EnvironmentId
from guix_environment.records import Records
from tests.barriers import AXE, BARRIERS, LOW_CONTRAST
from tests.spawner.built_records import built_records, output
from tests.spawner.conftest import ENVIRONMENT, OLD_VERSION, VERSION, environment, version
from tests.spawner.real_hub import RealHub, running_hub, wait_for

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.browser, pytest.mark.timeout(1800)]

GIVEN = {"environment": ENVIRONMENT}
PATIENCE = 120_000
NOTEBOOK: dict[str, Any] = {"cells": [], "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as folder:
        yield folder


@pytest.fixture
def page(browser: Browser, hub: RealHub) -> Iterator[Page]:
    """A browser in which ada has logged in."""
    with logged_in(browser, hub) as page:
        yield page


@contextmanager
def logged_in(browser: Browser, hub: RealHub, user: str = "ada", **options: Any) -> Iterator[Page]:
    context = browser.new_context(base_url=hub.address, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto("/hub/login?next=/hub/home")
    page.fill("#username_input", user)
    page.fill("#password_input", "x")
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")
    yield page
    context.close()


def copy(hub: RealHub) -> Path:
    return hub.state / "homes/ada/analysis"


def write(hub: RealHub, name: str, content: str) -> None:
    """Write a file of ada's into the working copy."""
    file = copy(hub) / name
    file.write_text(content)
    owner = copy(hub).stat()
    os.chown(file, owner.st_uid, owner.st_gid)


def open_lab(page: Page, path: str = "") -> None:
    page.goto(f"/user/ada/lab/workspaces/{os.urandom(4).hex()}{path}")
    expect(page.locator("#jp-main-dock-panel")).to_be_visible(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("specification", "kernel"),
    [
        ({"name": "conda-env-x-py", "display_name": "Python [conda env:x]", "language": "python"}, "Python 3"),
        ({"name": "python3", "display_name": "Python 3", "language": "python"}, "Python 3"),
        ({"name": "ir", "display_name": "R", "language": "R"}, "R"),
        ({"name": "conda-env-r-r", "display_name": "R [conda env:r]", "language": "R"}, "R"),
    ],
)
def test_a_notebooks_kernel_is_there_without_a_question(
    page: Page, hub: RealHub, specification: dict[str, str], kernel: str
) -> None:
    # A path's kernel stays with it: each notebook has a name of its own.
    name = f"{specification['name']}.ipynb"
    write(hub, name, json.dumps({**NOTEBOOK, "metadata": {"kernelspec": specification}}))
    open_lab(page, f"/tree/analysis/{name}")
    expect(page.locator("#jp-main-statusbar")).to_contain_text(
        re.compile(rf"{kernel}( \(ipykernel\))? \| Idle"), timeout=PATIENCE
    )
    expect(page.locator(".jp-Dialog")).to_have_count(0)


def test_a_language_that_is_not_there_is_asked_about(page: Page, hub: RealHub) -> None:
    named = {"name": "julia-1.8", "display_name": "Julia", "language": "julia"}
    write(hub, "julia.ipynb", json.dumps({**NOTEBOOK, "metadata": {"kernelspec": named}}))
    open_lab(page, "/tree/analysis/julia.ipynb")
    expect(page.locator(".jp-Dialog")).to_contain_text("Select Kernel", timeout=PATIENCE)


def test_what_the_session_is_can_be_read(page: Page, hub: RealHub) -> None:
    open_lab(page)
    page.get_by_role("button", name="An analysis").click(timeout=PATIENCE)
    dialog = page.locator(".jp-Dialog")
    record = Records(hub.state / "records").read_version(ENVIRONMENT, VERSION)
    for words in ("An analysis", "https://git.example/somebody/analysis", record.commit[:12], "~/analysis", "Memory"):
        expect(dialog).to_contain_text(words)
    page.get_by_role("button", name="Close").click()


def test_nobody_else_may_ask(hub: RealHub) -> None:
    """A stranger's page sends cookies and no word of Jupyter's against forgery; a stranger sends nothing."""
    for name in ("state", "update"):
        assert hub.request("GET", f"/user/ada/guix-session/{name}", headers={})[0] == 403
    for name in ("activity", "update"):
        # Without a body: the server refuses before it would read one, which the proxy may take for a server that broke down.
        for headers in ({}, {"Cookie": "jupyterhub-user-ada=x"}):
            assert hub.request("POST", f"/user/ada/guix-session/{name}", b"", headers=headers)[0] == 403
    assert hub.request("GET", "/user/ada/guix-session/state")[0] == 200


def publish(hub: RealHub, name: str, content: str) -> str:
    """Start ada's session of a newer version in which the file NAME has CONTENT, and return its commit."""
    records = Records(hub.state / "records")
    source, bare = hub.state / "source", records.repository(ENVIRONMENT)
    if not source.exists():
        output("git", "clone", "--quiet", bare, source)
    (source / name).write_text(content)
    output("git", "-C", source, "add", ".")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    output("git", "-C", source, *who, "commit", "--quiet", "--message=newer")
    output("git", "-C", source, "push", "--quiet", "origin", "HEAD:trunk")
    commit = Commit(output("git", "-C", source, "rev-parse", "HEAD").strip())
    records.write_version(ENVIRONMENT, replace(records.read_version(ENVIRONMENT, VERSION), commit=commit))
    for path in (bare, *bare.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    hub.stop("ada")
    assert hub.spawn("ada", GIVEN)[0] == 201
    return commit


def test_a_newer_version_is_offered_and_put_in_place(page: Page, hub: RealHub) -> None:
    write(hub, "mine.txt", "mine")
    commit = publish(hub, "added.txt", "of the newer version")
    open_lab(page)
    offer = page.locator(".Toastify__toast", has_text="A newer version of analysis is there")
    expect(offer).to_be_visible(timeout=PATIENCE)
    offer.get_by_role("button", name="Update").click()
    expect(page.locator(".Toastify__toast", has_text=f"now at the version {commit[:7]}")).to_be_visible(timeout=PATIENCE)
    assert (copy(hub) / "added.txt").read_text() == "of the newer version"
    assert (copy(hub) / "mine.txt").read_text() == "mine"
    assert (copy(hub) / "added.txt").stat().st_uid == copy(hub).stat().st_uid


def test_what_is_in_the_way_of_a_newer_version_is_named_and_left_alone(page: Page, hub: RealHub) -> None:
    publish(hub, "added.txt", "of the version before")
    write(hub, "added.txt", "of the person's")
    commit = publish(hub, "added.txt", "of the newest version")
    open_lab(page)
    told = page.locator(".Toastify__toast", has_text=f"A newer version of analysis is there ({commit[:7]})")
    expect(told).to_be_visible(timeout=PATIENCE)
    told.get_by_role("button", name="What is in the way").click()
    expect(page.locator(".jp-Dialog")).to_contain_text("changed files: added.txt")
    assert (copy(hub) / "added.txt").read_text() == "of the person's"
    page.get_by_role("button", name="Close").click()


RIVERS = [EnvironmentId(f"erivers{'a' * 4}{letter}") for letter in "abcdefgh"]
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def rivers(hub: RealHub) -> str:
    """Somebody with many environments, of which no part is on this machine any more."""
    records = Records(hub.state / "records")
    for number, river in enumerate(RIVERS):
        records.write_version(river, version())
        address = f"https://git.example/lab{number % 2}/river-{number}"
        records.write_environment(environment(id=river, owner="rita", name=f"River {number}", repository=address))
    long = {"name": "long" * 50, "description": "wide" * 99, "owner": "owner" * 24, "users": ("rita",)}
    records.write_environment(environment(id=RIVERS[7], **long))
    return "rita"


def expect_open_to_all(page: Page) -> None:
    """Fail where something on PAGE keeps people out who do not see, use no mouse, or have a small screen."""
    page.evaluate(AXE.read_text())
    assert page.evaluate(BARRIERS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
        assert page.evaluate(LOW_CONTRAST) == []


def test_one_of_many_environments_is_found_and_started_by_keyboard(browser: Browser, hub: RealHub, rivers: str) -> None:
    with logged_in(browser, hub, rivers, viewport=PHONE) as page:
        page.goto(f"/hub/spawn?opt-environment={RIVERS[2]}")
        assert page.title() == "Start a session · JupyterHub"
        expect_open_to_all(page)
        page.get_by_label("Find an environment").fill("https://GIT.example/lab1 river")
        expect(page.get_by_role("status")).to_have_text("3 of 9 environments, and the one that is chosen")
        shown = [page.get_by_role("radio", name=f"River {number}", exact=True) for number in (1, 2, 3, 5)]
        expect(page.get_by_role("radio")).to_have_count(len(shown))
        for choice in shown:
            expect(choice).to_be_visible()
        shown[3].check()
        expect(page.get_by_role("radio")).to_have_count(3)
        page.get_by_label("Find an environment").press("Enter")
        expect(shown[0]).to_be_focused()
        expect(shown[0]).to_be_checked()
        expect(page.get_by_role("status")).to_have_text("3 of 9 environments")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("A part of River 1 is no longer on this machine.")
        # What was chosen is not to be looked for again.
        expect(shown[0]).to_be_checked()
        expect_open_to_all(page)


def test_without_scripts_what_a_link_named_is_left_out_for_another_environment(
    browser: Browser, hub: RealHub, rivers: str
) -> None:
    with logged_in(browser, hub, rivers, java_script_enabled=False) as page:
        page.goto(f"/hub/spawn?opt-environment={RIVERS[2]}&opt-version={OLD_VERSION}")
        expect(page.get_by_label("Find an environment")).to_be_hidden()
        page.get_by_role("radio", name="River 3", exact=True).check()
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("alert")).to_contain_text("A part of River 3 is no longer on this machine.")


ASKED_TWICE = """() => [1, 2].map(() => {
  const event = new Event("submit", { cancelable: true });
  document.getElementById("spawn_form").dispatchEvent(event);
  return event.defaultPrevented ? "refused" : "sent";
})"""


def test_a_start_is_asked_for_once_and_says_so_when_it_fails_later(browser: Browser, hub: RealHub, rivers: str) -> None:
    held = hub.state / "hold-watched"
    held.touch()
    with logged_in(browser, hub, rivers, viewport=PHONE) as page:
        page.goto(f"/hub/spawn/{rivers}/watched?opt-environment={RIVERS[7]}")
        assert page.evaluate(ASKED_TWICE) == ["sent", "refused"]
        expect(page.get_by_role("button", name="Starting…")).to_be_visible()
        page.reload()
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Starting your session")
        expect_open_to_all(page)
        page.get_by_role("button", name="Stop starting").focus()
        held.unlink()
        expect(page.get_by_role("heading", level=1)).to_have_text("Your session did not start")
        expect(page.get_by_role("status")).to_contain_text("long is no longer on this machine.")
        expect(page.get_by_role("link", name="Try again")).to_be_focused()
        assert page.title() == "Your session did not start · JupyterHub"
        expect_open_to_all(page)
        page.goto(f"/user/{rivers}/watched/")
        expect(page.get_by_role("alert")).to_contain_text("long is no longer on this machine.")
        assert page.title() == "Your session did not start · JupyterHub"
        expect_open_to_all(page)


def test_a_warning_comes_before_the_end_and_goes_when_work_goes_on(browser: Browser, records: Path) -> None:
    """With 100 seconds without work until the end, the warning comes after 80; that the page is open is no work."""
    with running_hub(records, options={"idle_timeout": 100}) as hub, logged_in(browser, hub) as page:
        assert hub.spawn("ada", GIVEN)[0] == 201, hub.session_log("ada")
        open_lab(page)
        warning = page.locator(".Toastify__toast", has_text="Nothing has happened in this session")
        expect(warning).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="Keep working").click()
        expect(warning).to_have_count(0, timeout=PATIENCE)
        assert hub.model("ada").get("ready")
        expect(warning).to_be_visible(timeout=PATIENCE)
        wait_for(lambda: not hub.model("ada"), 240)
