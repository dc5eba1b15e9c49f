"""The one place that starts processes.

A command is always a list of words, never a line for a shell, and gets exactly the environment that is handed in.  A process
is known by its number *and* the time it started at, so that a number which the kernel gave to somebody else is never waited
for or signalled.
"""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

GRACE = 5.0
"""Seconds between asking a process to end and ending it."""

MEMORY_SECONDS = 0.25
"""How often it is looked at how much memory a command holds whose memory has a limit."""

SUDDEN = 1024**3
"""Bytes beyond that limit that one of its processes may claim between two looks, with what it claims and does not use."""

_BLOCK = 64 * 1024
_PIPE = 1024 * 1024
"""Bytes: the most that a pipe can be made to hold without root's rights (pipe(7))."""


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
class ProcessIdentity:
    """A process that can be told from any other that later bears its number."""

    pid: int
    started: int
    """Clock ticks between the machine's start and the process's (field 22 of proc(5)'s ``stat``)."""


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


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process PID, or None when there is none or only its remains (a zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in {b"Z", b"X"} else ProcessIdentity(pid, int(fields[19]))


def is_running(process: ProcessIdentity) -> bool:
    """Tell whether PROCESS runs, and not another one under its number."""
    return identify(process.pid) == process


def to_record(process: ProcessIdentity) -> dict[str, object]:
    """Return what to write down of PROCESS, to find it again as long as the machine runs."""
    return {"pid": process.pid, "started": process.started, "boot": _boot()}


def is_of_this_boot(record: Mapping[str, object]) -> bool:
    """Tell whether RECORD, as of `to_record`, is of this machine since its last start."""
    return record.get("boot") == _boot()


def from_record(record: object) -> ProcessIdentity | None:
    """Return the process that RECORD, as of `to_record`, tells of, or None for one of before the machine's last start.

    Numbers and start times begin anew with the machine, so that another process may well have both.  A damaged
    record tells of none either.
    """
    if not isinstance(record, Mapping) or record.get("boot") != _boot():
        return None
    pid, started = record.get("pid"), record.get("started")
    return ProcessIdentity(pid, started) if isinstance(pid, int) and isinstance(started, int) else None


def _boot() -> str:
    """Return what the kernel calls its present run (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def children(process: ProcessIdentity) -> list[ProcessIdentity]:
    """Return the processes that PROCESS itself started and that run."""
    found: list[ProcessIdentity | None] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            found += [identify(int(number)) for number in (thread / "children").read_text().split()]
    return [child for child in found if child is not None]


def program(process: ProcessIdentity) -> str | None:
    """Return the file that PROCESS runs, or None when that is not for us to know or it has ended."""
    try:
        return os.readlink(f"/proc/{process.pid}/exe")  # noqa: PTH115 - what it leads to need not be there for us
    except OSError:
        return None


def marked(name: str) -> dict[ProcessIdentity, Mapping[str, str]]:
    """Return the processes of ours that started with the variable NAME, each with all variables it started with.

    However they were started, and by whomever: an environment is handed down.  Processes of other accounts cannot be read
    and are left out.  Blocks while it goes through ``/proc``.
    """
    found: dict[ProcessIdentity, Mapping[str, str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                variables = _variables((folder / "environ").read_bytes())
                if name in variables and (process := identify(int(folder.name))):
                    found[process] = variables
    return found


def _variables(environ: bytes) -> Mapping[str, str]:
    """Return the variables in ENVIRON, the content of proc(5)'s file of that name."""
    pairs = (os.fsdecode(entry).partition("=") for entry in environ.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def marked_with(name: str, value: str) -> list[ProcessIdentity]:
    """Return the processes of ours that started with the variable NAME set to VALUE, as `marked` finds them."""
    return [process for process, variables in marked(name).items() if variables[name] == value]


def send_signal(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Send signal NUMBER to PROCESS and to nothing else; return whether it was there to get it."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_running(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def end(process: ProcessIdentity, *, grace: float = GRACE) -> None:
    """End PROCESS: ask it, give it GRACE seconds, then have the kernel end it, and return once it is gone."""
    if not send_signal(process, signal.SIGTERM):
        return
    if not await _gone(process, grace):
        send_signal(process, signal.SIGKILL)
        await _gone(process, GRACE)


async def _gone(process: ProcessIdentity, seconds: float) -> bool:
    pause, waited = 0.01, 0.0
    while is_running(process):
        if waited >= seconds:
            return False
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 1.5, 0.25)
    return True


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
        kept, errors = (open_until_ended.enter_context(_Kept(limit)) if output is None else None for _ in range(2))
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
                    beyond_memory = not await _ended_within(process, memory)
        except TimeoutError:
            timed_out = True
        finally:
            await _end_group(process)
        assert process.returncode is not None
        said = [each.everything() if each else b"" for each in (kept, errors)]
    return Completed(process.returncode, said[0], said[1], timed_out, beyond_memory)


async def _ended_within(process: asyncio.subprocess.Process, memory: int) -> bool:
    """Wait for PROCESS to end and return True; or False as soon as it, and all that it started, hold more than MEMORY bytes.

    A program that the kernel refuses memory may go on for minutes without getting anywhere, as Guix does with a little too
    little.  So the kernel refuses each process only `SUDDEN` more, which holds back what grows faster than is looked at.
    """
    first = identify(process.pid)
    waiting = asyncio.ensure_future(process.wait())
    try:
        if first is not None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (memory + SUDDEN, memory + SUDDEN))
        while first is not None and not waiting.done():
            if await asyncio.to_thread(_own_memory, first) > memory:
                return False
            await asyncio.wait([waiting], timeout=MEMORY_SECONDS)
        await waiting
        return True
    finally:
        waiting.cancel()


def _own_memory(process: ProcessIdentity) -> int:
    """Return the bytes that PROCESS and all that it started hold beside files."""
    status = b""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_bytes()
    held = [line.split()[1] for line in status.splitlines() if line.startswith(b"RssAnon:")]
    return sum(int(number) * 1024 for number in held) + sum(map(_own_memory, children(process)))


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


class _Kept:
    """A pipe of which the first LIMIT bytes are kept and the rest is read and dropped.  Use it as a context.

    Not one of asyncio's own: with those, a process counts as ended only when all others that have its pipes are too, which
    the command may have left behind in a session of their own.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._content = bytearray()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> "_Kept":
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reading, False)
        self._loop.add_reader(self._reading, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._reading)
        os.close(self._reading)

    @contextlib.contextmanager
    def writing(self) -> Iterator[int]:
        """Give the end to write into, until the command has it."""
        try:
            yield self._writing
        finally:
            os.close(self._writing)

    def everything(self) -> bytes:
        """Return what was kept, with what lies in the pipe still: all that a command wrote which has ended."""
        for _ in range(_PIPE // _BLOCK):
            if not self._read():
                break
        return bytes(self._content)

    def _read(self) -> bool:
        """Take in what there is, and return whether there may be more."""
        try:
            block = os.read(self._reading, _BLOCK)
        except BlockingIOError:
            return False
        self._content += block[: max(0, self._limit - len(self._content))]
        if not block:
            self._loop.remove_reader(self._reading)
        return bool(block)


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
