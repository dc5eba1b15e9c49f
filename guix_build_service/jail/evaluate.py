"""Have a manifest run in its jail, and end it when it goes beyond what it may use."""

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Mapping

from guix_build_service.jail import answer
from guix_build_service.jail.plan import Bounds, EvaluatingGuix, Jail, limits, plan
from guix_build_service.manifest.canonical import PackageList
from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Network
from guix_environment.errors import ContainerFailure, EvaluationFailed, SessionFailure
from guix_environment.launcher_program import launcher_program
from guix_environment.launching import Waiting, divided
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guix_environment.system_call_filter import compiled

_BLOCK = 65536


async def evaluate(jail: Jail, files: Mapping[str, bytes], manifest: str, marks: Mapping[str, str]) -> PackageList:
    """Return the packages that MANIFEST names when it is run; it is one of the repository's FILES.

    When this returns, raises or is cancelled, nothing of it runs any more.  Raises `EvaluationFailed`, `PackagesDefined`,
    and `SessionFailure` where this machine makes no containers.
    """
    printed = await printed_by(jail, files, manifest, marks)
    return await asyncio.to_thread(answer.packages, printed)


async def printed_by(jail: Jail, files: Mapping[str, bytes], manifest: str, marks: Mapping[str, str]) -> bytes:
    """Return all that running MANIFEST prints; see `evaluate`."""
    container = plan(jail, files, manifest, marks, await asyncio.to_thread(compiled, alone=True))
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        async with running(jail, container, writing):
            return await _read(reading, jail.bounds)
    finally:
        os.close(reading)


@contextlib.asynccontextmanager
async def running(jail: Jail, container: ContainerPlan, output: int) -> AsyncIterator[None]:
    """Have the CONTAINER of a manifest run, with the open file OUTPUT, which is closed here, until the context ends.

    It is bounded but for its time, which is whoever waits for it to look at.  Raises as `evaluate` does.
    """
    first: ProcessIdentity | None = None
    try:
        try:
            async with launcher_program().request(output) as channel:
                waiting = await divided(channel, jail.account, Network.OWN)
        finally:
            os.close(output)
        first = waiting.first
        _limit(first, jail.bounds)
        await _become(waiting, container)
        yield
    finally:
        if first is not None:
            # It is the first of its processes, which no other signal ends, and with it all others.
            await process_identity.end(first, grace=0)


async def walls(account: Account) -> None:
    """Make an empty container as ACCOUNT, with all that surrounds a manifest, and return when that works.

    Raises `SessionFailure`, which says what this machine does not allow.
    """
    empty = plan(
        Jail(EvaluatingGuix("/nothing"), account),
        {"manifest.scm": b""},
        "manifest.scm",
        {},
        await asyncio.to_thread(compiled, alone=True),
    )
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        async with launcher_program().request(nowhere) as channel:
            waiting = await divided(channel, account, Network.OWN)
        _limit(waiting.first, Bounds())
        await waiting.run(empty)
    except ContainerFailure as error:
        if error.details["step"] != "command":
            raise SessionFailure(
                "This machine does not let the service put up the walls that manifests are run within.",
                hint="Allow ordinary accounts user namespaces, or let no manifests be run: ManifestEvaluation.repositories.",
                details=error.details,
            ) from error
    finally:
        os.close(nowhere)


def _limit(process: ProcessIdentity, bounds: Bounds) -> None:
    for number, most in limits(bounds).items():
        resource.prlimit(process.pid, number, (most, most))


async def _become(waiting: Waiting, container: ContainerPlan) -> None:
    try:
        await waiting.run(container)
    except ContainerFailure as error:
        raise EvaluationFailed(
            "What manifests are run in could not be set up on this hub.",
            hint="Tell whoever runs this installation: guix-build-service doctor",
            details=error.details,
        ) from error


async def _read(descriptor: int, bounds: Bounds) -> bytes:
    """Return what comes out of the pipe DESCRIPTOR until its other end is closed.  Raises `EvaluationFailed`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(descriptor), "rb", buffering=0)
    )
    found = bytearray()
    try:
        async with asyncio.timeout(bounds.seconds):
            while block := await reader.read(_BLOCK):
                found += block
                if len(found) > bounds.output:
                    raise beyond("output", f"it printed more than {bounds.output // 1024} KiB")
    except TimeoutError:
        raise beyond("time", f"it took longer than {int(bounds.seconds)} seconds") from None
    finally:
        transport.close()
    if answer.MARK.encode() not in found and b"out of memory" in found.lower():
        raise beyond("memory", f"it needed more than {bounds.memory // 1024**2} MiB of memory")
    return bytes(found)


def beyond(limit: str, said: str) -> EvaluationFailed:
    """Return the error for a manifest that was ended as it went beyond LIMIT, which SAID tells people."""
    return EvaluationFailed(
        f"The manifest was run and ended: {said}.",
        hint="A manifest names packages, which takes Guix a few seconds.",
        details={"limit": limit},
    )
