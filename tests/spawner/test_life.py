"""How long sessions live, how much they may write, and what is cleared away of those that are gone."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from traitlets.config import Config

from guix_environment import process_identity
from guix_environment.process_identity import ProcessIdentity, identify
from guix_environment.roots import Roots
from guixspawner.life import SessionLife
from guixspawner.life.culling import SCOPES, culler_command, culler_role, culler_service
from guixspawner.life.log_size import bound
from guixspawner.life.sweep import Found, Places, judge, sweep
from guixspawner.session_key import SessionKey
from tests.spawner.conftest import PROFILE

ADA, BOB, CYD = SessionKey("ada", "default"), SessionKey("bob", "two"), SessionKey("cyd", "default")
GONE = ProcessIdentity(2**22, 1)


def life(**traits: object) -> SessionLife:
    return SessionLife(config=Config(SessionLife=traits))


# What a session is told


def test_a_session_without_an_end_is_told_of_none() -> None:
    assert life().variables() == {}
    assert life().server_options() == ()


def test_a_session_is_told_when_it_ends() -> None:
    assert life(idle_timeout=86400.0, maximal_age=604800.0).variables() == {
        "GUIX_SESSION_IDLE_SECONDS": "86400",
        "JUPYTERHUB_ACTIVITY_INTERVAL": "300",
        "GUIX_SESSION_MAXIMAL_AGE": "604800",
    }


@pytest.mark.parametrize(("idle", "interval"), [(1.0, "1"), (60.0, "15"), (1200.0, "300"), (3600.0, "300")])
def test_a_session_in_use_tells_so_before_it_counts_as_idle(idle: float, interval: str) -> None:
    assert life(idle_timeout=idle).variables()["JUPYTERHUB_ACTIVITY_INTERVAL"] == interval


def test_idle_kernels_are_jupyters_own_to_end() -> None:
    assert life(kernel_idle_timeout=7200.0).server_options() == (
        "--MappingKernelManager.cull_idle_timeout=7200",
        "--MappingKernelManager.cull_interval=300",
    )


# The service that ends sessions


def test_the_culler_is_told_both_times_and_reads_no_file_of_the_working_folder() -> None:
    options = culler_command(86400.0, 604800.0)[3:]
    assert options == ["--timeout=86400", "--max-age=604800", "--cull-every=600", "--config="]


@pytest.mark.parametrize(
    ("idle", "age", "options"),
    [
        (0.0, 100.0, ["--timeout=3153600000", "--max-age=100", "--cull-every=10"]),
        (30.0, 0.0, ["--timeout=30", "--max-age=0", "--cull-every=3"]),
        (2.0, 0.0, ["--timeout=2", "--max-age=0", "--cull-every=1"]),
    ],
)
def test_each_time_can_be_left_out(idle: float, age: float, options: list[str]) -> None:
    assert culler_command(idle, age)[3:6] == options


def test_the_culler_may_do_what_it_must_and_nothing_else() -> None:
    assert culler_role() == {"name": "cull-idle", "scopes": list(SCOPES), "services": ["cull-idle"]}
    assert not [scope for scope in SCOPES if scope.startswith("admin") or scope in {"users", "tokens", "access:servers"}]
    assert "user" not in culler_service(1, 0)
    assert culler_service(1, 0, "guix-build-service")["user"] == "guix-build-service"


# Logs


def test_a_log_within_its_limit_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert not bound(log, 100)
    log.write_bytes(b"x" * 100)
    assert not bound(log, 100)
    assert log.read_bytes() == b"x" * 100


def test_the_newer_half_of_a_log_stays_and_writing_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writing = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(1000):
        os.write(writing, f"line {number}\n".encode())
    assert bound(log, 2000)
    os.write(writing, b"after\n")
    os.close(writing)
    lines = log.read_text().splitlines()
    assert lines[0] == "[What was older is no longer kept.]"
    assert lines[-2:] == ["line 999", "after"]
    assert all(line.startswith("line ") for line in lines[1:-1])
    assert 900 < log.stat().st_size < 1100


def test_a_runaway_session_does_not_fill_the_disk(tmp_path: Path) -> None:
    log, limit = tmp_path / "log", 1024 * 1024
    writer = subprocess.Popen(["yes"], stdout=log.open("ab"))
    try:
        blocks = []
        for _ in range(20):
            bound(log, limit)
            blocks.append(log.stat().st_blocks * 512)
    finally:
        writer.kill()
        writer.wait()
    bound(log, limit)
    assert log.stat().st_blocks * 512 <= limit + 4096


def test_a_log_that_only_claims_to_be_huge_is_read_no_further(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a\n")
    os.truncate(log, 2**40)
    assert bound(log, 65536)
    assert log.stat().st_size < 65536


def test_a_link_in_a_logs_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x" * 1000)
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        bound(tmp_path / "log", 10)
    assert (tmp_path / "other").stat().st_size == 1000


# Which process a session is, over restarts of the machine


def test_a_process_is_found_again_by_its_record() -> None:
    own = identify(os.getpid())
    assert own is not None
    record = json.loads(json.dumps(process_identity.to_record(own)))
    assert process_identity.from_record(record) == own


def test_the_same_numbers_after_the_machine_restarted_are_not_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    own = identify(os.getpid())
    assert own is not None
    record = process_identity.to_record(own)
    monkeypatch.setattr(process_identity, "_boot", lambda: "another")
    assert process_identity.from_record(record) is None


@pytest.mark.parametrize("damage", [{}, {"pid": 1}, {"pid": "1", "started": 1}, None, [], "x", {"boot": "x"}])
def test_a_damaged_record_is_no_process(damage: object) -> None:
    whole = {"boot": process_identity._boot(), **damage} if isinstance(damage, dict) else damage
    assert process_identity.from_record(whole) is None
    assert process_identity.from_record({"pid": os.getpid(), "started": 1}) is None


# What is left of sessions that are gone


def test_who_runs_is_kept_who_is_gone_is_cleared_and_whom_nobody_knows_is_ended() -> None:
    running = ProcessIdentity(1, 1)
    found = [Found(CYD, running), Found(ADA, running), Found(BOB, None)]
    verdict = judge(found, {ADA, BOB})
    assert (verdict.kept, verdict.ended, verdict.cleared) == ((ADA,), (Found(CYD, running),), (BOB,))


@pytest.mark.parametrize("name", ["", "ada", ".", "ada.", ".x", "a.b.c.d", ".unfinished-x", "ada..server"])
def test_other_names_are_no_sessions(name: str) -> None:
    assert SessionKey.within(name) is None


def test_names_of_leases_and_folders_are_sessions() -> None:
    assert SessionKey.within("ada.default") == SessionKey.within("ada.default.environment") == ADA
    assert str(BOB) == "bob.two"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "sessions", Roots(tmp_path / "leases"), (tmp_path / "sockets",))


def traces(places: Places, key: SessionKey, process: ProcessIdentity | None) -> None:
    """Leave of the session KEY what a running one has."""
    files = places.files(key)
    files.hold({"environment": PROFILE, "server": PROFILE})
    (places.folders[0] / str(key)).mkdir(parents=True)
    if process:
        files.remember(process)


async def swept(places: Places, known: dict[SessionKey, ProcessIdentity], **further: object) -> list[SessionKey]:
    cleared = []

    async def clear(key: SessionKey) -> None:
        cleared.append(key)
        places.files(key).release()
        (places.folders[0] / str(key)).rmdir()

    await sweep(places, known, clear=clear, grace=1, **further)  # type: ignore[arg-type] # the tests know
    return cleared


async def test_nothing_of_a_session_that_runs_is_touched(places: Places, sleeping: ProcessIdentity) -> None:
    traces(places, ADA, sleeping)
    before = sorted(places.sessions.parent.rglob("*"))
    assert await swept(places, {ADA: sleeping}) == []
    assert sorted(places.sessions.parent.rglob("*")) == before
    assert process_identity.is_running(sleeping)


async def test_a_session_that_the_database_alone_remembers_is_not_touched(places: Places, sleeping: ProcessIdentity) -> None:
    traces(places, ADA, None)
    assert await swept(places, {ADA: sleeping}) == []
    assert "ada.default.environment" in places.leases.held()


async def test_what_is_left_of_a_session_that_is_gone_is_cleared(places: Places) -> None:
    traces(places, ADA, GONE)
    traces(places, BOB, None)
    assert await swept(places, {ADA: GONE}) == [ADA, BOB]
    assert not places.leases.held()
    assert not list(places.folders[0].iterdir())
    assert not list(places.sessions.rglob("*.json"))


async def test_after_a_restart_of_the_machine_everything_is_cleared_and_nobody_is_signalled(
    places: Places, sleeping: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another program that the new start of the machine gave the session's number, at the same moment after its start.
    traces(places, ADA, sleeping)
    monkeypatch.setattr(process_identity, "_boot", lambda: "another")
    assert await swept(places, {}) == [ADA]
    assert process_identity.is_running(sleeping)
    assert not places.leases.held()


async def test_a_session_that_no_hub_knows_is_ended(places: Places, sleeping: ProcessIdentity) -> None:
    traces(places, CYD, sleeping)
    assert await swept(places, {}) == [CYD]
    assert not process_identity.is_running(sleeping)
    assert not places.leases.held()


async def test_control_groups_of_sessions_without_other_traces_are_cleared(places: Places) -> None:
    cleared = []

    async def clear(key: SessionKey) -> None:
        await asyncio.sleep(0)
        cleared.append(key)

    await sweep(places, {}, further=[CYD], clear=clear, grace=1)
    assert cleared == [CYD]
