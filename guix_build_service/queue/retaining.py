"""Letting profiles go: what `retention` decides, done in an order that a kill at any moment leaves whole.

First the rows say that a profile is no longer kept, then the records, which the spawner reads; then nothing new can use
it, and its root goes unless a session has taken it meanwhile.  A session, the other way round, takes hold of its profile
first and reads the record after that: either it sees that the profile goes, or we see that it holds it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from guix_build_service.logs import audit
from guix_build_service.model.clocks import Belief, Clocks
from guix_build_service.model.environments import Version
from guix_build_service.model.retention import Decision, Facts, Holding, Plan, Rules, plan
from guix_build_service.pipeline import storage
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.store import Store
from guix_build_service.store.retention import RetentionRows
from guix_environment.errors import GuixSpawnerError
from guix_environment.identifiers import StorePath
from guix_environment.processes import run
from guix_environment.records import LetGo

OURSELVES = "service/guix"
"""Who lets go, as the audit log names the service itself."""

COLLECTION_SECONDS = 3600.0
"""How long the collector may work at once; what it has not removed by then it removes the next time."""

log = logging.getLogger("guix_build_service.retention")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When profiles are let go, and by which rules."""

    rules: Rules = field(default_factory=Rules)
    collect: bool = True
    """Whether Guix's collector is run when the disk is nearly full."""
    seconds: float = 3600.0
    """Between two looks."""


class Retainer:
    """Lets go of profiles, from time to time and when somebody asks."""

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        schedule: Schedule | None = None,
        free: Callable[[], int] = storage.free_bytes,
        clocks: Clocks | None = None,
    ) -> None:
        self._store = store
        self._rows = RetentionRows(store)
        self._pipeline = pipeline
        self.schedule = schedule or Schedule()
        self._free = free
        self._belief = Belief(clocks)
        self._deciding = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def rows(self) -> RetentionRows:
        """What the database knows of it."""
        return self._rows

    @property
    def doubt(self) -> str:
        """Why nothing is let go for its age, in a sentence; empty where the clock was believed at the last look."""
        return self._belief.doubt

    async def look_back(self) -> None:
        """Compare the clock with the last that an earlier run wrote down; to be called before this one writes anything."""
        self._belief.look_back(await self._rows.last_written())

    async def start(self) -> None:
        """Finish what an earlier end of the service left half done, and begin to look from time to time."""
        await self._settle()
        self._task = asyncio.create_task(self._look(), name="retention")

    async def stop(self) -> None:
        """End looking, and a collection that runs."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def plan(self, rules: Rules | None = None) -> Plan:
        """Return what would be let go by RULES, the configured ones unless given, and do nothing."""
        async with self._deciding:
            return await self._plan(rules or self.schedule.rules)

    async def let_go(self, rules: Rules | None = None, who: str = OURSELVES) -> Plan:
        """Let go of what is to be by RULES, on behalf of WHO, and return what went."""
        async with self._deciding:
            found = await self._plan(rules or self.schedule.rules)
            gone = [decision for decision in found.decisions if await self._let_go(decision, who)]
            return Plan(tuple(gone), found.kept, found.hindrance)

    async def _look(self) -> None:
        while True:
            try:
                await self._settle()
                await self.let_go()
                await self._collect()
            except (GuixSpawnerError, OSError) as error:
                log.warning("Profiles could not be let go, which is tried again later: %s", error)
            await asyncio.sleep(self.schedule.seconds)

    async def _plan(self, rules: Rules) -> Plan:
        workshop = self._pipeline.workshop
        held = await asyncio.to_thread(storage.held_by_sessions, workshop)
        if held is None:
            return Plan(hindrance="Nobody can tell which profiles running sessions use (BuildService.leases_folder).")
        holdings = await self._rows.holdings()
        before = self._belief.doubt
        if doubt := self._belief.look():
            rules = replace(rules, unused=None, unused_current=None)
        if doubt != before:
            log.warning("%s", doubt or "The clock of this machine is believed again.")
        async with self._pipeline.measuring:
            return replace(await asyncio.to_thread(self._decide, holdings, rules, held), hindrance=doubt)

    def _decide(self, holdings: Sequence[Holding], rules: Rules, held: frozenset[StorePath]) -> Plan:
        shares = storage.Shares(self._pipeline.workshop, [holding.key for holding in holdings], held)
        return plan(holdings, rules, Facts(self._belief.clocks.wall(), held, self._free(), shares.frees))

    async def _let_go(self, decision: Decision, who: str) -> bool:
        """Do what was decided, unless something has changed meanwhile; return whether it was done."""
        holding, letting_go = decision.holding, LetGo(self._belief.clocks.wall(), decision.why)
        deeds = [audit.let_go(who, holder, decision.why) for holder in holding.holders]
        if not await self._rows.let_go(holding, letting_go, deeds):
            return False
        log.info("Profile %s is let go. %s", holding.profile, decision.why)
        return await self._finish(holding.key, holding.profile)

    async def _finish(self, key: str, profile: StorePath) -> bool:
        """Do what follows on the rows: records, then the root; False where a session has taken the profile meanwhile."""
        await self._note(key)
        held = await asyncio.to_thread(storage.held_by_sessions, self._pipeline.workshop)
        if held is None or profile in held:
            await self._rows.keep_again(key, profile)
            await self._note(key)
            return False
        await self._pipeline.forget(key, self._in_use)
        return True

    async def _note(self, key: str) -> None:
        await self._pipeline.note_let_go(await self._store.versions_having(key))

    async def _in_use(self, key: str) -> bool:
        return bool(await self._store.keys_in_use([key]))

    async def _settle(self) -> None:
        """Have records and roots say what the rows say, wherever an earlier run of the service ended."""
        async with self._deciding:
            rows = await self._rows.all_let_go()
            await self._pipeline.tidy_let_go(rows)
            held = await asyncio.to_thread(self._pipeline.workshop.roots.held)
            for key, profile in {(version.key, version.profile) for version in rows if _is_held(version, held)}:
                await self._finish(key, profile)

    async def _collect(self) -> None:
        """Have Guix's collector make room, where the disk is nearly full and the administrator wants that."""
        rules, guix = self.schedule.rules, self._pipeline.workshop.guix
        if not self.schedule.collect or await asyncio.to_thread(self._free) >= rules.begin_below:
            return
        log.info("Guix's collector removes what nothing holds, until %s bytes are free.", rules.stop_at)
        done = await run(guix.collect(rules.stop_at), environment=guix.environment(), timeout=COLLECTION_SECONDS)
        if not done.succeeded and not done.timed_out:
            log.warning("Guix's collector failed: %s", done.errors.decode(errors="replace").strip()[-500:])


def _is_held(version: Version, held: Mapping[str, StorePath]) -> bool:
    return held.get(version.key) == version.profile
