"""Kernels and apps of an environment's own: on a real hub, in a real session, in a profile that the real Guix made.

Shiny, Bokeh and Voilà are themselves.  RStudio, which is no package of Guix's, is a small program of the same command line,
which says what it was told, and listens where it was told to; and so is the app that the repository declares.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from guix_build_service.pipeline.kernels import write_kernels
from guix_build_service.pipeline.variables import read_variables
from guix_environment.identifiers import Commit, StorePath
from guix_environment.records import Records
from guixlab.stand_ins.catalogue import LEFT_OUT
from tests.spawner.built_records import PACKAGES, built_records, output
from tests.spawner.computing import compute_in_silence
from tests.spawner.conftest import ENVIRONMENT, VERSION
from tests.spawner.real_hub import RealHub, wait_for
from tests.spawner.visitor import Visitor

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.browser, pytest.mark.timeout(1800)]

PATIENCE = 120_000

APP = """#!/usr/bin/env python3
import argparse, http.server, json, os, socketserver, sys
options = argparse.ArgumentParser()
for name in ("port", "unix-socket"):
    options.add_argument(f"--{name}")
found, others = options.parse_known_args(word for word in sys.argv[1:] if not word.startswith("--www-port="))
[port] = [word.partition("=")[2] for word in sys.argv if word.startswith("--www-port=")] or [found.port]
class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "proxy"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        told = {"path": self.path, "words": sys.argv, "folder": os.getcwd(), "variables": dict(os.environ)}
        self.wfile.write(b"<title>The app</title><h1>The app</h1><pre>" + json.dumps(told).encode() + b"</pre>")
class Listener(socketserver.ThreadingUnixStreamServer):
    def get_request(self):
        return super().get_request()[0], ("proxy", 0)
def listening():
    if found.unix_socket:
        return Listener(found.unix_socket, Handler)
    return http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
listening().serve_forever()
"""
"""Takes the words of rserver, and others, for where to listen."""

KERNEL = {
    "argv": ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Another kernel",
    "language": "another",
    "env": {"ANOTHER_KERNEL": "has $HOME"},
}

APP_PACKAGES = ("python-bokeh", "python-voila", "r-shiny")

MANIFEST = """
(use-modules (guix profiles) (guix gexp) (gnu packages) (srfi srfi-1))
;; Without what guixlab leaves out: TeX, for one, which Voila has no need of.
(define (left-out? entry)
  (any (lambda (start) (string-prefix? start (manifest-entry-name entry))) '({left_out})))
(define (smaller entry)
  (manifest-entry
    (inherit entry)
    (dependencies (map smaller (remove left-out? (manifest-entry-dependencies entry))))))
(concatenate-manifests
 (list (map-manifest-entries smaller (specifications->manifest '({packages})))
       (manifest (list (manifest-entry (name "of-the-tests") (version "1")
                                       (item (local-file "{folder}" "of-the-tests-1" #:recursive? #t)))))))
"""

NOTEBOOK = """
import os
print("The answer is", 6 * 7)
print("variables", *os.environ)
"""

BOKEH_APP = """
import os
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import Button, Div
count, variables, button = Div(text="pressed 0"), Div(text=" ".join(["variables", *os.environ])), Button(label="More")
pressed = iter(range(1, 100))
button.on_click(lambda: setattr(count, "text", f"pressed {next(pressed)}"))
curdoc().add_root(column(button, count, variables))
"""

SHINY_APP = """
library(shiny)
shinyApp(
  fluidPage(actionButton("more", "More"), p(paste(c("variables", names(Sys.getenv())), collapse = " "))),
  function(input, output) NULL
)
"""


def cell(source: str) -> dict[str, object]:
    return {"cell_type": "code", "id": "one", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


FILES = {
    "index.ipynb": json.dumps({"cells": [cell(NOTEBOOK)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}),
    "app.py": BOKEH_APP,
    "app.R": SHINY_APP,
    "guix-app.json": json.dumps({"title": "A dashboard", "command": ["serve", "--port={port}", "--prefix={address}"]}),
}


def item(folder: Path) -> Path:
    """Make what goes into the profile beside packages."""
    for program in ("serve", "rserver"):
        file = folder / "bin" / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(APP)
        file.chmod(0o755)
    kernel = folder / "share/jupyter/kernels/another"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(KERNEL))
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("profile")
    profile = Path(f"/var/guix/profiles/per-user/root/guix-build-service-apps-tests-{os.getpid()}")
    manifest = folder / "manifest.scm"
    packages, left_out = (" ".join(f'"{name}"' for name in names) for names in ((*PACKAGES, *APP_PACKAGES), LEFT_OUT))
    manifest.write_text(MANIFEST.format(packages=packages, left_out=left_out, folder=item(folder / "item")))
    with built_records() as found:
        try:
            output("guix", "package", f"--profile={profile}", f"--manifest={manifest}")
            write(Records(found), StorePath(os.path.realpath(profile)), folder)
            yield found
        finally:
            for link in profile.parent.glob(f"{profile.name}*"):
                link.unlink()


def write(records: Records, profile: StorePath, folder: Path) -> None:
    """Have the environment's version be of PROFILE, and of a commit with `FILES`."""
    bare, source = records.repository(ENVIRONMENT), folder / "source"
    output("git", "clone", "--quiet", bare, source)
    for name, content in FILES.items():
        (source / name).write_text(content)
    output("git", "-C", source, "add", ".")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    output("git", "-C", source, *who, "commit", "--quiet", "--message=apps")
    output("git", "-C", source, "push", "--quiet", "origin", "HEAD:trunk")
    variables, record = read_variables(profile), records.read_version(ENVIRONMENT, VERSION)
    shutil.rmtree(records.kernels(ENVIRONMENT, VERSION))
    records.write_version(
        ENVIRONMENT,
        replace(
            record,
            commit=Commit(output("git", "-C", source, "rev-parse", "HEAD").strip()),
            profile=profile,
            closure=tuple(StorePath(path) for path in output("guix", "gc", "--requisites", profile).split()),
            variables=variables,
            kernels=write_kernels(profile, variables, records.kernels(ENVIRONMENT, VERSION)),
        ),
    )
    for path in (bare, *bare.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


@pytest.fixture
def page(browser: Browser, hub: RealHub) -> Iterator[Page]:
    context = browser.new_context(base_url=hub.address)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def log_in(page: Page, user: str) -> None:
    page.goto("/hub/login?next=/hub/home")
    page.fill("#username_input", user)
    page.fill("#password_input", "x")
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")


def profile(hub: RealHub) -> str:
    return Records(hub.state / "records").read_version(ENVIRONMENT, VERSION).profile


def assert_nothing_of_the_servers(variables: dict[str, str], profile: str) -> None:
    assert not {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"} & set(variables)
    # The profile has search paths of these names, too.
    for name in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        assert all(folder.startswith(profile) for folder in variables.get(name, profile).split(":"))


# First those that have a loop of events; the browser has one of its own.

SHOW = "import json, os, sys; print(json.dumps([sys.executable, dict(os.environ)]))"


@pytest.mark.parametrize("kernel", ["python3", "another", "ir"])
async def test_every_kernel_of_the_profile_has_the_profiles_variables_and_none_of_the_servers(
    hub: RealHub, kernel: str
) -> None:
    if kernel == "ir":
        code = 'for (name in names(Sys.getenv())) cat(name, "=", Sys.getenv(name), "\\n", sep = "")'
        printed = await hub.run_code("ada", code, kernel=kernel)
        variables = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
        assert profile(hub) in variables["R_LIBS_SITE"]
    else:
        program, variables = json.loads(await hub.run_code("ada", SHOW, kernel=kernel))
        assert program == f"{profile(hub)}/bin/python3"
        assert variables["GUIX_PYTHONPATH"].startswith(f"{profile(hub)}/lib/")
    assert variables["PATH"].startswith(f"{profile(hub)}/bin")
    assert variables["GUIX_ENVIRONMENT"] == profile(hub)
    assert_nothing_of_the_servers(variables, profile(hub))
    assert not [name for name in variables if name.startswith(("GUIX_SESSION_LIMITS", "GUIX_PROJECT_"))]
    assert variables.get("ANOTHER_KERNEL") == ("has $HOME" if kernel == "another" else None)


async def test_a_terminal_has_the_profiles_variables_and_none_of_the_servers(hub: RealHub) -> None:
    shown = await hub.run_in_terminal("ada", "env | cut -d = -f 1 | tr '\\n' ' '; echo $GUIX_PYTHONPATH; which python3")
    assert f"{profile(hub)}/bin/python3" in shown
    assert f"{profile(hub)}/lib/python" in shown
    assert not [name for name in ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "GUIX_SESSION_RELAYS") if f"{name} " in shown]


def last_activity(hub: RealHub) -> str:
    return str(json.loads(hub.request("GET", "/user/ada/api/status")[1])["last_activity"])


def test_that_a_page_is_open_is_no_work(hub: RealHub) -> None:
    def asked_without_work() -> bool:
        before = last_activity(hub)
        for path in ("contents/analysis", "kernels", "sessions", "terminals"):
            assert hub.request("GET", f"/user/ada/api/{path}")[0] == 200
        # What JupyterLab keeps of its tabs, it sends by itself.
        tabs = {"data": {}, "metadata": {"id": "tests"}}
        assert hub.request("PUT", "/user/ada/lab/api/workspaces/tests", tabs)[0] == 204
        return last_activity(hub) == before

    wait_for(asked_without_work)  # the kernels and terminals of other tests may be ending still
    before = last_activity(hub)
    assert hub.request("POST", "/user/ada/guix-session/activity", {})[0] == 204
    assert last_activity(hub) > before


def test_what_is_saved_is_never_told_as_a_failure(hub: RealHub) -> None:
    """However soon after the last byte of it the server has answered."""
    answers = {hub.request("POST", "/user/ada/guix-session/activity", {}) for _ in range(300)}
    assert answers == {(204, "")}


async def test_a_kernel_that_computes_in_silence_is_work(hub: RealHub) -> None:
    await compute_in_silence(hub, "ada")
    before = last_activity(hub)
    wait_for(lambda: last_activity(hub) > before)


def app(hub: RealHub, name: str) -> dict[str, Any]:
    """Return what the app NAME says of itself."""
    status, text = hub.request("GET", f"/user/ada/{name}/")
    assert status == 200, text
    told = json.loads(text.partition("<pre>")[2].partition("</pre>")[0])
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("app", "/user/ada/app/", ("--port=", "--prefix=/user/ada/app/")),
        ("rstudio", "/", ("--auth-none=1", "--www-root-path=/user/ada/rstudio/", "--www-port=", "--server-user=ada")),
    ],
)
def test_an_app_is_served_as_kernels_are(hub: RealHub, name: str, path: str, words: tuple[str, ...]) -> None:
    told = app(hub, name)
    assert told["path"] == path
    assert told["folder"] == "/home/ada/analysis"
    for word in words:
        assert any(each.startswith(word) for each in told["words"]), told["words"]
    variables = told["variables"]
    assert variables["PATH"].startswith(f"{profile(hub)}/bin")
    assert_nothing_of_the_servers(variables, profile(hub))


def test_an_app_is_its_persons_alone(hub: RealHub) -> None:
    for name in ("app", "voila", "bokeh", "shiny", "proxy/8888"):
        assert "Sign in" in hub.request("GET", f"/user/ada/{name}/", headers={})[1]
    status, text = Visitor(hub, "bob").open("/user/ada/app/")
    assert (status, "The app" in text) == (403, False)


def test_app_mode_shows_the_app_and_nothing_else(hub: RealHub, page: Page) -> None:
    """From a link to the spawn page with `urlpath=app`: one button, and what comes up is the app, over the whole window."""
    log_in(page, "cyd")
    page.goto(f"/hub/spawn/cyd?opt-environment={ENVIRONMENT}&opt-urlpath=app")
    page.locator("#spawn_form [type=submit]").click()
    expect(page.get_by_role("heading", name="The app")).to_be_visible(timeout=PATIENCE)
    assert page.url.partition("?")[0] == f"{hub.address}/user/cyd/app/"
    assert page.locator("#jp-main-dock-panel, #jp-top-panel, nav").count() == 0
    page.goto("/user/cyd/")
    expect(page.get_by_role("heading", name="The app")).to_be_visible(timeout=PATIENCE)
    hub.stop("cyd")


def test_an_app_answers_to_the_person(page: Page) -> None:
    """Over the whole window; its buttons go through the proxies to the program, and come back."""
    log_in(page, "ada")
    page.goto("/user/ada/bokeh/")
    expect(page.get_by_text("pressed 0")).to_be_visible(timeout=PATIENCE)
    for count in (1, 2):
        page.get_by_role("button", name="More").click()
        expect(page.get_by_text(f"pressed {count}")).to_be_visible(timeout=PATIENCE)
    assert_variables_of_a_kernel(page.get_by_text("variables").inner_text())


def test_shiny_is_reached_over_its_socket(hub: RealHub) -> None:
    status, text = hub.request("GET", "/user/ada/shiny/")
    assert (status, 'id="more"' in text) == (200, True)
    assert_variables_of_a_kernel(text.partition("<p>")[2].partition("</p>")[0])


def test_a_notebook_is_shown_without_its_code(page: Page) -> None:
    log_in(page, "ada")
    page.goto("/user/ada/voila/")
    expect(page.get_by_text("The answer is 42")).to_be_visible(timeout=PATIENCE)
    assert "import os" not in page.inner_text("body")
    assert_variables_of_a_kernel(page.get_by_text("variables").inner_text())


def assert_variables_of_a_kernel(listed: str) -> None:
    """What an app lists of its variables is what kernels have, and nothing of the server's."""
    names = set(listed.split())
    assert {"GUIX_ENVIRONMENT", "PATH"} <= names
    assert not {"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"} & names


@pytest.mark.parametrize("urlpath", ["lab/tree/analysis/app.py", "lab?reset", "voila/"])
def test_an_address_is_shown_first(hub: RealHub, page: Page, urlpath: str) -> None:
    assert hub.spawn("dan", {"environment": ENVIRONMENT, "urlpath": urlpath})[0] == 201
    log_in(page, "dan")
    page.goto("/user/dan/")
    page.wait_for_url(f"**/user/dan/{urlpath.partition('?')[0]}**", timeout=PATIENCE)
    hub.stop("dan")


@pytest.mark.parametrize(
    "urlpath", ["//evil.example/", "https://evil.example/", "/\\evil.example", "%2F%2Fevil.example", "../x"]
)
def test_an_address_elsewhere_is_refused(hub: RealHub, urlpath: str) -> None:
    status, text = hub.spawn("eve", {"environment": ENVIRONMENT, "urlpath": urlpath})
    assert (status, "does not lie below" in json.loads(text)["message"]) == (400, True)
    eve = Visitor(hub, "eve")
    for given, taken in ((urlpath, False), ("lab", True)):
        status, page = eve.open(f"/hub/spawn/eve?opt-environment={ENVIRONMENT}&opt-urlpath={given}")
        assert (status, 'name="urlpath"' in page) == (200, taken)
    assert hub.model("eve") == {}


def test_apps_stand_in_the_launcher(hub: RealHub, page: Page) -> None:
    log_in(page, "ada")
    page.goto(f"/user/ada/lab/workspaces/{os.urandom(4).hex()}?reset")
    for name in ("A dashboard", "RStudio", "Another kernel", "Python 3 (ipykernel)", "R"):
        expect(page.locator(".jp-LauncherCard", has_text=name).first).to_be_visible(timeout=PATIENCE)
    assert hub.model("ada").get("ready")


def test_the_working_copy_has_no_credentials(hub: RealHub) -> None:
    """Nothing of it names a secret, and its remote is the repository's own address."""
    copy = hub.state / "homes/ada/analysis"
    configuration = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", copy, "config", "--list", "--local"], capture_output=True, text=True
    ).stdout
    assert "remote.origin.url=https://git.example/somebody/analysis" in configuration
    assert not [word for word in ("credential", "extraheader", "token", "@") if word in configuration]
    assert not (copy.parent / ".git-credentials").exists()
