"""Sessions in containers that Guix itself makes, on a real hub."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guix_environment.process_identity import children, is_running
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.real_hub import RealHub, first_process, running_hub, wait_for

pytestmark = [pytest.mark.guix, pytest.mark.hub]

PERSON = "guixshelltests"
NUMBER = 58990
GIVEN = {"environment": ENVIRONMENT}


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as records:
        yield records


@pytest.fixture(scope="module")
def hub(records: Path) -> Iterator[RealHub]:
    """A hub whose one person has an account on the machine, where the hub may have sessions run as others."""
    more = 'c.GuixSpawner.launcher = "guix"\n'
    if os.geteuid():
        with running_hub(records, more) as hub:
            yield hub
        return
    with account(), running_hub(records, more + 'c.SessionAccounts.accounts = "unix"\n') as hub:
        yield hub


@contextmanager
def account() -> Iterator[None]:
    """Have an account on the machine; written by hand, since in guixlab there is nothing of what ``useradd`` looks for."""
    home = Path(tempfile.mkdtemp(prefix="guix-shell-person-"))
    os.chown(home, NUMBER, NUMBER)
    lines = {
        Path("/etc/passwd"): f"{PERSON}:x:{NUMBER}:{NUMBER}::{home}:/bin/sh\n",
        Path("/etc/group"): f"{PERSON}:x:{NUMBER}:\n",
    }
    try:
        for file, line in lines.items():
            with file.open("a") as end:
                end.write(line)
        yield
    finally:
        for file, line in lines.items():
            file.write_text(file.read_text().replace(line, ""))
        shutil.rmtree(home)


async def test_guixs_container_is_a_session_as_well(hub: RealHub) -> None:
    status, text = hub.spawn(PERSON, GIVEN)
    assert status == 201, text + hub.session_log(PERSON)
    first = first_process(hub, PERSON)
    assert is_running(first)
    assert await hub.run_code(PERSON, "import os; print(os.getuid(), 'JUPYTERHUB_API_TOKEN' in os.environ)") == "1000 False"
    # No process but the server itself has the token where others could read it.
    seen = """
import os
for number in filter(str.isdecimal, os.listdir('/proc')):
    try:
        print('TOKEN' in open(f'/proc/{number}/environ').read(), end=' ')
    except PermissionError:
        pass
"""
    assert set((await hub.run_code(PERSON, seen)).split()) == {"False"}
    hub.kill()
    hub.start()
    wait_for(lambda: hub.serves(PERSON))
    assert first_process(hub, PERSON) == first
    below = children(first)
    hub.stop(PERSON)
    wait_for(lambda: not any(map(is_running, (first, *below))))


@pytest.mark.skipif(os.geteuid() != 0, reason="a hub that is not root has no such accounts")
def test_a_number_that_is_no_account_gets_told_that_guix_needs_one(records: Path) -> None:
    with running_hub(records, 'c.GuixSpawner.launcher = "guix"') as hub:
        status, text = hub.spawn("ada", GIVEN)
        assert status == 500
        assert "no accounts of the machine" in text
