"""What the spawner keeps, and what it says of itself."""

import asyncio
import errno
import logging
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jupyterhub.spawner
import pytest
from tornado.web import HTTPError
from traitlets.config import Config

import guixspawner
from guix_environment import process_identity, processes
from guix_environment.errors import InvalidOptions, SessionFailure
from guix_environment.records import Records
from guixspawner import GuixSpawner, session
from guixspawner.failure import OnlyPreselected, for_the_hub, for_the_log, quieten
from guixspawner.limits import SessionLimits
from guixspawner.start import SessionStart


@pytest.fixture
def spawner() -> GuixSpawner:
    return GuixSpawner()


async def test_a_server_that_was_never_started_does_not_run(spawner: GuixSpawner) -> None:
    assert await spawner.poll() == 0
    assert spawner.get_state() == {}


async def test_a_session_is_found_again_from_what_was_kept(spawner: GuixSpawner) -> None:
    me = process_identity.identify(os.getpid())
    assert me is not None
    spawner.load_state({"process": process_identity.to_record(me), "session": {"person": "ada", "server": "default"}})
    assert await spawner.poll() is None
    kept = spawner.get_state()
    again = GuixSpawner()
    again.load_state(kept)
    assert (await again.poll(), again.get_state()) == (None, kept)
    again.clear_state()
    assert (await again.poll(), again.get_state()) == (0, {})
    again.load_state({})
    assert again.process is None


async def test_another_process_under_a_sessions_number_is_neither_taken_for_it_nor_ended(tmp_path: Path) -> None:
    other = await processes.start(["/bin/sleep", "600"], environment={}, output=subprocess.DEVNULL)
    try:
        there = process_identity.identify(other.pid)
        assert there is not None
        config = Config(SessionLimits={"backend": "nothing"})
        found = GuixSpawner(sessions_folder=str(tmp_path), leases_folder=str(tmp_path), config=config)
        session = {"person": "ada", "server": "default"}
        # Of this start of the machine too, so that only the moment at which it began tells them apart.
        gone = process_identity.to_record(replace(there, started=there.started - 1))
        found.load_state({"process": gone, "session": session})
        assert await found.poll() == 0
        await found.stop(now=True)
        assert process_identity.is_running(there)
        found.load_state({"process": process_identity.to_record(there), "session": session})
        assert await found.poll() is None
        await found.stop(now=True)
        assert await found.poll() == 0
        assert not process_identity.is_running(there)
    finally:
        if other.returncode is None:
            other.kill()
        await other.wait()


async def test_who_watches_before_a_start_begins_sees_all_of_it(spawner: GuixSpawner, tmp_path: Path) -> None:
    spawner.user = SimpleNamespace(name="ada", groups=[], admin=False)
    spawner.sessions_folder = spawner.leases_folder = str(tmp_path)
    spawner.clear_state()
    spawner.user_options = {}
    watching = asyncio.create_task(_watch(spawner))
    await asyncio.sleep(0)
    with pytest.raises(HTTPError, match="Choose an environment"):
        await spawner.start()
    assert await watching == ["Looking up the environment"]


@pytest.fixture
def at_a_hub(spawner: GuixSpawner, tmp_path: Path) -> GuixSpawner:
    """The spawner of a person who asks for an environment."""
    spawner.user = SimpleNamespace(name="ada", groups=[], admin=False)
    spawner.sessions_folder = spawner.leases_folder = str(tmp_path)
    spawner.service_url = "/services/guix/"
    spawner.user_options = {"environment": "eaaaaaaaaaaa"}
    spawner.log = logging.getLogger("tests.spawner.machine")
    return spawner


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (errno.ENOSPC, 429, "The disk is full, and a session needs a little of it to start. Remove what you no longer need"),
        (errno.EDQUOT, 429, "The disk is full, and a session needs a little of it to start. Remove what you no longer need"),
        (errno.EIO, 500, "This machine could not do what a session needs to start. Try again"),
    ],
)
async def test_what_the_machine_keeps_a_start_from_is_told_in_words_and_with_its_place_to_the_log_alone(
    at_a_hub: GuixSpawner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    status: int,
    words: str,
) -> None:
    def failing(*_: object) -> None:
        raise OSError(number, "as the kernel says it", "/srv/state/sessions/ada")

    monkeypatch.setattr(session, "choose", failing)
    with pytest.raises(HTTPError) as told:
        await at_a_hub.start()
    shown = told.value.jupyterhub_html_message  # type: ignore[attr-defined]
    assert told.value.jupyterhub_message.startswith(words)  # type: ignore[attr-defined]
    assert told.value.status_code == status
    assert "/services/guix/environments/eaaaaaaaaaaa" in shown
    assert "/srv/state" not in shown + str(told.value)
    assert "as the kernel says it: '/srv/state/sessions/ada'" in caplog.text


@pytest.mark.parametrize(
    ("stopped", "words"), [(True, "was stopped while it started"), (False, "ended while it started. Try again")]
)
async def test_a_start_whose_container_ends_says_whether_somebody_stopped_it(
    at_a_hub: GuixSpawner, records: Records, monkeypatch: pytest.MonkeyPatch, stopped: bool, words: str
) -> None:
    async def ended(_: SessionStart) -> None:
        if stopped:
            await at_a_hub.stop()

    monkeypatch.setattr(SessionStart, "run", ended)
    monkeypatch.setattr(at_a_hub, "get_env", dict)
    at_a_hub.user.settings = {"proxy": None}
    at_a_hub.records_folder = str(records.folder)
    with pytest.raises(HTTPError) as told:
        await at_a_hub.start()
    assert words in told.value.jupyterhub_message  # type: ignore[attr-defined]


async def test_what_is_left_of_a_start_that_failed_does_not_hide_why(
    at_a_hub: GuixSpawner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def stuck(*_: object) -> None:
        raise SessionFailure("Programs of this session could not be ended.", hint="Look at them.")

    monkeypatch.setattr(SessionLimits, "end", stuck)
    at_a_hub.user_options = {}
    with pytest.raises(HTTPError, match="Choose an environment"):
        await at_a_hub.start()
    assert "could not be ended" in caplog.text
    with pytest.raises(HTTPError) as told:
        await at_a_hub.stop()
    assert told.value.jupyterhub_message == "Programs of this session could not be ended. Look at them."  # type: ignore[attr-defined]


async def test_a_hub_that_encrypts_its_own_connections_is_told_why_no_session_starts(at_a_hub: GuixSpawner) -> None:
    at_a_hub.internal_ssl = True
    with pytest.raises(HTTPError) as told:
        await at_a_hub.start()
    assert "c.JupyterHub.internal_ssl" in told.value.jupyterhub_message  # type: ignore[attr-defined]


def test_the_log_has_the_last_words_of_a_session_and_not_its_token() -> None:
    failure = SessionFailure("Broken.", details={"reason": "it said secret-token"})
    told = for_the_log(failure, ["a line", "another with secret-token"], "secret-token")
    assert told == "Broken.\n    it said [token]\n    a line\n    another with [token]"
    assert for_the_log(failure, [], "") == "Broken.\n    it said secret-token"


async def _watch(spawner: GuixSpawner) -> list[str]:
    return [event["message"] async for event in spawner.progress()]


def test_every_setting_is_explained() -> None:
    own = set(GuixSpawner.class_own_traits(config=True))
    assert own == {
        *("records_folder", "homes_folder", "sessions_folder", "leases_folder"),
        *("allowed_system_calls", "grace", "launcher", "private_repository_hours", "service_url"),
    }
    assert all(len(trait.help.strip()) > 30 for trait in GuixSpawner.class_own_traits(config=True).values())


def test_a_failure_is_shown_in_its_own_words() -> None:
    for failure in (InvalidOptions("No <such> 100% thing.", hint="Try & see."), SessionFailure("Broken.")):
        error = for_the_hub(failure)
        assert isinstance(error, HTTPError)
        assert error.status_code == failure.status
        # What was refused is no defect of the hub's, which counts the two apart.
        refusal = getattr(jupyterhub.spawner, "SpawnException", HTTPError)  # since JupyterHub 6
        assert isinstance(error, refusal) == (failure.status < 500 or refusal is HTTPError)
        assert error.jupyterhub_message == " ".join(filter(None, (failure.message, failure.hint)))  # type: ignore[attr-defined]
    html = for_the_hub(InvalidOptions("No <such> thing.", hint="Try & see.")).jupyterhub_html_message  # type: ignore[attr-defined]
    assert html == "No &lt;such&gt; thing.<br>Try &amp; see."
    linked = for_the_hub(SessionFailure("Broken."), '/services/guix/"x')
    assert linked.jupyterhub_message == "Broken."  # type: ignore[attr-defined]
    html = linked.jupyterhub_html_message  # type: ignore[attr-defined]
    assert html == 'Broken.<br><a class="alert-link" href="/services/guix/&quot;x">To the environment</a>'


def test_a_link_is_no_failure_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tests.spawner.hub")
    quieten(log)
    quieten(log)
    assert len(log.filters) == 1
    for error in (OnlyPreselected(), HTTPError(400, "kept")):
        try:
            raise error
        except HTTPError:
            log.exception("Failed to spawn")
    assert len(caplog.records) == 1
    assert "kept" in caplog.text


def test_a_link_gives_no_options(spawner: GuixSpawner) -> None:
    with pytest.raises(OnlyPreselected):
        spawner.options_from_query({"environment": ["eaaaaaaaaaaa"]})


def test_the_package_has_the_scripts_that_sessions_run() -> None:
    folder = Path(guixspawner.__file__).parent / "session"
    assert {path.name for path in folder.iterdir()} == {"project.sh", "shell.sh", "kernel.sh"}
