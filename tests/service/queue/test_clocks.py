"""A clock that leaps by a day, or by years, in either direction: nothing is ended, removed, refused or forgotten for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from guix_build_service.manager.policy import Policy
from guix_build_service.model.clocks import Belief, Clocks, since_boot
from guix_build_service.model.environments import BuildState, NewEnvironment, Progress
from guix_build_service.model.retention import Rules
from guix_build_service.pipeline.job import MARK, Job
from guix_build_service.store.tables import services, uses
from guix_environment.errors import BuildFailure, LimitReached
from guix_environment.roots import Roots
from tests.marked_processes import marked_with
from tests.postgresql import PostgreSQL
from tests.service.installation import ADA, ADMIN
from tests.service.pipeline.test_build_step import READY, Reporter, build_in_one, job_with, run_step
from tests.service.queue.asked_builds import until
from tests.service.queue.killed_letting_go import NEW, OLD, URL
from tests.service.scripted import busy, scripted

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


@dataclass
class Wall:
    """The clock of the whole service, which a test sets."""

    ahead: timedelta = timedelta()
    passed: timedelta = timedelta()
    """What passes beside the time that really does."""

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead + self.passed

    @property
    def clocks(self) -> Clocks:
        return Clocks(self.now, lambda: since_boot() + self.passed.total_seconds())


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override] # always in UTC
            del tz
            return wall.now()

    monkeypatch.setattr("guix_build_service.model.environments.datetime", Clock)
    return wall


@pytest.mark.parametrize("ahead", [DAY, -DAY, 20 * YEAR])
def test_a_clock_that_leapt_is_believed_once_it_is_set_right_or_went_on_evenly_for_a_day(ahead: timedelta) -> None:
    wall = Wall()
    belief = Belief(wall.clocks)
    wall.passed += YEAR
    assert belief.look() == ""
    wall.ahead = ahead
    said = belief.look()
    assert f"{abs(ahead) / HOUR:.1f} hours {'more' if ahead > timedelta() else 'less'} have passed" in said
    wall.passed += DAY - HOUR
    assert belief.look() == said
    wall.ahead = timedelta()
    assert belief.look() == ""
    wall.ahead = ahead
    assert belief.look()
    wall.passed += HOUR
    wall.ahead += HOUR
    assert belief.look()
    wall.passed += DAY - HOUR
    assert belief.look(), "it leapt again meanwhile"
    wall.passed += HOUR
    assert belief.look() == ""


def test_a_clock_that_is_put_right_by_minutes_is_believed() -> None:
    wall = Wall()
    belief = Belief(wall.clocks)
    for minutes in (9, 18, 9, 0):
        wall.ahead = timedelta(minutes=minutes)
        assert belief.look() == ""


def test_after_a_day_of_which_nothing_is_known_the_clock_is_believed_a_day_later() -> None:
    wall = Wall()
    for silence, doubted in ((None, False), (HOUR, False), (-YEAR, False), (2 * DAY, True)):
        belief = Belief(wall.clocks)
        belief.look_back(None if silence is None else wall.now() - silence)
        assert bool(belief.look()) is doubted
    wall.passed += DAY
    assert belief.look() == ""


async def test_nothing_is_let_go_for_its_age_while_the_clock_is_not_believed(tmp_path: Path, wall: Wall) -> None:
    rules = Rules(unused=YEAR)
    async with scripted(tmp_path, leases=Roots(tmp_path / "leases"), clocks=wall.clocks) as (service, pipeline):
        pipeline.commits[URL] = OLD
        detail = await service.finished(await service.manager.add_environment(NewEnvironment(URL), ADA))
        pipeline.commits[URL] = NEW
        await service.finished(await service.manager.start_build(detail.environments[0], ADA))
        wall.ahead = 20 * YEAR
        found = await service.manager.let_go(ADMIN, rules)
        assert found.decisions == ()
        assert "hours more have passed" in found.hindrance
        assert (await service.manager.health()).retention == found.hindrance
        # Room is made all the same, by what was used longest ago.
        found = await service.manager.retention(ADMIN, replace(rules, begin_below=1, stop_at=1))
        assert [decision.holding.key for decision in found.decisions] == [f"key-{OLD}"]
        wall.ahead = timedelta()
        found = await service.manager.let_go(ADMIN, rules)
        assert (found.decisions, found.hindrance) == ((), "")
        assert not (await service.manager.health()).retention
        wall.passed = 2 * YEAR
        found = await service.manager.let_go(ADMIN, rules)
        assert [decision.holding.key for decision in found.decisions] == [f"key-{OLD}"]


async def test_a_service_that_starts_with_a_clock_that_is_ahead_lets_nothing_go_at_once(tmp_path: Path, wall: Wall) -> None:
    for ahead, doubted in ((timedelta(), False), (20 * YEAR, True)):
        wall.ahead = ahead
        leases = Roots(tmp_path / "leases")
        async with scripted(tmp_path, leases=leases, clocks=wall.clocks, start=False) as (service, _):
            await service.retainer.look_back()
            await service.queue.start()
            found = await service.manager.retention(ADMIN, Rules(unused=YEAR))
            assert bool(found.hindrance) is doubted
            await service.finished(await service.manager.add_environment(NewEnvironment(f"{URL}-{doubted}"), ADA))


@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_no_service_is_gone_because_the_database_s_clock_leapt(
    tmp_path: Path, postgresql: PostgreSQL, ahead: timedelta
) -> None:
    database = postgresql.current()
    async with (
        scripted(tmp_path, database=database) as (one, first),
        scripted(tmp_path, database=database) as (two, second),
    ):
        for pipeline in (first, second):
            pipeline.steps[BuildState.BUILDING] = busy
        asked = await one.manager.add_environment(NewEnvironment(URL), ADA)
        build = asked.build
        assert build is not None
        await until(lambda: len(marked_with(MARK, str(build.id))) == 2)
        service = (await one.store.build(build.id)).service
        # What each of them said last is as old, or as new, as after a leap.
        await one.store.transaction(lambda c: c.execute(update(services).values(seen=datetime.now(UTC) - ahead)))
        for each, other in ((one, two), (two, one)):
            await each.queue._recover()
            assert await each.queue._presence.others() == {other.store.service}
        found = await two.store.build(build.id)
        assert (found.state, found.service) == (BuildState.BUILDING, service)
        assert len(marked_with(MARK, str(build.id))) == 2


@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_a_build_takes_as_long_as_it_takes_when_the_clock_leaps_meanwhile(
    tmp_path: Path, wall: Wall, ahead: timedelta
) -> None:
    async def leap(_: Job) -> None:
        wall.ahead += ahead

    async with scripted(tmp_path) as (service, pipeline):
        pipeline.steps[BuildState.BUILDING] = leap
        ready = await service.finished(await service.manager.add_environment(NewEnvironment(URL), ADA))
        assert ready.state is BuildState.READY
        assert ready.started is not None
        assert ready.finished is not None
        assert timedelta() <= ready.finished - ready.started < HOUR


async def test_what_came_last_is_the_latest_also_after_the_clock_was_put_back(tmp_path: Path, wall: Wall) -> None:
    async with scripted(tmp_path) as (service, pipeline):
        pipeline.commits[URL] = OLD
        first = await service.finished(await service.manager.add_environment(NewEnvironment(URL), ADA))
        environment = first.environments[0]
        wall.ahead = -DAY
        pipeline.commits[URL] = NEW
        second = await service.finished(await service.manager.start_build(environment, ADA))
        detail = await service.manager.environment(environment, ADA)
        assert detail.build is not None
        assert detail.build.id == second.id
        assert [version.commit for version in await service.manager.versions(environment, ADA)] == [NEW, OLD]
        back = await service.manager.rollback(environment, None, ADA)
        assert back.version is not None
        assert back.version.commit == OLD


async def test_who_asked_for_builds_before_the_clock_was_put_back_may_ask_again(tmp_path: Path, wall: Wall) -> None:
    async with scripted(tmp_path, policy=Policy(builds_an_hour=1)) as (service, _):
        await service.manager.add_environment(NewEnvironment(URL), ADA)
        with pytest.raises(LimitReached):
            await service.manager.add_environment(NewEnvironment(f"{URL}-2"), ADA)
        wall.ahead = -DAY
        await service.manager.add_environment(NewEnvironment(f"{URL}-2"), ADA)


async def test_what_was_used_while_the_clock_was_ahead_is_seen_to_be_used_now(tmp_path: Path, wall: Wall) -> None:
    async with scripted(tmp_path) as (service, _):
        ready = await service.finished(await service.manager.add_environment(NewEnvironment(URL), ADA))
        detail = await service.manager.environment(ready.environments[0], ADA)
        wall.ahead = 20 * YEAR
        await service.manager.session_started(detail.environment, "ada", None, ADA)
        wall.ahead = timedelta()
        await service.manager.session_started(detail.environment, "ada", None, ADA)
        (used,) = await service.store.look(lambda c: list(c.scalars(uses.select().with_only_columns(uses.c.used))))
        assert abs(used - wall.now()) < HOUR


class Sleepy(Reporter):
    """Has the machine sleep for a day while a build runs: all clocks go on but the one that counts while it is awake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wall: Wall) -> None:
        super().__init__()
        self._monkeypatch, self._wall = monkeypatch, wall

    async def progressed(self, progress: Progress) -> None:
        if not self._wall.passed:
            self._wall.passed, told = DAY, time.clock_gettime
            asleep = {time.CLOCK_BOOTTIME: DAY.total_seconds()}
            self._monkeypatch.setattr(time, "clock_gettime", lambda clock: told(clock) + asleep.get(clock, 0.0))
        await super().progressed(progress)


SLOW = """
if os.path.exists("again"):
    print("builder for `/gnu/store/%s-x-1.drv' failed with exit code 1"); sys.exit(1)
open("again", "w").close()
print("building of `/gnu/store/%s-x-1.drv' timed out after 3600 seconds of silence")
print("build of /gnu/store/%s-x-1.drv failed"); sys.exit(1)
""".replace("%s", "d" * 32)


@pytest.mark.parametrize("ahead", [DAY, timedelta()])
async def test_what_guix_s_daemon_ends_because_the_clock_leapt_is_built_again(tmp_path: Path, ahead: timedelta) -> None:
    moments = iter([timedelta(), *[ahead] * 100])
    workshop, job = job_with(tmp_path, SLOW)
    leaping: Callable[[], datetime] = lambda: datetime.now(UTC) + next(moments)  # noqa: E731 - it is what is tried
    with pytest.raises(BuildFailure, match="status 1" if ahead else "took longer than 60 minutes"):
        await run_step(replace(workshop, clocks=Clocks(leaping)), job)
    assert ("it goes on" in job.log.path.read_text()) is bool(ahead)


async def test_what_the_clock_ended_is_built_again_by_another_guix_than_worked_it_out(tmp_path: Path) -> None:
    moments = iter([timedelta(), *[DAY] * 100])
    workshop, job = job_with(tmp_path, f"if 'lower.scm' in sys.argv[3]: {READY}; os.read(0, 10000)\n{SLOW}")
    leaping: Callable[[], datetime] = lambda: datetime.now(UTC) + next(moments)  # noqa: E731 - it is what is tried
    with pytest.raises(BuildFailure, match="status 1"):
        await build_in_one(replace(workshop, clocks=Clocks(leaping)), job)
    assert "it goes on" in job.log.path.read_text()


async def test_what_guix_s_daemon_ends_because_the_machine_slept_is_built_again(
    tmp_path: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop, job = job_with(tmp_path, SLOW)
    with pytest.raises(BuildFailure, match="status 1"):
        await run_step(workshop, job, Sleepy(monkeypatch, wall))
    assert "The machine slept" in job.log.path.read_text()
