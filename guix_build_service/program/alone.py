"""Serve the commands of this machine while no service runs: ``python -m guix_build_service.program.alone WORK SETTING …``.

A command starts it (`commands.local`), as the account to which the service's folder belongs and with the settings with which
the service was started last. It is the service itself, but for the hub and its pages: it answers at the socket in the folder
alone, says ``ready`` on its standard output, and ends with its standard input, or when a service wants the folder.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

from guix_build_service.credentials.keys import Key, KeysUnusable
from guix_build_service.local.started import BUSY, KEYS, READY, Started, Work
from guix_build_service.local.turn import held, until_wanted
from guix_build_service.manager.manager import Manager
from guix_build_service.program.application import BuildService
from guix_build_service.program.preparation import check_git, check_isolation, check_walls, key_source
from guix_build_service.program.serving import first_of, listening_locally, parts, web_settings
from guix_build_service.queue.queue import Queue
from guix_build_service.vault.seals import KeySource
from guix_environment import own_memory
from guix_environment.errors import FolderInUse, GuixSpawnerError

_WITHOUT_HUB = {
    # Nothing is ever asked of a hub, whose client has to be made of something all the same.
    **dict.fromkeys(("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_API_URL", "JUPYTERHUB_CLIENT_ID"), "none"),
    "JUPYTERHUB_SERVICE_NAME": "guix",
    "JUPYTERHUB_SERVICE_PREFIX": "/services/guix/",
}


class _NoKeys:
    """The keys of a service that had them in a variable, which we have not."""

    def keys(self) -> Sequence[Key]:
        """Return none: raise `KeysUnusable`."""
        raise KeysUnusable(f"The service was given its keys in {KEYS}.")


def main(words: Sequence[str]) -> int:
    """Serve as WORDS say: the work that a command is about, and the service's settings.  Return the exit status."""
    own_memory.close()
    work, *settings = words
    service = BuildService.instance()
    service.initialize(settings)
    try:
        asyncio.run(serve(service, Work(work)))
    except FolderInUse:
        return BUSY
    except GuixSpawnerError as error:
        print(f"{error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1
    return 0


async def serve(service: BuildService, work: Work) -> None:
    """Serve commands about WORK until whoever started us has ended, or a service wants the folder.

    Raises `FolderInUse`, what `parts` does, and `SystemExit` with one sentence where builds could not be done.
    """
    os.umask(0o022)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written there
    if work is Work.BUILD:
        await check_git(service.workshop().git)
        await check_walls(service)
        await check_isolation(service)
    settings = web_settings(service, {**_WITHOUT_HUB, **os.environ})
    async with (
        _turn(service),
        parts(service, _keys(service)) as (manager, queue),
        listening_locally(service, manager, settings),
    ):
        await _begin(manager, queue, work)
        os.write(sys.stdout.fileno(), READY)
        await first_of(ended.wait(), *([until_wanted(service.folder)] if service.is_alone_with_database else []))


@contextlib.asynccontextmanager
async def _turn(service: BuildService) -> AsyncIterator[None]:
    with held(service.folder) if service.is_alone_with_database else contextlib.nullcontext():
        yield


def _keys(service: BuildService) -> KeySource:
    """Return where the keys of secrets come from; no new ones are made where the service has others."""
    given = Started.read(service.folder).given_keys and not os.environ.get(KEYS)
    return _NoKeys() if given else key_source(service)


async def _begin(manager: Manager, queue: Queue, work: Work) -> None:
    """Put in order what an earlier service left, and begin with builds, as far as WORK needs it."""
    if work is Work.LOOK:
        return
    await manager.vault.begin()
    await manager.hooks.begin()
    await queue.start(builds=work is Work.BUILD)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
