"""Environments changed, shared and given away: who may do which of it is decided with the row that is changed at hand."""

from collections.abc import Callable
from datetime import datetime

from guix_build_service.logs import audit
from guix_build_service.manager.lookups import Lookups
from guix_build_service.manager.policy import check_may_change, check_owns, check_recipient
from guix_build_service.model.asked_for import changed, not_shared_with, shared_with
from guix_build_service.model.environments import Changes, Environment, EnvironmentDetail, Person
from guix_build_service.model.members import Member, MemberKind
from guix_environment.identifiers import EnvironmentId


class Sharing(Lookups):
    """What changes an environment and neither its versions nor its builds."""

    async def update_environment(
        self, environment: EnvironmentId, changes: Changes, person: Person, seen: datetime | None = None
    ) -> EnvironmentDetail:
        """Rename, describe, share, limit or give away an environment; what editors may change stands in `Changes`.

        With SEEN, when the state that PERSON looked at was of, only if it is that still. Raises `NotFound`, `Refused`,
        `InvalidInput`, `ChangedMeanwhile`.
        """
        detail = await self.changeable(environment, person)
        if changes.of_its_owner:
            check_owns(detail.environment, person)
        if changes.owner not in {None, detail.environment.owner}:
            await self._check_recipient(str(changes.owner), person)

        def permitted(before: Environment) -> Environment:
            check_may_change(before, person)
            if changes.of_its_owner:
                check_owns(before, person)
            return changed(before, changes)

        await self._change(environment, permitted, person, seen)
        return await self.environment(environment, person)

    async def share(self, environment: EnvironmentId, member: Member, person: Person) -> tuple[Member, ...]:
        """Share an environment with MEMBER, or give MEMBER another role; return all members since then.

        Raises `NotFound`, `Refused`, `InvalidInput`.
        """
        await self._owned(environment, person)

        def permitted(before: Environment) -> Environment:
            check_owns(before, person)
            return shared_with(before, member)

        return (await self._change(environment, permitted, person)).members

    async def unshare(self, environment: EnvironmentId, kind: MemberKind, name: str, person: Person) -> None:
        """Share an environment no longer with the member of that KIND and NAME; their sessions that run go on.

        Members may leave by themselves. Raises `NotFound`, `Refused`.
        """
        leaves = (kind, name) == (MemberKind.USER, person.name)
        await (self.environment(environment, person) if leaves else self._owned(environment, person))

        def permitted(before: Environment) -> Environment:
            if not leaves:
                check_owns(before, person)
            return not_shared_with(before, kind, name)

        await self._change(environment, permitted, person)

    async def _change(
        self,
        environment: EnvironmentId,
        change: Callable[[Environment], Environment],
        person: Person,
        seen: datetime | None = None,
    ) -> Environment:
        """Have PERSON make the CHANGE, told of in the audit log, and sessions start by it from now on."""
        after = await self._store.change_environment(
            environment, change, seen, lambda before, after: audit.changes(person.name, before, after)
        )
        if after.current:
            await self._queue.holdings.write_record(environment)
        return after

    async def _check_recipient(self, recipient: str, person: Person) -> None:
        """Raise `LimitReached` where PERSON gives an environment to somebody who has as many as they may have."""
        most = self._policy.environments
        if most is not None and not person.admin:
            check_recipient(most, await self._store.environments_owned(recipient), recipient)
