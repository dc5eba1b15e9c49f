"""A whole installation for the end-to-end tests: `make run`'s own program, a Git server beside it, and a browser.

Whatever a failed test leaves is below ``test-artifacts/``: a picture of the page, and the logs of the hub, the service, the
sessions and Guix.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.git_server import GitServer, serve_git

CHECKOUT = Path(__file__).resolve().parents[2]
ARTIFACTS = CHECKOUT / "test-artifacts"
PATIENCE = 300
"""Seconds after which a step of an end-to-end test is stuck."""


@dataclass
class Installation:
    """A running `make run`."""

    address: str
    name: str
    password: str
    state: Path
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_installation(state: Path, private_hosts: str, port: int | None = None) -> Installation:
    """Start the program behind `make run` and return once it says that a person can log in."""
    environment = os.environ | {"STATE": str(state), "PORT": str(port or free_port()), "PRIVATE_HOSTS": private_hosts}
    process = subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=CHECKOUT,
        env=environment | {"LEAST_FREE": "1", "GUIX_CONTENTS": "stand-ins"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    installation = Installation("", "", "", state, process)
    assert process.stdout is not None
    for line in process.stdout:
        installation.output.append(line)
        if ready := re.fullmatch(r"Ready: (\S+)\n", line):
            installation.address = ready[1]
        if account := re.fullmatch(r"Log in as (\S+) with password (\S+)\n", line):
            installation.name, installation.password = account[1], account[2]
            threading.Thread(target=installation.output.extend, args=[process.stdout], daemon=True).start()
            return installation
    raise AssertionError("make run ended before anybody could log in:\n" + "".join(installation.output))


def stop_installation(installation: Installation) -> int:
    """Press Ctrl-C and return the exit status."""
    installation.process.send_signal(signal.SIGINT)
    return installation.process.wait(120)


@pytest.fixture(scope="session")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serve_git(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture(scope="session")
def installation(git_server: GitServer) -> Iterator[Installation]:
    # Not one of pytest's own folders: those are closed to other accounts, and sessions have accounts of their own.
    state = Path(tempfile.mkdtemp(prefix="guixspawner-"))
    state.chmod(0o755)
    running = start_installation(state, git_server.host)
    try:
        yield running
    finally:
        stop_installation(running)
        shutil.rmtree(state)


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
    page = context.new_page()
    yield page
    if request.node.stash.get(FAILED, False):
        keep_what_is_left(ARTIFACTS / request.node.name, installation, page)
    context.close()


def keep_what_is_left(folder: Path, installation: Installation, page: Page) -> None:
    """Put a picture, the page and every log where a person finds them, and say where that is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    page.screenshot(path=folder / "page.png", full_page=True)
    (folder / "page.html").write_text(page.content())
    (folder / "make-run.log").write_text("".join(installation.output))
    for part in ("hub", "service", "sessions"):
        for log in (installation.state / part).rglob("*.log*"):
            shutil.copy(log, folder / f"{part}-{'-'.join(log.relative_to(installation.state / part).parts)}")
    guix_logs = Path("/var/log/guix")
    if guix_logs.is_dir():
        shutil.copytree(guix_logs, folder / "guix", dirs_exist_ok=True)
    print(f"What this test left is in {folder}")
