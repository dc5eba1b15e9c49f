"""What people can ask of the build service; the pages and the API call nothing else.

Every method names the person who asks.  What they may not see does not exist for them (`NotFound`); what they may see and
not change is `Refused`.
"""

from collections.abc import AsyncIterator

from guix_build_service.model import (
    Build,
    BuildEvent,
    Changes,
    EnvironmentDetail,
    LogText,
    NewEnvironment,
    Person,
    Resolved,
    Version,
)
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId


class Manager:
    """The use-cases.  All coroutines; none blocks the loop."""

    async def add_environment(self, request: NewEnvironment, person: Person) -> EnvironmentDetail:
        """Add an environment, or find the one that PERSON has of this repository, ref and folder, and start what it lacks.

        The ref is resolved before anything is written.  When the version at that commit is ready already, the detail's
        ``state`` is ready (the API's 200), else its build is in flight (202).  Raises `InvalidInput`, `Refused`,
        `RepositoryUnavailable`, `RefNotFound`.
        """
        raise NotImplementedError

    async def may_add(self, person: Person) -> bool:
        """Tell whether PERSON may add environments here."""
        raise NotImplementedError

    async def environments(self, person: Person) -> list[EnvironmentDetail]:
        """Return what PERSON may see, by name."""
        raise NotImplementedError

    async def environment(self, environment: EnvironmentId, person: Person) -> EnvironmentDetail:
        """Return one environment.  Raises `NotFound`."""
        raise NotImplementedError

    async def update_environment(self, environment: EnvironmentId, changes: Changes, person: Person) -> EnvironmentDetail:
        """Rename, describe, share or limit an environment.  Raises `NotFound`, `Refused`, `InvalidInput`."""
        raise NotImplementedError

    async def delete_environment(self, environment: EnvironmentId, person: Person) -> None:
        """Forget an environment, its versions, records and roots; homes and projects stay.  Ends its builds."""
        raise NotImplementedError

    async def versions(self, environment: EnvironmentId, person: Person) -> list[Version]:
        """Return an environment's versions, newest first."""
        raise NotImplementedError

    async def start_build(self, environment: EnvironmentId, person: Person, *, force: bool = False) -> EnvironmentDetail:
        """Resolve the environment's ref again and build what it stands for now; with FORCE also when that is known."""
        raise NotImplementedError

    async def rollback(self, environment: EnvironmentId, version: VersionId | None, person: Person) -> EnvironmentDetail:
        """Make VERSION the current one; None is the one before the current."""
        raise NotImplementedError

    async def build(self, build: BuildId, person: Person) -> Build:
        """Return one build, for those who see one of its environments.  Raises `NotFound`."""
        raise NotImplementedError

    async def cancel(self, build: BuildId, person: Person) -> Build:
        """Stop a build and end its processes.  Raises `NotFound`, `Refused`; a finished build stays as it is."""
        raise NotImplementedError

    async def log(self, build: BuildId, person: Person, start: int = 0, limit: int | None = None) -> LogText:
        """Return a build's log from byte START on, LIMIT bytes at most."""
        raise NotImplementedError

    async def log_size(self, build: BuildId, person: Person) -> int:
        """Return how many bytes a build's log has now."""
        raise NotImplementedError

    def follow(self, build: BuildId, person: Person, position: int = 0) -> AsyncIterator[BuildEvent]:
        """Yield what happens to a build, its log from byte POSITION on, until it is finished and all was said."""
        raise NotImplementedError

    async def resolve(self, repository: str, ref: str, person: Person) -> Resolved:
        """Return what would be built, and build nothing."""
        raise NotImplementedError
