"""What people can ask of the build service; the pages and the API call nothing else.  Here is what changes something.

Every method names the person who asks.  What they may not see does not exist for them (`NotFound`); what they may see and
not change is `Refused`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta

from guix_build_service.credentials.hooks import Hook
from guix_build_service.logs import audit
from guix_build_service.logs.audit import Action, Deed
from guix_build_service.logs.build_logs import Logs
from guix_build_service.logs.session_logs import SessionLogs
from guix_build_service.manager.keeping import Keeping, check_kept
from guix_build_service.manager.policy import MayAdd, Policy, check_builds, check_disk, check_environments
from guix_build_service.manager.reading_rights import ReadingRights
from guix_build_service.manager.resolving import Resolving
from guix_build_service.manager.sharing import Sharing
from guix_build_service.model.asked_for import new_build, new_environment
from guix_build_service.model.environments import (
    Build,
    BuildState,
    Environment,
    EnvironmentDetail,
    Found,
    NewEnvironment,
    Person,
    Version,
    now,
)
from guix_build_service.model.health import Health
from guix_build_service.model.measures import Needed
from guix_build_service.providers import Place, read
from guix_build_service.providers.located import Located, located
from guix_build_service.queue.queue import Queue
from guix_build_service.queue.reports import key_of
from guix_build_service.queue.retaining import Retainer
from guix_build_service.store import Joined, Store
from guix_build_service.vault.hooks import Hooks
from guix_build_service.vault.vault import Opener, Vault
from guix_build_service.webhooks.deliveries import Delivery
from guix_build_service.webhooks.pushes import push_of
from guix_environment.errors import Conflict, NotFound, Refused
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId
from guix_environment.repository_url import RepositoryUrl

__all__ = ["Manager", "MayAdd", "Policy"]

NOTHING_HERE = "There is nothing at this address."
"""What a stranger is told, whatever it was that they did not know."""

HOUR = timedelta(hours=1)


class Manager(Sharing, Keeping):
    """The use-cases.  All coroutines; none blocks the loop."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        logs: Logs,
        policy: Policy,
        session_logs: SessionLogs | None = None,
        vault: Vault | None = None,
        hooks: Hooks | None = None,
        retainer: Retainer | None = None,
    ) -> None:
        super().__init__(store, queue, logs, policy, session_logs or SessionLogs(None))
        self._vault = vault
        self._hooks = hooks
        self._retainer = retainer
        self._resolving = Resolving(queue, vault)
        self._rights = ReadingRights(queue, vault, self._resolving.resolve)
        self._adding = asyncio.Lock()

    # --- environments ------------------------------------------------------------

    async def add_environment(
        self, request: NewEnvironment, person: Person, opener: Opener | None = None
    ) -> EnvironmentDetail:
        """Add an environment, or find the one that PERSON has of this repository, ref and folder, and start what it lacks.

        The repository may be given by whatever address a forge shows for a place in it.  The ref is resolved before
        anything is written, with OPENER, which PERSON then keeps for the repository's host, where one is given.  When the
        version at that commit is ready already, the detail's ``state`` is ready (the API's 200), else its build is in
        flight (202).  Raises `InvalidInput`, `Refused`, `RepositoryUnavailable`, `RefNotFound`.
        """
        self._policy.check_may_add(person)
        place = read(request.repository)
        async with self._trying(person, place, opener) as borrower:
            found = await self._located(place, request.ref, request.subdirectory, borrower)
            wanted = new_environment(found.asked_for(request), person)
            resolved = found.resolved or await self._resolving.resolve(wanted.repository, wanted.ref, borrower)
        async with self._adding:
            environment = await self._same(wanted, named=bool(request.name))
            if environment is None:
                await self._check_environments(person)
                await self._check_disk(wanted.owner, person)
                await self._check_builds(person)
                # Both or nothing: a service that is killed here leaves no environment that nobody builds.
                evaluated_for = self._policy.evaluated_for(person)
                build = new_build(wanted, resolved, person, force=False, evaluated_for=evaluated_for)
                deed = audit.added(person.name, wanted, resolved)
                self._queued(await self._store.add_environment(wanted, build, key_of(build), deed))
        if environment is not None:
            return await self._build(environment, resolved, person, force=False)
        return await self.environment(wanted.id, person)

    async def _check_environments(self, person: Person) -> None:
        """Raise `LimitReached` where PERSON has as many environments as they may have."""
        most = self._policy.environments
        if most is not None and not person.admin:
            check_environments(most, await self._store.environments_owned(person.name))

    async def _check_disk(self, owner: str, person: Person) -> None:
        """Raise `DiskQuotaReached` where OWNER's environments hold as much as they may, and PERSON wants more for them."""
        most = self._policy.disk
        if most is not None and not person.admin:
            check_disk(most, await self.disk_used(owner), owner, person)

    async def _check_builds(self, person: Person) -> None:
        """Raise `LimitReached` where PERSON has asked for as many builds as they may in an hour."""
        most = self._policy.builds_an_hour
        if most is not None and not person.admin:
            moment = now()
            check_builds(most, await self._store.builds_asked_for(person.name, moment - HOUR, moment), HOUR, moment)

    async def add_initial(self, request: NewEnvironment, owner: str) -> None:
        """Add an environment of the configuration's and queue its build; nothing happens when its owner has it already.

        Its ref is resolved when its turn comes: a hub must start although a forge does not answer.
        """
        person = Person(owner, admin=True)
        wanted = new_environment(request, person)
        if await self._same(wanted, named=True) is None:
            build, deed = new_build(wanted, None, person, force=False), audit.added(owner, wanted, None, by="configuration")
            await self._store.add_environment(wanted, build, deed=deed)
            self._queue.notice()

    async def _same(self, wanted: Environment, *, named: bool) -> Environment | None:
        """Return the environment that its owner has of what is WANTED, if any."""
        for known in await self._store.environments_of(wanted.owner, str(wanted.repository)):
            same_place = (known.ref, known.subdirectory) == (wanted.ref, wanted.subdirectory)
            if same_place and (not named or known.name == wanted.name):
                return known
        return None

    async def delete_environment(self, environment: EnvironmentId, person: Person, seen: datetime | None = None) -> None:
        """Forget an environment, its versions, records and roots; homes and projects stay.  Ends its builds.

        With SEEN as `update_environment`.
        """
        known = (await self._owned(environment, person)).environment
        deed = audit.deed(person.name, Action.DELETED, known)
        for build in await self._store.remove_environment(environment, seen, deed):
            await self._queue.cancel(build)
        await self._queue.holdings.remove_leftovers()

    async def rollback(self, environment: EnvironmentId, version: VersionId | None, person: Person) -> EnvironmentDetail:
        """Make VERSION the current one; None is the one before the current.

        Raises `NotFound`, `Refused`, and `ProfileLetGo` for a version that must be built again first.
        """
        detail = await self.changeable(environment, person)
        if version is None:
            version = _before(await self._store.versions(environment), detail.environment.current)
        check_kept(detail.environment, await self._store.version(environment, version))
        deed = audit.deed(person.name, Action.ROLLED_BACK, detail.environment, about={"version": version})
        await self._store.set_current(environment, version, deed)
        await self._queue.holdings.write_record(environment)
        return await self.environment(environment, person)

    # --- builds ------------------------------------------------------------

    async def start_build(
        self, environment: EnvironmentId, person: Person, *, force: bool = False, version: VersionId | None = None
    ) -> EnvironmentDetail:
        """Resolve the environment's ref again and build what it stands for now; with FORCE also when that is known.

        With VERSION, build that one's commit, from what is kept of it and without asking its repository's host.
        """
        known = (await self.changeable(environment, person)).environment
        if version is not None:
            found = await self._store.version(environment, version)
            resolved = Found(known.repository, found.ref, found.commit)
        else:
            resolved = await self._resolving.resolve(known.repository, known.ref, person.name)
        return await self._build(known, resolved, person, force=force)

    async def _build(self, environment: Environment, resolved: Found, person: Person, *, force: bool) -> EnvironmentDetail:
        """Queue the build of what was RESOLVED, or make the version current that is just that."""
        found = None if force else await self._version_of(environment, resolved)
        if found is not None:
            self.measures.request(Needed.NOTHING)
            deed = audit.built(person.name, environment, resolved, version=found.id)
            await self._store.set_current(environment.id, found.id, deed)
            await self._queue.holdings.write_record(environment.id)
            detail = await self._store.environment(environment.id)
            # What is asked for is there, whatever became of a later build.
            return detail if detail.state is BuildState.READY else replace(detail, build=None)
        deed = audit.built(person.name, environment, resolved, force=force)
        return await self._request(environment, resolved, person, deed, force=force)

    async def _request(
        self, environment: Environment, resolved: Found, person: Person, deed: Deed, *, force: bool = False
    ) -> EnvironmentDetail:
        """Queue the build of what was RESOLVED for PERSON, and tell of it by DEED.  Raises `LimitReached`."""
        await self._check_disk(environment.owner, person)
        await self._check_builds(person)
        evaluated_for = self._policy.evaluated_for(person)
        build = new_build(environment, resolved, person, force=force, evaluated_for=evaluated_for)
        self._queued(await self._store.request_build(build, key_of(build), deed))
        return await self._store.environment(environment.id)

    def _queued(self, joined: Joined | None) -> None:
        """Count what a request led to, and have the queue look at it."""
        if joined is not None:
            self.measures.request(Needed.BUILD if joined.created else Needed.NOTHING_MORE)
            self._queue.notice(joined.superseded)

    async def _version_of(self, environment: Environment, resolved: Found) -> Version | None:
        """Return the newest version of what was RESOLVED that sessions can start from, if there is one."""
        wanted = (resolved.commit or resolved.ref, environment.subdirectory)
        for version in await self._store.versions(environment.id):
            # Of an archive's record, the number of its version is all that is known before it is fetched.
            known = version.commit if resolved.commit is not None else version.ref
            same = version.let_go is None and (known, version.subdirectory) == wanted
            if same and await self._is_of_this_recipe(version) and await self._queue.holdings.is_whole(version):
                return version
        return None

    async def _is_of_this_recipe(self, version: Version) -> bool:
        """Tell whether VERSION was asked for as it would be now, and not of a release that made something else of it."""
        build, key = await self._store.build_and_key(version.build)
        return key == key_of(replace(build, commit=version.commit))

    async def cancel(self, build: BuildId, person: Person) -> Build:
        """Stop a build and end its processes; a finished build stays as it is.

        Raises `NotFound`, and `Refused` also where others wait for the same build.
        """
        found = await self.build(build, person)
        if found.state.is_final:
            return found
        _, environments = await self._store.build_and_environments(build)
        own = [environment for environment in environments if environment.may_be_changed_by(person)]
        if not own and found.requested_by != person.name:
            raise Refused("Only those who asked for this build may cancel it.")
        if len(own) < len(environments):
            raise Refused("Others wait for the same build, so it goes on.", hint="You need not wait for it.")
        # Told before it is done: what is cancelled and not told of would be worse than the other way round.
        of = environments[0] if environments else None
        await self._store.note(audit.deed(person.name, Action.CANCELLED, of, build=build))
        return await self._queue.cancel(build)

    # --- sessions ------------------------------------------------------------

    async def check_still_readable(self, environment: Environment, person: Person) -> None:
        """Return if, as far as anybody knows, the owner of ENVIRONMENT may read its repository; a public one everybody may.

        To be called before a session of it starts for PERSON. Raises `RepositoryWithdrawn`.
        """
        await self._rights.check(environment, person)

    async def session_started(self, environment: Environment, session: str, version: str | None, person: Person) -> None:
        """Note that the hub starts SESSION of ENVIRONMENT, in its current VERSION where that is None, for PERSON."""
        self.measures.session()
        started = VersionId(version) if version else environment.current
        if started is not None:
            await self._store.note_uses({(await self._store.version(environment.id, started)).profile}, now())
        about = {"session": session, "version": version or environment.current}
        await self._store.note(audit.deed(person.name, Action.STARTED_SESSION, environment, about=about))

    # --- credentials ------------------------------------------------------------

    @property
    def vault(self) -> Vault:
        """People's credentials for private repositories.  Raises `NotFound` where none are kept."""
        if self._vault is None:
            raise NotFound("Credentials are not kept here.")
        return self._vault

    async def health(self) -> Health:
        """Return what `Keeping.health` does, and why the tokens of people's logins cannot be read where that is so."""
        found = await super().health()
        return replace(found, logins=self._vault.logins_hindrance) if self._vault is not None else found

    # --- webhooks ------------------------------------------------------------

    @property
    def hooks(self) -> Hooks:
        """Webhooks of environments.  Raises `NotFound` where none are kept."""
        if self._hooks is None:
            raise NotFound("Webhooks are not kept here.")
        return self._hooks

    async def webhook(self, environment: EnvironmentId, person: Person) -> Hook | None:
        """Return the webhook, if any, of an environment that PERSON owns.  Raises `NotFound`, `Refused`."""
        await self._owned(environment, person)
        return await self.hooks.of(environment)

    async def make_webhook(self, environment: EnvironmentId, person: Person, secret: str = "") -> tuple[Hook, str]:
        """Make a webhook of an environment, in the place of an earlier one, and return it with its secret.

        The secret is made, unless one is given. Raises `NotFound`, `Refused`, `InvalidInput`, `CredentialUnusable`.
        """
        known = (await self._owned(environment, person)).environment
        return await self.hooks.make(known, person.name, secret)

    async def remove_webhook(self, environment: EnvironmentId, person: Person) -> None:
        """Forget an environment's webhook.  Raises `NotFound`, `Refused`."""
        known = (await self._owned(environment, person)).environment
        await self.hooks.remove(known, person.name)

    async def take_delivery(self, environment: EnvironmentId, delivery: Delivery) -> Build | None:
        """Build ahead, as the environment's owner, where DELIVERY says that what it follows was pushed; else return None.

        The ref is resolved anew: a delivery that was kept and comes again leads to the version that there is, and one that
        comes late to the newest commit. Raises one and the same `NotFound` for what is not there, what is not proved, and
        what is of another repository; for what is proved also `InvalidInput`, `LimitReached` and what resolving raises.
        """
        if not await self.hooks.prove(environment, delivery):
            raise NotFound(NOTHING_HERE)
        known = await self._store.bare_environment(environment)
        push = push_of(delivery)
        if push is not None and not push.is_of(known.repository):
            raise NotFound(NOTHING_HERE)
        await self.hooks.note(environment)
        if push is None or not push.moves(known.ref):
            return None
        owner = Person(known.owner)
        resolved = await self._resolving.resolve(known.repository, known.ref, owner.name)
        if await self._version_of(known, resolved) is not None:
            return None
        deed = audit.built(owner.name, known, resolved, by="webhook")
        return (await self._request(known, resolved, owner, deed)).build

    # --- repositories ------------------------------------------------------------

    async def resolve(self, repository: str, ref: str, person: Person) -> Found:
        """Return what would be built, and build nothing."""
        return (await self.look_up(read(repository), ref, "", person))[1]

    async def look_up(self, place: Place, ref: str, subdirectory: str, person: Person) -> tuple[Located, Found]:
        """Return where PLACE is, as `locate` does, and what would be built of it; build nothing."""
        found = await self.locate(place, ref, subdirectory, person)
        return found, found.resolved or await self._resolving.resolve(found.repository, found.ref, person.name)

    async def locate(self, place: Place, ref: str, subdirectory: str, person: Person) -> Located:
        """Return where PLACE is, with the REF and SUBDIRECTORY that were named beside it.

        Raises what `places.located` does, and `Refused`.
        """
        self._policy.check_may_add(person)
        return await self._located(place, ref, subdirectory, person.name)

    async def _located(self, place: Place, ref: str, subdirectory: str, borrower: str) -> Located:
        async def resolve(url: RepositoryUrl, refs: Sequence[str]) -> Found:
            return await self._resolving.resolve(url, refs[0], borrower, refs[1:])

        return await located(place, ref, subdirectory, resolve)

    def _trying(self, person: Person, place: Place, opener: Opener | None) -> AbstractAsyncContextManager[str]:
        """Return in whose name PLACE is read: that of PERSON, or of who tries their OPENER before it is kept."""
        return nullcontext(person.name) if opener is None else self.vault.trying(person.name, place.repository, opener)


def _before(versions: list[Version], current: VersionId | None) -> VersionId:
    """Return the version that is next older than CURRENT in VERSIONS, newest first, of those that are kept."""
    identifiers = [version.id for version in versions if version.let_go is None or version.id == current]
    place = identifiers.index(current) + 1 if current in identifiers else 0
    if place >= len(identifiers):
        raise Conflict("There is no earlier version to go back to.")
    return identifiers[place]
