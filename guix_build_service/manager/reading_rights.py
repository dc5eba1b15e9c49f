"""Whether whoever an environment belongs to may still read its private repository, asked when a session starts."""

import logging
from collections.abc import Awaitable, Callable

from guix_build_service.model.environments import Environment, Found, Person, now
from guix_build_service.queue.queue import Queue
from guix_build_service.vault.vault import Vault
from guix_environment.errors import GuixSpawnerError, RefNotFound, RepositoryUnanswered, RepositoryUnavailable
from guix_environment.repository_access import RepositoryAccess, withdrawn
from guix_environment.repository_url import RepositoryUrl

log = logging.getLogger("guix_build_service.reading_rights")


class ReadingRights:
    """The rights of environments' owners."""

    def __init__(
        self, queue: Queue, vault: Vault | None, resolve: Callable[[RepositoryUrl, str, str], Awaitable[Found]]
    ) -> None:
        self._queue = queue
        self._vault = vault
        self._resolve = resolve

    async def check(self, environment: Environment, person: Person) -> None:
        """Ask the host of a private repository, and have the record of ENVIRONMENT say what it answers.

        The host is asked as the owner: PERSON, who wants to start a session, may be somebody they share it with. A host
        that does not answer changes nothing: for how long an earlier answer counts is the spawner's to decide. Raises
        `RepositoryWithdrawn`.
        """
        known = await self._queue.holdings.access(environment.id)
        if known is None and not await self._has_credential(environment):
            return
        try:
            private = (await self._resolve(environment.repository, environment.ref, environment.owner)).private
        except RefNotFound:
            private = known is not None  # the branch was deleted, of a repository that told so
        except GuixSpawnerError as failure:
            if not isinstance(failure, RepositoryUnavailable) or isinstance(failure, RepositoryUnanswered):
                log.warning("Whether %r may read %s is not known: %s", environment.owner, environment.repository, failure)
                return
            read = known.read if known is not None else None
            await self._queue.holdings.note_access(environment.id, RepositoryAccess(read, refused=True))
            log.warning("%r can no longer read %s.", environment.owner, environment.repository)
            raise withdrawn(str(environment.repository), environment.owner, person.name) from None
        if private or known is not None:
            await self._queue.holdings.note_access(environment.id, RepositoryAccess(read=now()) if private else None)

    async def _has_credential(self, environment: Environment) -> bool:
        """Tell whether a repository of which nobody noted so may be private all the same."""
        return self._vault is not None and await self._vault.keeps(environment.owner, environment.repository)
