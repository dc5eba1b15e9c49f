"""The hub and the browser of the tests that look into a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, running_hub

HELD = """
async def held(spawner):
    import asyncio, pathlib
    while pathlib.Path(os.environ["STATE"], f"hold-{spawner.name}").exists():
        await asyncio.sleep(0.05)
c.GuixSpawner.pre_spawn_hook = held
"""
"""Starts of a server wait for as long as there is a file of its name."""


@pytest.fixture(scope="module")
def hub(records: Path) -> Iterator[RealHub]:
    """A hub on the test module's own records, at which ada has a session."""
    with running_hub(records, HELD) as hub:
        assert hub.spawn("ada", {"environment": ENVIRONMENT})[0] == 201, hub.session_log("ada")
        yield hub


@pytest.fixture(scope="module")
def browser(hub: RealHub) -> Iterator[Browser]:
    """A browser, which comes after the hub: its loop of events would be in the way of the records being built."""
    assert hub.address
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-component-update"]
        )
        yield browser
        browser.close()
