"""What an administrator sets, which back-end is chosen for it, and what is refused."""

import json
import os
from collections.abc import Collection
from pathlib import Path

import pytest
from traitlets import TraitError

from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Mount
from guix_environment.errors import LimitReached, SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.limits import Backend, BackendKind, Enforced, Limits, Machine, SessionLimits, Usage, with_limits
from guixspawner.limits.detection import detect
from guixspawner.limits.rlimits import NoLimits, ResourceLimits

from .tree import Server

Found = dict[tuple[str, str, bool], Backend]

KEY = "ada.default"
MIB = 1024**2
OWN = Account(os.geteuid(), os.getegid())


class Scripted:
    """A back-end that bounds what it is told to."""

    def __init__(self, kind: BackendKind, *bounds: str) -> None:
        self.kind = kind
        self.bounds = bounds
        self.held: set[str] = set()

    async def hold(self, key: str, process: ProcessIdentity, limits: Limits) -> Enforced:
        assert process_identity.is_running(process)
        self.held.add(key)
        if not self.bounds:
            raise SessionFailure("no")
        return Enforced(self.kind, **{name: getattr(limits, name) for name in self.bounds})

    async def end(self, key: str) -> None:
        self.held.discard(key)

    async def leftovers(self) -> Collection[str]:
        return self.held

    async def usage(self, key: str) -> Usage:
        return Usage(processes=1 if key in self.held else None)

    def describe(self) -> str:
        return str(self.kind)


ALL = ("memory", "cpu", "processes")


async def test_the_first_that_enforces_everything_is_taken() -> None:
    broken, partial = Scripted(BackendKind.SYSTEMD), Scripted(BackendKind.CGROUP_V2, "memory")
    whole, later = Scripted(BackendKind.CGROUP_V1, *ALL), Scripted(BackendKind.CGROUP_V1, *ALL)
    assert await detect(None, [broken, partial, whole, later, NoLimits()]) is whole
    assert not broken.held | partial.held | whole.held


async def test_else_the_one_that_enforces_most() -> None:
    less, more = Scripted(BackendKind.SYSTEMD, "memory"), Scripted(BackendKind.CGROUP_V2, "memory", "processes")
    assert await detect(None, [less, more, ResourceLimits(address_space=False), NoLimits()]) is more


async def test_without_any_group_there_are_resource_limits() -> None:
    last = ResourceLimits(address_space=False)
    assert await detect(None, [Scripted(BackendKind.SYSTEMD), last, NoLimits()]) is last


async def test_only_the_kind_that_was_chosen_is_tried() -> None:
    whole, nothing = Scripted(BackendKind.CGROUP_V1, *ALL), NoLimits()
    assert await detect(BackendKind.NOTHING, [whole, nothing]) is nothing
    with pytest.raises(SessionFailure, match="cannot be enforced by systemd on this machine"):
        await detect(BackendKind.SYSTEMD, [Scripted(BackendKind.SYSTEMD), whole, nothing])


async def test_what_does_not_work_here_holds_nothing(monkeypatch: pytest.MonkeyPatch, held_by: Found) -> None:
    limits = SessionLimits(backend="systemd")
    monkeypatch.setattr(limits, "_candidates", lambda: [Scripted(BackendKind.SYSTEMD), NoLimits()])
    with pytest.raises(SessionFailure, match="cannot be enforced by systemd"):
        await limits.chosen()
    assert not await limits.leftovers()
    await limits.end(KEY)
    assert not held_by


async def test_trying_leaves_nothing() -> None:
    """On the machine itself, whatever it has."""
    before = {path.name for path in Path("/sys/fs/cgroup").glob("*/guix_trial*")}
    limits = SessionLimits(group="guix_trial")
    await limits.chosen()
    assert not await limits.leftovers()
    assert {path.name for path in Path("/sys/fs/cgroup").glob("*/guix_trial*")} == before


@pytest.fixture
def held_by(monkeypatch: pytest.MonkeyPatch) -> Found:
    found: Found = {}
    monkeypatch.setattr(SessionLimits, "_found", found)
    return found


def limits_by(backend: Backend, found: Found, **settings: object) -> SessionLimits:
    limits = SessionLimits(**settings)
    found[limits.backend, limits.group, limits.address_space] = backend
    return limits


@pytest.mark.parametrize(
    ("asked", "word"),
    [(Limits(memory=100), "memory"), (Limits(cpu=1.0), "computing time"), (Limits(disk=100), "disk space")],
)
async def test_what_nothing_enforces_is_refused(
    held_by: Found, server: Server, tmp_path: Path, asked: Limits, word: str
) -> None:
    limits = limits_by(NoLimits(), held_by)
    with pytest.raises(SessionFailure, match=f"This machine cannot hold a session to a limit on {word}"):
        await limits.hold(KEY, server.identity, asked, tmp_path, Account(70000, 70000))


async def test_unless_the_administrator_allows_it(held_by: Found, server: Server, tmp_path: Path) -> None:
    limits = limits_by(NoLimits(), held_by, allow_unenforced=True)
    enforced = await limits.hold(KEY, server.identity, Limits(memory=100, cpu=1.0), tmp_path, OWN)
    assert enforced == Enforced(BackendKind.NOTHING)
    assert enforced.as_json() == {
        "memory": None,
        "cpu": None,
        "processes": None,
        "disk": None,
        "enforced_by": "nothing",
    }


async def test_without_limits_nothing_is_missing(held_by: Found, server: Server, tmp_path: Path) -> None:
    limits = limits_by(NoLimits(), held_by)
    await limits.hold(KEY, server.identity, limits.complete(Limits()), tmp_path, OWN)


async def test_a_number_of_processes_that_was_set_is_insisted_on(held_by: Found, server: Server, tmp_path: Path) -> None:
    limits = limits_by(NoLimits(), held_by, processes=100)
    with pytest.raises(SessionFailure, match="a limit on processes"):
        await limits.hold(KEY, server.identity, limits.complete(Limits()), tmp_path, OWN)


async def test_a_session_is_ended_sooner_than_the_hub(held_by: Found, server: Server, tmp_path: Path) -> None:
    limits = limits_by(NoLimits(), held_by)
    await limits.hold(KEY, server.identity, Limits(), tmp_path, OWN)
    assert Path(f"/proc/{server.pid}/oom_score_adj").read_text().strip() == "200"
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 200


def test_own_settings_join_those_of_the_environment() -> None:
    limits = SessionLimits(processes=None, disk="20G")
    assert limits.complete(Limits(memory=5)) == Limits(memory=5, processes=None, disk=20 * 1024**3)


def test_no_more_is_promised_than_is_allowed() -> None:
    limits = SessionLimits().complete(Limits(memory=100, cpu=0.5), memory_guarantee=200, cpu_guarantee=1.0)
    assert (limits.memory_guarantee, limits.cpu_guarantee) == (100, 0.5)
    limits = SessionLimits().complete(Limits(), memory_guarantee=200, cpu_guarantee=0.0)
    assert (limits.memory_guarantee, limits.cpu_guarantee) == (200, None)


async def test_a_promise_lasts_until_the_end_and_over_a_restart(held_by: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionLimits, "_made", {})
    limits = limits_by(NoLimits(), held_by)
    most = Machine.own().memory
    limits.promise(KEY, Limits(memory_guarantee=most, cpu_guarantee=0.5))
    kept = limits.promised(KEY)
    assert kept == {"memory": most, "cpu": 0.5}
    monkeypatch.setattr(SessionLimits, "_made", {})
    limits.remember(KEY, kept)
    with pytest.raises(LimitReached):
        limits.promise("bob.default", Limits(memory_guarantee=1))
    await limits.end(KEY)
    limits.promise("bob.default", Limits(memory_guarantee=1))


def test_what_is_in_force_in_words() -> None:
    enforced = Enforced(BackendKind.CGROUP_V2, 2**30, 1.5, 500, 20 * 2**30)
    assert enforced.in_words == "1024 MiB of memory, 1.5 cores, 500 processes, 20480 MiB of disk space"
    assert Enforced(BackendKind.NOTHING).in_words == "nothing"


def test_a_session_is_told_what_is_in_force_and_not_what_was_asked_for() -> None:
    bare = ContainerPlan(store_items=(), command=("/bin/true",), directory="/", variables={"A": "1"}, host_name="h")
    events = Path("/sys/fs/cgroup/x/memory.events")
    plan = with_limits(bare, Enforced(BackendKind.CGROUP_V2, memory=2**30, memory_events=events), "none")
    assert json.loads(plan.variables["GUIX_SESSION_LIMITS"]) == {
        "memory": 2**30,
        "cpu": None,
        "processes": None,
        "disk": None,
        "enforced_by": "cgroup-v2",
        "network": "none",
    }
    inside = plan.variables["GUIX_SESSION_MEMORY_EVENTS"]
    assert plan.mounts == (Mount(str(events), inside),)
    assert not plan.mounts[0].writable
    assert plan.variables["A"] == "1"
    without = with_limits(bare, Enforced(BackendKind.NOTHING), "host")
    assert "GUIX_SESSION_MEMORY_EVENTS" not in without.variables
    assert not without.mounts


@pytest.mark.parametrize("name", ["", "../a", "a-b", "a b", "ä", "_", "a.slice"])
def test_a_group_has_a_plain_name(name: str) -> None:
    with pytest.raises(TraitError):
        SessionLimits(group=name)


async def test_resource_limits_bound_processes(server_of_its_own: Server) -> None:
    server = server_of_its_own
    enforced = await ResourceLimits(address_space=False).hold(KEY, server.identity, Limits(memory=64 * MIB, processes=30))
    assert enforced == Enforced(BackendKind.RLIMITS, processes=30)
    assert int(server.ask("bomb", 100)) == 29
    assert server.ask("kernel", 100 * MIB) == "0"


async def test_resource_limits_of_two_sessions_are_counted_apart(server_of_its_own: Server) -> None:
    other = Server("unshare", "--user", account=65534 if os.geteuid() == 0 else None)
    backend = ResourceLimits(address_space=False)
    try:
        for one in (server_of_its_own, other):
            await backend.hold(KEY, one.identity, Limits(processes=30))
        assert int(server_of_its_own.ask("hold", 25)) == 25
        assert int(other.ask("bomb", 100)) == 29
    finally:
        other.close()


async def test_resource_limits_bound_each_process_where_that_was_chosen(server_of_its_own: Server) -> None:
    server = server_of_its_own
    enforced = await ResourceLimits(address_space=True).hold(KEY, server.identity, Limits(memory=256 * MIB))
    assert enforced.memory is None, "no bound for the session"
    assert server.ask("kernel", 400 * MIB) == "3"
    assert server.ask("kernel", 40 * MIB) == "0"


async def test_without_users_of_its_own_processes_are_not_counted_for_the_session(server: Server) -> None:
    enforced = await ResourceLimits(address_space=False).hold(KEY, server.identity, Limits(processes=3000))
    assert enforced.processes is None
