"""Have a manifest run in its jail once more, now to know what Guix would build for the packages that it makes."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from guix_build_service.definitions.recorder import Recorded, record
from guix_build_service.jail.answer import HINT, MARK, in_one_line
from guix_build_service.jail.evaluate import beyond, running
from guix_build_service.jail.plan import Jail, plan
from guix_environment.errors import EvaluationFailed
from guix_environment.system_call_filter import compiled

_PROGRAM = Path(__file__).with_name("scheme") / "define.scm"
_MOST_NOISE = 64 * 1024


async def lowered(jail: Jail, files: Mapping[str, bytes], manifest: str, marks: Mapping[str, str]) -> tuple[Recorded, str]:
    """Return what Guix adds to a store for MANIFEST, one of FILES, and what our program there says of it.

    When this returns, raises or is cancelled, nothing of it runs any more.  Raises `DefinitionsRefused`, `EvaluationFailed`.
    """
    seccomp = await asyncio.to_thread(compiled, alone=True)
    container = await asyncio.to_thread(plan, jail, files, manifest, marks, seccomp, _PROGRAM)
    ours, theirs = socket.socketpair()
    # What was handed over is closed by whom it was handed to.
    with ours, theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with running(jail, container, theirs.detach()):
                return await _talk(jail, reader, writer)
        finally:
            writer.close()


async def _talk(jail: Jail, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Recorded, str]:
    try:
        async with asyncio.timeout(jail.bounds.seconds):
            await _begin(reader)
            return await record(reader, writer)
    except TimeoutError:
        raise beyond("time", f"it took longer than {int(jail.bounds.seconds)} seconds") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        raise EvaluationFailed("The manifest ended before it said what its packages are built of.", hint=HINT) from None


async def _begin(reader: asyncio.StreamReader) -> None:
    """Read what is printed before our program has the socket for itself; it is short, unless something is wrong."""
    said = b""
    while not said.endswith(MARK.encode()):
        block = await reader.read(1)
        said += block
        if not block or len(said) > _MOST_NOISE:
            raise EvaluationFailed(
                f"The manifest could not be run: {in_one_line(said.decode(errors='replace'))}.", hint=HINT
            )
