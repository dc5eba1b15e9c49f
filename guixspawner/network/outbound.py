"""The way out of a session: slirp4netns, which speaks for the session's network outside of it.

It is chosen over passt's pasta because of what each costs every session all of the time (docs/explanation/sessions.md has
the figures), and because it ends with the session wherever there is one, which the pasta of Debian 12 does not.
"""

import asyncio
import contextlib
import os
import select
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import guix_environment.outbound
from guix_environment import process_identity, processes
from guix_environment.addresses import LINK_LOCAL_AND_METADATA
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guixspawner.network.client import GatewayClient

SUBNET = "198.18.0.0/24"
"""Between a session and its way out: addresses for measurements (RFC 2544), which no network around the machine has."""

RESOLVER = "198.18.0.3"
"""Where slirp4netns passes questions for names on to the machine's resolver."""

DEVICE = "tap0"
TUN = Path("/dev/net/tun")

READY_SECONDS = 20.0
"""Until which a way out is there."""

_PROGRAM = str(Path(guix_environment.outbound.__file__).resolve().parent)
_TRANSMISSION_UNIT = 65520
"""Bytes in one packet; the most that slirp4netns takes, since each packet costs it the same."""


@dataclass(frozen=True, slots=True)
class WayOut:
    """A way out that was found on this machine."""

    program: str
    """The whole path of slirp4netns."""

    @property
    def resolv_conf(self) -> bytes:
        """What a session's ``/etc/resolv.conf`` holds."""
        return f"nameserver {RESOLVER}\n".encode()


def find(program: str, *, root: bool, tun: Path = TUN) -> WayOut:
    """Return the way out by PROGRAM, a name or a path, for a hub that is ROOT or not.

    Raises `SessionFailure` that says what this machine lacks.
    """
    path = shutil.which(program)
    if path is None:
        raise _lacking(f"the program {program} is not installed", "install it: apt-get install slirp4netns")
    try:
        mode = tun.stat().st_mode
    except OSError:
        raise _lacking(f"there is no {tun}", "load it: modprobe tun") from None
    if not root and not (mode & stat.S_IROTH and mode & stat.S_IWOTH):
        raise _lacking(f"{tun} is closed to this account", f"open it, as distributions do: chmod 0666 {tun}")
    return WayOut(path)


def _lacking(what: str, remedy: str) -> SessionFailure:
    return SessionFailure(
        f"Sessions cannot reach the outside: {what}.",
        hint=f'Whoever runs this machine can {remedy}; or set c.SessionNetwork.outbound = "none".',
    )


def command(way: WayOut, *, ready: int, life: int) -> tuple[str, ...]:
    """Return the command of slirp4netns.

    It writes to the open file READY once there is a network, and ends when the other end of the open file LIFE is closed.
    """
    return (
        way.program,
        "--configure",
        f"--mtu={_TRANSMISSION_UNIT}",
        f"--cidr={SUBNET}",
        "--disable-host-loopback",
        "--enable-seccomp",
        f"--ready-fd={ready}",
        f"--exit-fd={life}",
        "--netns-type=path",
        "{network}",
        DEVICE,
    )


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Which namespaces a session's network is connected by, as open files: its process may leave them for others."""

    process: ProcessIdentity
    """Whose they were when they were opened."""
    user: int
    network: int

    @classmethod
    @contextlib.contextmanager
    def of(cls, process: ProcessIdentity) -> Iterator["Namespaces"]:
        """Yield those of PROCESS, the waiting first one of a session.  Raises `SessionFailure`."""
        with contextlib.ExitStack() as files:
            opened = []
            try:
                for kind in ("user", "net"):
                    opened.append(os.open(f"/proc/{process.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
                    files.callback(os.close, opened[-1])
            except OSError as error:
                raise _failed(str(error)) from error
            if not process_identity.is_running(process):
                raise _failed(f"the process {process.pid} has ended")
            yield cls(process, *opened)


async def connect(way: WayOut, session: Namespaces, refused: Sequence[str], gateway: GatewayClient) -> None:
    """Give SESSION a way out for as long as its process lives, and return once it is there.

    It is not there before networks in REFUSED are unreachable, and so are link-local and metadata addresses and the
    machine's own; so the session may begin meanwhile.  GATEWAY holds what the way out lives by.  Raises `SessionFailure`,
    and then there is none.
    """
    networks = ",".join(dict.fromkeys([*map(str, LINK_LOCAL_AND_METADATA), *refused]))
    with contextlib.ExitStack() as files:
        ready, ready_end = _pipe(files)
        errors, errors_end = _pipe(files)
        life, life_end = _pipe(files)
        try:
            program = await processes.start(
                [
                    *(sys.executable, "-I", "-S", _PROGRAM, str(session.user), str(session.network)),
                    *(str(errors_end.number), networks, "--", *command(way, ready=ready_end.number, life=life.number)),
                ],
                environment={},
                output=errors_end.number,
                directory=Path("/"),
                pass_descriptors=[
                    *(session.user, session.network),
                    *(ready_end.number, errors_end.number, life.number),
                ],
            )
        except OSError as error:
            raise _failed(str(error)) from error
        ready_end.close()
        errors_end.close()
        await gateway.hold(session.process, life_end.number)
        await program.wait()
        if await asyncio.to_thread(ready.read, READY_SECONDS) != b"1":
            said = await asyncio.to_thread(errors.read, 1.0)
            raise _failed(said.decode(errors="replace").strip())


class PipeEnd:
    """One end of a pipe."""

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self, seconds: float) -> bytes:
        """Return what comes within SECONDS, or nothing.  Blocks."""
        # Not select(2), which fails for the numbers from 1024 on that a hub of many sessions has.
        waiting = select.poll()
        waiting.register(self.number, select.POLLIN)
        return os.read(self.number, 4096) if waiting.poll(seconds * 1000) else b""

    def close(self) -> None:
        """Close it, unless that was done."""
        if self.number >= 0:
            os.close(self.number)
            self.number = -1


def _pipe(files: contextlib.ExitStack) -> tuple[PipeEnd, PipeEnd]:
    ends = [PipeEnd(number) for number in os.pipe2(os.O_CLOEXEC)]
    for end in ends:
        files.callback(end.close)
    return ends[0], ends[1]


def _failed(reason: str) -> SessionFailure:
    return SessionFailure(
        "The session could not be connected to the outside.",
        hint="Tell whoever runs this installation.",
        details={"reason": reason},
    )
