"""The main job, as a person does it: from a repository's address to a notebook that runs, and back again the next day."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.conftest import Installation
from tests.end_to_end.in_browser import log_in, run_all_cells, wait_for_lab
from tests.git_server import GitServer

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.browser, pytest.mark.timeout(1800)]

MANIFEST = '(specifications->manifest (list "python" "python-pandas"))\n'

CELL = """
import importlib.util, pathlib, sys
import pandas
pathlib.Path("result.csv").write_text(pandas.DataFrame({"a": [1, 2]}).sum().to_csv())
print("executable", sys.executable)
print("pandas", pandas.__file__)
print("jupyterlab", importlib.util.find_spec("jupyterlab"))
print("sum", pandas.Series([20, 22]).sum())
"""


def notebook(*cells: str) -> str:
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{number}",
                    "metadata": {},
                    "source": cell,
                    "outputs": [],
                    "execution_count": None,
                }
                for number, cell in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


def test_from_a_repository_to_a_notebook_and_back(page: Page, installation: Installation, git_server: GitServer) -> None:
    git_server.commit("analysis", {"manifest.scm": MANIFEST, "index.ipynb": notebook(CELL)})
    log_in(page, installation)

    page.goto("/services/guix/")
    page.get_by_label("Address of a Git repository").fill(git_server.url("analysis"))
    page.get_by_role("button", name="Build", exact=True).click()
    page.wait_for_url(re.compile(r"/services/guix/builds/"))
    expect(page.get_by_role("heading", name="analysis is ready")).to_be_visible()
    expect(page.locator("#log")).to_contain_text("python-pandas")

    page.get_by_role("button", name="Start").click()
    wait_for_lab(page)
    expect(page.get_by_role("tab", name="index.ipynb")).to_be_visible()

    run_all_cells(page, "Python 3 (ipykernel)")
    output = page.locator(".jp-OutputArea-output", has_text="sum 42")
    expect(output).to_be_visible()
    printed = output.inner_text()
    assert re.search(r"executable /gnu/store/\S+-profile/bin/python", printed), printed
    assert re.search(r"pandas /gnu/store/\S+-profile/lib/python3", printed), printed
    assert "jupyterlab None" in printed
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-DirListing-item", has_text="result.csv")).to_be_visible()

    page.goto("/services/guix/")
    page.get_by_role("button", name="Stop").click()
    start = page.get_by_role("listitem").filter(has_text="analysis").get_by_role("button", name="Start")
    start.click()
    wait_for_lab(page)
    expect(page.locator(".jp-DirListing-item", has_text="result.csv")).to_be_visible()
    expect(page.locator(".jp-OutputArea-output", has_text="sum 42")).to_be_visible()
