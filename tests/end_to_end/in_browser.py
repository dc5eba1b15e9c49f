"""What people do in a browser, in the tests' words."""

import re

from playwright.sync_api import Page, expect

from tests.end_to_end.conftest import Installation


def log_in(page: Page, installation: Installation) -> None:
    """Log in on the hub's own page, which leads to the environments."""
    page.goto("/")
    page.get_by_label("Username").fill(installation.name)
    page.get_by_label("Password").fill(installation.password)
    page.get_by_role("button", name="Sign in").click()


def wait_for_lab(page: Page) -> None:
    """Return once JupyterLab is on the page and its splash screen is gone."""
    page.wait_for_url(re.compile(r"/user/.*/lab"))
    expect(page.locator("#jp-main-dock-panel")).to_be_visible()


def run_all_cells(page: Page, kernel: str) -> None:
    """Run the notebook that is open, once its KERNEL is ready; sooner, and JupyterLab asks which one is meant."""
    expect(page.locator("#jp-main-statusbar")).to_contain_text(f"{kernel} | Idle")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
