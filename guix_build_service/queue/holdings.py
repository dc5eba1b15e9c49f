"""What the installation holds of environments: records, profiles and their roots, which follow what the store's rows say."""

import asyncio
from collections.abc import Mapping

from guix_build_service.model.environments import Export, Version, now
from guix_build_service.model.storage import EnvironmentStorage
from guix_build_service.pipeline.pipeline import Pipeline
from guix_build_service.queue.presence import Presence
from guix_build_service.store import Store
from guix_environment.errors import NotFound
from guix_environment.identifiers import EnvironmentId
from guix_environment.repository_access import RepositoryAccess


class Holdings:
    """Keeps on disk what rows name, and removes what they name no more."""

    def __init__(self, store: Store, pipeline: Pipeline, presence: Presence) -> None:
        self._store = store
        self._pipeline = pipeline
        self._presence = presence

    async def write_record(self, environment: EnvironmentId) -> None:
        """Have the record of ENVIRONMENT say what the store says; without a current version there is none."""
        try:
            known = await self._store.bare_environment(environment)
        except NotFound:
            await self._pipeline.remove_record(environment)
        else:
            await self._pipeline.write_record(known)

    async def access(self, environment: EnvironmentId) -> RepositoryAccess | None:
        """Return what is known of the right to read ENVIRONMENT's repository, as `Pipeline.access` does."""
        return await self._pipeline.access(environment)

    async def note_access(self, environment: EnvironmentId, access: RepositoryAccess | None) -> None:
        """Have the record of ENVIRONMENT say what became known of the right to read its repository."""
        await self._pipeline.note_access(environment, access)

    async def export(self, version: Version) -> Export:
        """Return what makes VERSION again elsewhere.  Raises `NotFound`."""
        return await self._pipeline.export(version)

    async def storage(self, environment: EnvironmentId) -> EnvironmentStorage:
        """Return what ENVIRONMENT holds of the disk, and what its deletion would free."""
        await self.note_uses()
        versions = await self._store.versions(environment)
        kept = await self._store.everything_kept()
        others = {key for one, keys in kept.items() if one != environment for key in keys.values()}
        used = await self._store.uses({version.profile for version in versions})
        return await self._pipeline.storage(environment, versions, frozenset(others), used)

    async def note_uses(self) -> None:
        """Note which profiles sessions use now."""
        if profiles := await self._pipeline.held_by_sessions():
            await self._store.note_uses(profiles, now())

    async def is_whole(self, version: Version) -> bool:
        """Tell whether all of VERSION is still on this machine."""
        return await self._pipeline.is_whole(version)

    async def needed_bytes(self, profiles: Mapping[str, int]) -> int:
        """Return the bytes of what PROFILES need together, as `Pipeline.needed_bytes` does."""
        return await self._pipeline.needed_bytes(profiles)

    async def remove_version(self, version: Version) -> None:
        """Remove the files and the root of VERSION, which was deleted; a start does what a killed service did not."""
        await asyncio.to_thread(self._pipeline.withdraw, version)
        await self._pipeline.forget(version.key, self.in_use)

    async def remove_leftovers(self) -> None:
        """Remove the files and roots of deleted environments, also of those that an earlier end of the service left."""
        for removal in await self._store.removals():
            await self._pipeline.remove_record(removal.environment)
            for key in removal.keys:
                await self._pipeline.forget(key, self.in_use)
            await self._store.removed(removal.environment)

    async def in_use(self, key: str) -> bool:
        """Tell whether a version, a build, or perhaps another service needs the profile of the environment key KEY."""
        # What other services build is in no row yet: a start without others lets go of it.
        return bool(await self._store.keys_in_use([key]) or await self._presence.others())
