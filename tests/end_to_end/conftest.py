"""A whole installation for the end-to-end tests: `make run`'s own program, a Git server beside it, and a browser.

Whatever a failed test leaves is below ``test-artifacts/``: a picture of the page, and the logs of the hub, the service, the
sessions and Guix.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.end_to_end import rest
from tests.end_to_end.rest import Client
from tests.end_to_end.traces import processes_of, roots_folders
from tests.git_server import GitServer, serve_git
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
ARTIFACTS = CHECKOUT / "test-artifacts"
PATIENCE = 300
"""Seconds after which a step of an end-to-end test is stuck."""


@dataclass
class Installation:
    """A running `make run`."""

    state: Path
    private_hosts: str
    port: int
    address: str = ""
    name: str = ""
    password: str = ""
    output: list[str] = field(default_factory=list)
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The environments that were there as soon as somebody could log in for the first time, by name."""
    began: float = field(default_factory=time.time)
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> float:
        """Start the program behind `make run`, and return how many seconds it took until a person could log in."""
        began = time.monotonic()
        environment = os.environ | {"STATE": str(self.state), "PORT": str(self.port), "PRIVATE_HOSTS": self.private_hosts}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo"],
            cwd=CHECKOUT,
            env=environment | {"LEAST_FREE": "1", "GUIX_CONTENTS": "stand-ins"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if ready := re.fullmatch(r"Ready: (\S+)\n", line):
                self.address = ready[1]
            if account := re.fullmatch(r"Log in as (\S+) with password (\S+)\n", line):
                self.name, self.password = account[1], account[2]
                threading.Thread(target=self.output.extend, args=[self.process.stdout], daemon=True).start()
                return time.monotonic() - began
        raise AssertionError("make run ended before anybody could log in:\n" + "".join(self.output))

    def interrupt(self) -> int:
        """Press Ctrl-C, which reaches the whole group of processes, and return the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(120)

    def person(self) -> Client:
        """Return the programs of the account that was shown, which is an administrator."""
        return rest.log_in(self.address, self.name, self.password)


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a web server on which there are no repositories."""
    folder = str(tmp_path_factory.mktemp("plain"))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def installation(git_server: GitServer, plain_server: str) -> Iterator[Installation]:
    """The one installation that all tests share; a test may end it, and then starts it again."""
    # Not one of pytest's own folders: those are closed to other accounts, and sessions have accounts of their own.
    state = Path(tempfile.mkdtemp(prefix="guixspawner-"))
    state.chmod(0o755)
    running = Installation(state, f"{git_server.host} {plain_server}", free_port())
    running.start()
    try:
        running.examples = running.person().environments()
        yield running
    finally:
        running.interrupt()
        left = processes_of(state)
        for folder in (state, *roots_folders(state)):
            shutil.rmtree(folder)
        assert not left, left


@pytest.fixture
def person(installation: Installation) -> Client:
    """The account that was shown."""
    return installation.person()


@pytest.fixture
def quiet(person: Client) -> Client:
    """The same, at a moment when no build is under way."""
    for environment in person.environments().values():
        person.built(environment["id"])
    return person


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    arguments = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=[*arguments.split(), "--disable-component-update"]
        )
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leave a note on the test when it failed, for the fixtures that keep what it leaves."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


FAILED = pytest.StashKey[bool]()


@pytest.fixture
def page(browser: Browser, installation: Installation, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A browser's page in which nobody has logged in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=installation.address)
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    page = context.new_page()
    yield page
    if request.node.stash.get(FAILED, False):
        folder = artifacts(request.node)
        page.screenshot(path=folder / "page.png", full_page=True)
        (folder / "page.html").write_text(page.content())
    context.close()


@pytest.fixture(autouse=True)
def kept(installation: Installation, request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the logs of a test that failed."""
    shutil.rmtree(artifacts(request.node), ignore_errors=True)
    yield
    if request.node.stash.get(FAILED, False):
        keep_logs(artifacts(request.node), installation)


def artifacts(test: pytest.Item) -> Path:
    """Return the folder for what a failed test leaves, which is made."""
    folder = ARTIFACTS / re.sub(r"[^A-Za-z0-9_.-]+", "-", test.name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_logs(folder: Path, installation: Installation) -> None:
    """Put every log where a person finds it, and say where that is."""
    (folder / "make-run.log").write_text("".join(installation.output))
    for part in ("hub", "service", "sessions"):
        for log in (installation.state / part).rglob("*.log*"):
            shutil.copy(log, folder / f"{part}-{'-'.join(log.relative_to(installation.state / part).parts)}")
    for log in Path("/var/log/guix").rglob("*"):
        # Guix keeps those of every build there ever was.
        if log.is_file() and log.stat().st_mtime >= installation.began:
            (folder / "guix").mkdir(exist_ok=True)
            shutil.copy(log, folder / "guix" / "".join(log.relative_to("/var/log/guix").parts[-2:]))
    print(f"What this test left is in {folder}")
