"""What a ref stands for now, asked of its server once for all who ask at the same time."""

import asyncio
from collections.abc import Sequence

from guix_build_service.model.environments import Found
from guix_build_service.queue.queue import Queue
from guix_build_service.vault.vault import Vault
from guix_environment.repository_url import RepositoryUrl


class Resolving:
    """The questions that are under way."""

    def __init__(self, queue: Queue, vault: Vault | None) -> None:
        self._queue = queue
        self._vault = vault
        self._asked: dict[tuple[str, tuple[str, ...], str], asyncio.Task[Found]] = {}

    async def resolve(self, url: RepositoryUrl, ref: str, person: str, otherwise: Sequence[str] = ()) -> Found:
        """Return what REF, or else one OTHERWISE, of the repository at URL stands for; raises as the pipeline does.

        Whoever has a credential for its host asks alone: what they may read is not what others may.
        """
        alone = self._vault is not None and await self._vault.has(person, url)
        key = (str(url), (ref, *otherwise), person if alone else "")
        task = self._asked.get(key)
        if task is None:
            task = asyncio.create_task(self._queue.resolve(url, ref, key[2], otherwise), name=f"resolve {url}")
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(task)
