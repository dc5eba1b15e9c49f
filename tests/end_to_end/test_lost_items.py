"""When a part of an environment is gone from the store, people are told so and can have it built again."""

import re
import subprocess

import pytest
from playwright.sync_api import Page, expect

from guix_environment.identifiers import EnvironmentId, VersionId
from guix_environment.records import Records
from tests.end_to_end.conftest import Installation
from tests.end_to_end.in_browser import log_in, wait_for_lab
from tests.end_to_end.rest import API, Client, until
from tests.end_to_end.traces import traces_of
from tests.git_server import GitServer

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.browser, pytest.mark.timeout(900)]


def test_an_environment_that_was_collected_can_be_built_again(
    page: Page, installation: Installation, quiet: Client, git_server: GitServer
) -> None:
    before = traces_of(installation.state)
    # Packages that nobody else asks for together: the profile is this environment's alone.
    git_server.commit("lost", {"manifest.scm": '(specifications->manifest (list "sed" "which" "less" "tar"))'})
    identifier = quiet.add(repo=git_server.url("lost"), name="Lost").content["id"]
    environment = quiet.built(identifier)
    assert environment["state"] == "ready", environment
    version = Records(installation.state / "records").read_version(
        EnvironmentId(identifier), VersionId(environment["version"]["id"])
    )
    # Until its build is cleared away, the service sees to it that its root is there.
    until(lambda: not traces_of(installation.state).jobs - before.jobs)
    # As when somebody removes what they take for clutter, and the collector runs.
    [root] = traces_of(installation.state).roots - before.roots
    subprocess.run(["rm", root], check=True)
    subprocess.run(["guix", "gc", "--delete", version.profile], check=True, capture_output=True)

    log_in(page, installation)
    page.get_by_role("button", name="Start Lost").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Lost did not start")
    expect(page.get_by_role("alert")).to_have_text(
        "A part of Lost is no longer on this machine. Build it again, then start it."
    )
    # The hub's own pages lead to where that is done.
    page.goto(f"/hub/spawn-pending/{quiet.name}/lost-{identifier}")
    expect(page.get_by_role("alert")).to_contain_text("Its owner can build it again")
    page.get_by_role("link", name="To the environment").click()
    expect(page.get_by_role("button", name="Build again Lost")).to_be_visible()
    page.goto(f"/hub/spawn/{quiet.name}/another?opt-environment={identifier}")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("A part of Lost is no longer on this machine.")
    expect(page.get_by_role("link", name="To the environment")).to_be_visible()
    page.goto("/services/guix/")
    page.get_by_role("button", name="Start Lost").click()
    page.get_by_role("button", name="Build it again").click()
    page.wait_for_url(re.compile(r"/services/guix/builds/"))
    expect(page.get_by_role("heading", name="Lost is ready")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    wait_for_lab(page)
    quiet.stop(identifier)
    assert quiet.ask("DELETE", f"{API}environments/{identifier}").status == 204
