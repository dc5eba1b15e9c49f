"""The API's storage: what an environment holds of the disk, and what its deletion would free."""

from guix_build_service.web.api import ApiHandler, identified, operation
from guix_build_service.web.schemas.storage import StorageAnswer
from guix_environment.identifiers import EnvironmentId


class Storage(ApiHandler):
    """What one environment holds."""

    route = "environments/{environment}/storage"

    @operation("See what an environment holds of the disk, and what deleting it would free", gives=StorageAnswer)
    async def get(self, environment: str) -> None:
        """Show."""
        self.give(StorageAnswer.of(await self.manager.storage(identified(EnvironmentId, environment), self.person)))
