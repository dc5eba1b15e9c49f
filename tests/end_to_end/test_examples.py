"""What is there from the start: three examples, of which two run and one explains why it does not."""

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.conftest import Installation
from tests.end_to_end.in_browser import log_in, run_all_cells, wait_for_lab
from tests.end_to_end.rest import Client

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.browser, pytest.mark.timeout(1800)]

PYTHON, R, BROKEN = "A plot in Python", "A plot in R", "Mistyped packages"


def test_the_examples_are_there_at_once(installation: Installation) -> None:
    assert set(installation.examples) == {PYTHON, R, BROKEN}
    assert {each["visibility"] for each in installation.examples.values()} == {"everyone"}


def test_the_broken_example_names_what_is_unknown_and_what_may_be_meant(page: Page, installation: Installation) -> None:
    log_in(page, installation)
    card = page.get_by_role("listitem").filter(has_text=BROKEN)
    expect(card).to_contain_text("failed")
    expect(card).to_contain_text("python-panda (perhaps python-pandas")
    expect(card).to_contain_text("python-matplotlab (perhaps python-matplotlib")
    expect(card.get_by_role("button", name="Start")).to_have_count(0)
    card.get_by_role("link", name=BROKEN, exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("What to do: Correct the names in the manifest.")


@pytest.mark.parametrize(("name", "kernel"), [(R, "R"), (PYTHON, "Python 3 (ipykernel)")])
def test_an_example_plots(page: Page, installation: Installation, quiet: Client, name: str, kernel: str) -> None:
    log_in(page, installation)
    page.get_by_role("button", name=f"Start {name}").click()
    wait_for_lab(page)
    expect(page.get_by_role("tab", name="index.ipynb")).to_be_visible()
    run_all_cells(page, kernel)
    plot = page.locator(".jp-OutputArea-output img").first
    expect(plot).to_be_visible()
    assert str(plot.get_attribute("src")).startswith("data:image/png;base64,")
    assert plot.evaluate("image => image.complete && image.naturalWidth > 200 && image.naturalHeight > 200")
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    page.keyboard.press("Control+s")
    quiet.stop(installation.examples[name]["id"])
