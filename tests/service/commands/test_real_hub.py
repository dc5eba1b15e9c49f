"""The command line against a real JupyterHub, its proxy and the service behind it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guix_build_service.commands.access import ADDRESS, TOKEN_FILE
from guix_build_service.commands.outcomes import ExitStatus
from tests.service.web.real_hub import CHECKOUT, TOKENS, RealHub, running_hub

pytestmark = [pytest.mark.hub, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Give a hub below a path."""
    with running_hub(tmp_path_factory.mktemp("hub"), "/base/") as hub:
        yield hub


def started(hub: RealHub, *words: str, person: str = "ada") -> "subprocess.Popen[str]":
    """Start a command with the token of PERSON in a file of theirs."""
    token = hub.folder / f"token-of-{person}"
    token.touch(0o600)
    token.write_text(TOKENS[person])
    # Only the hub's address is given, as people have it.
    variables = {**os.environ, ADDRESS: f"{hub.address}{hub.base_url}", TOKEN_FILE: str(token)}
    command = [sys.executable, "-m", "guix_build_service", *words]
    return subprocess.Popen(command, cwd=CHECKOUT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(hub: RealHub, *words: str, person: str = "ada") -> tuple[int, str, str]:
    process = started(hub, *words, person=person)
    out, err = process.communicate()
    return process.returncode, out, err


def test_a_person_works_with_environments_and_sessions_by_a_token_alone(hub: RealHub) -> None:
    status, out, err = done(hub, "list", "--json")
    assert (status, err) == (ExitStatus.DONE, "")
    assert [each["name"] for each in json.loads(out)] == ["good", "slow"]
    status, out, _ = done(hub, "log", "good", "-f")
    assert status == ExitStatus.DONE
    assert "line 2" in out
    status, out, _ = done(hub, "sessions", "start", "good", "--json", person="eve")
    assert status == ExitStatus.DONE
    name = json.loads(out)["name"]
    assert name in done(hub, "sessions", "list", person="eve")[1]
    assert done(hub, "sessions", "stop", name, person="eve")[0] == ExitStatus.DONE


def test_who_may_not_use_the_service_is_told_so(hub: RealHub) -> None:
    status, out, err = done(hub, "list", person="stranger")
    assert (status, out) == (ExitStatus.NOT_ALLOWED, "")
    assert "Traceback" not in err


def test_somebody_who_stops_following_is_told_that_it_goes_on(hub: RealHub) -> None:
    process = started(hub, "log", "-f", "slow")
    assert process.stdout is not None
    assert "line 0" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, "goes on" in err, "Traceback" in err) == (ExitStatus.INTERRUPTED, True, False)


def test_a_reader_that_has_enough_ends_it_without_a_complaint(hub: RealHub) -> None:
    process = started(hub, "log", "-f", "slow")
    assert process.stdout is not None
    process.stdout.close()
    (hub.folder / "service/release").touch()
    assert process.stderr is not None
    said = process.stderr.read()
    assert (process.wait(), said) == (ExitStatus.READER_LEFT, "")


def test_the_token_is_in_no_log(hub: RealHub) -> None:
    assert TOKENS["ada"] not in (hub.folder / "hub.log").read_text()


def test_asking_does_not_wait_for_the_services_own_program_to_be_loaded(tmp_path: Path) -> None:
    program = "import sys; from guix_build_service.command_line import main; main(['list']); print(sorted(sys.modules))"
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    loaded = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert "'guix_build_service.commands.program'" in loaded.stdout
    for heavy in ("jupyterhub", "shtab", "sqlalchemy", "guix_build_service.program.application"):
        assert f"'{heavy}'" not in loaded.stdout


def test_a_token_is_made_used_listed_and_revoked_and_shown_once(hub: RealHub) -> None:
    status, made, notes = done(hub, "tokens", "create", "--note", "for the test", "--days", "2")
    assert status == ExitStatus.DONE, notes
    token = made.strip()
    assert re.fullmatch(r"[0-9a-zA-Z_-]{16,}", token)
    assert token not in notes
    status, listed, _ = done(hub, "tokens", "list", "--json")
    (one,) = [each for each in json.loads(listed) if each["note"] == "for the test"]
    assert token not in listed
    assert one["expires_at"]
    assert "access:services!service=guix" in one["scopes"]
    assert not [scope for scope in one["scopes"] if scope.startswith("servers")]

    def as_the_new_one(*words: str) -> int:
        variables = {**os.environ, ADDRESS: f"{hub.address}{hub.base_url}", "GUIX_BUILD_SERVICE_TOKEN": token}
        command = [sys.executable, "-m", "guix_build_service", *words]
        return subprocess.run(command, cwd=CHECKOUT, env=variables, capture_output=True, check=False).returncode

    assert as_the_new_one("list") == ExitStatus.DONE
    assert as_the_new_one("tokens", "create") == ExitStatus.NOT_ALLOWED, "it makes no others"
    # Neither another person's nor the token itself in the place of its id.
    assert done(hub, "tokens", "revoke", one["id"], person="eve")[0] == ExitStatus.NOT_FOUND
    assert done(hub, "tokens", "revoke", "a1")[0] == ExitStatus.NOT_FOUND
    assert done(hub, "tokens", "revoke", one["id"])[0] == ExitStatus.DONE
    status, listed, _ = done(hub, "tokens", "list", "--json")
    assert one["id"] not in [each["id"] for each in json.loads(listed)]
    assert done(hub, "tokens", "create", "--days", "0")[0] == ExitStatus.MISUSED
