"""The installation ends without a trace but its files, and is back at once with all of them."""

import pytest

from demo.descendants import descendants
from guix_environment.process_identity import identify, is_running
from tests.end_to_end.conftest import Installation
from tests.end_to_end.rest import API, Client
from tests.end_to_end.test_examples import PYTHON
from tests.end_to_end.traces import processes_of

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(900)]


def test_ctrl_c_leaves_no_process_and_the_next_run_has_everything(installation: Installation, quiet: Client) -> None:
    before = {name: each["version"] and each["version"]["id"] for name, each in quiet.environments().items()}
    session = quiet.start(quiet.environments()[PYTHON]["id"])
    kept = {"type": "file", "format": "text", "content": "kept\n"}
    assert quiet.ask("PUT", f"{session}api/contents/kept.txt", kept).status == 201

    running = [identify(number) for number in descendants(installation.process.pid)]
    here = processes_of(installation.state)
    assert len(running) >= 4, "hub, proxy, service, session"
    assert len(here) >= 4
    assert installation.interrupt() == 0
    assert [each for each in (*running, *here) if each and is_running(each)] == []
    assert processes_of(installation.state) == frozenset()
    [file] = (installation.state / "homes").glob("*/kept.txt")
    assert file.read_text() == "kept\n"

    password = installation.password
    print(f"ready again after {installation.start():.1f} s")
    assert installation.password == password
    # The token is still good, too.
    after = {name: each["version"] and each["version"]["id"] for name, each in quiet.environments().items()}
    assert after == before
    session = quiet.start(quiet.environments()[PYTHON]["id"])
    assert quiet.ask("GET", f"{session}api/contents/kept.txt").content["content"] == "kept\n"
    quiet.stop(quiet.environments()[PYTHON]["id"])
    assert quiet.ask("GET", f"{API}sessions").status == 200
