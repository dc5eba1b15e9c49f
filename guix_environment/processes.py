"""The one place that starts processes.

A command is always a list of words, never a line for a shell, and gets exactly the environment that is handed in.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from guix_environment.kept_output import KeptOutput
from guix_environment.process_identity import GRACE
from guix_environment.process_memory import ended_within


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a process runs as: numbers, since a session's person needs no account on the machine."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Further groups; a process of this account is in no others."""
    subordinate: bool = False
    """Whether it is a number that a hub without root's rights may only give away by ``newuidmap`` (subuid(5))."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended."""

    status: int
    """Exit status; the negative number of the signal that ended it."""
    output: bytes
    errors: bytes
    timed_out: bool = False
    beyond_memory: bool = False
    """Whether it was ended since it, with all that it started, held more memory than it may."""

    @property
    def succeeded(self) -> bool:
        """Tell whether the command itself says that it did what it should."""
        return self.status == 0 and not self.timed_out and not self.beyond_memory


async def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    environment: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 - the process group must be ended, not only awaited no longer
    directory: Path | None = None,
    given: bytes | BinaryIO = b"",
    limit: int = 1024 * 1024,
    output: int | None = None,
    account: Account | None = None,
    memory: int | None = None,
) -> Completed:
    """Run COMMAND to its end and return how it ended.

    GIVEN is its standard input, or an open file that is it.  Of its output and its errors LIMIT bytes each are kept and the
    rest is read and dropped; with OUTPUT, an open file's descriptor, both go there instead.  After TIMEOUT seconds, and when
    the caller is cancelled, the command's whole process group is ended; so it is when the command, with all that it started,
    is seen to hold more than MEMORY bytes of its own (proc(5)'s ``RssAnon``).  Raises `OSError` when the command cannot be
    started at all.
    """
    account = _unless_own(account)
    with contextlib.ExitStack() as open_until_ended:
        kept, errors = (open_until_ended.enter_context(KeptOutput(limit)) if output is None else None for _ in range(2))
        with contextlib.ExitStack() as open_until_started:
            process = await asyncio.create_subprocess_exec(
                *[os.fspath(word) for word in command],
                stdin=open_until_started.enter_context(_input(given)),
                stdout=open_until_started.enter_context(kept.writing()) if kept else output,
                stderr=open_until_started.enter_context(errors.writing()) if errors else output,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=account.groups if account else None,
            )
        timed_out = beyond_memory = False
        try:
            # Not `wait_for`, which before Python 3.12 forgets that it was cancelled when the process ends at that moment.
            async with asyncio.timeout(timeout):
                if memory is None:
                    await process.wait()
                else:
                    beyond_memory = not await ended_within(process, memory)
        except TimeoutError:
            timed_out = True
        finally:
            await _end_group(process)
        assert process.returncode is not None
        said = [each.everything() if each else b"" for each in (kept, errors)]
    return Completed(process.returncode, said[0], said[1], timed_out, beyond_memory)


def _unless_own(account: Account | None) -> Account | None:
    """Return None for the account we already are: an unprivileged process may not even ask to become itself."""
    return None if account and (account.uid, account.gid) == (os.geteuid(), os.getegid()) else account


def _input(given: bytes | BinaryIO) -> contextlib.AbstractContextManager[int]:
    """Return what gives the descriptor to read GIVEN from."""
    if not isinstance(given, bytes):
        return contextlib.nullcontext(given.fileno())
    return _holding(given) if given else contextlib.nullcontext(subprocess.DEVNULL)


@contextlib.contextmanager
def _holding(content: bytes) -> Iterator[int]:
    """Give an open file of memory that holds CONTENT: nobody waits until a command has read its input."""
    descriptor = os.memfd_create("input", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.seek(0)
        yield descriptor


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End the process group that PROCESS leads.  It is our child, so its number is its own until it was waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError) as reason:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(reason, asyncio.CancelledError):
                raise
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def start(
    command: Sequence[str | os.PathLike[str]],
    *,
    environment: Mapping[str, str],
    output: int,
    directory: Path | None = None,
    account: Account | None = None,
    pass_descriptors: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start COMMAND in a session of its own, to live on when its starter ends, and return it.

    Its output and errors go to the open file OUTPUT; the descriptors in PASS_DESCRIPTORS stay open in it.
    """
    account = _unless_own(account)
    return await asyncio.create_subprocess_exec(
        *[os.fspath(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(environment),
        cwd=directory,
        start_new_session=True,
        pass_fds=tuple(pass_descriptors),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=account.groups if account else None,
    )


class Companion:
    """A process that runs beside us, as `beside` started it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def line(self) -> bytes:
        """Wait for the next line of its output and return it; an empty one where it says nothing more."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def status(self) -> int | None:
        """Return how it ended, as `Completed.status`, or None while it runs."""
        return self._process.poll()

    def end(self, grace: float) -> int:
        """End its input, after GRACE seconds it itself, and return how it ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextlib.contextmanager
def beside(
    command: Sequence[str | os.PathLike[str]],
    *,
    environment: Mapping[str, str],
    errors: int,
    directory: Path | None = None,
    account: Account | None = None,
    grace: float = 3 * GRACE,
) -> Iterator[Companion]:
    """Run COMMAND in a session of its own while the context lasts, for a caller without an event loop, and give it.

    Its standard input is a pipe that ends with the context, or with us in whatever way, upon which it is to end; after GRACE
    seconds it is ended. Its errors go to the open file ERRORS.  Raises `OSError` when it cannot be started at all.
    """
    account = _unless_own(account)
    with subprocess.Popen(  # noqa: S603 - as everywhere here, a list of words
        [os.fspath(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=dict(environment),
        cwd=directory,
        start_new_session=True,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=account.groups if account else None,
    ) as process:
        companion = Companion(process)
        try:
            yield companion
        finally:
            companion.end(grace)
