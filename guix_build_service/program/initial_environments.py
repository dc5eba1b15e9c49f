"""The environments that the configuration wants to be there, added once."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import NewEnvironment
from guix_environment.errors import GuixSpawnerError
from guix_environment.files import read_json, write_json
from guix_environment.records import Visibility

log = logging.getLogger("guix_build_service")


async def add_initial_environments(manager: Manager, wanted: Sequence[Mapping[str, object]], owner: str, file: Path) -> None:
    """Add those of the WANTED environments that were not added before, for OWNER, and note them in FILE.

    One that was deleted since does not come back.
    """
    try:
        added = set(await asyncio.to_thread(read_json, file))
    except FileNotFoundError:
        added = set()
    for one in wanted:
        key = f"{one.get('repo', '')} {one.get('ref', '')} {one.get('subdir', '')}"
        if key in added:
            continue
        try:
            await manager.add_initial(_initial(one), owner)
        except GuixSpawnerError as error:
            log.warning("The initial environment %s cannot be added: %s %s", key, error.message, error.hint)
            continue
        added.add(key)
        await asyncio.to_thread(write_json, file, dict.fromkeys(added, True))


def _initial(values: Mapping[str, object]) -> NewEnvironment:
    text = {name: str(values.get(name) or "") for name in ("repo", "ref", "subdir", "name", "description")}
    return NewEnvironment(
        repository=text["repo"],
        ref=text["ref"],
        subdirectory=text["subdir"],
        name=text["name"],
        description=text["description"],
        visibility=Visibility.EVERYONE,
    )
