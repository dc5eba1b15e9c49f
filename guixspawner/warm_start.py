"""Start sessions from a process that has loaded the server's modules already, and without it whenever that does not work.

The process (`guix_environment.launcher.parent`) belongs to no start and outlives the hub; whichever start finds none begins
one for those after it.  No start ever waits for it to be ready.
"""

import asyncio
import contextlib
import fcntl
import functools
import hashlib
import math
import os
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from traitlets import Bool, Float, Integer, Unicode, default
from traitlets.config import LoggingConfigurable

import guix_environment
from guix_environment import process_identity, processes
from guix_environment.container import Network
from guix_environment.errors import SessionFailure
from guix_environment.identifiers import StorePath
from guix_environment.launcher import parent, requests
from guix_environment.launching import Channel, Waiting
from guix_environment.processes import Account
from guixspawner.launch import ColdLauncher, Launcher, waiting_process
from guixspawner.limits import Limits, SessionLimits, cgroups
from guixspawner.network.settings import SessionNetwork

_ROOT = Path(guix_environment.__file__).resolve().parents[1]
_CODE = ("guix_environment/launcher", "guix_session")
"""What the process is made of, beside the server layer."""

_STUCK = 4 * parent.LOOK
"""Seconds without a sign of life after which another process takes the place of one that does not answer."""

_PAUSE = 60.0
"""Seconds after a sign of life of a process that ended by itself, before another one is tried."""

_GROUP = "warm-"
"""The beginning of what the group of control that the process is in is called; no session's is."""

_QUEUE = 64
"""Requests that wait while it prepares itself; each of them is given up after `patience`."""


class WarmStart(LoggingConfigurable):
    """Whether and how sessions start from a process that is ready for them."""

    enabled = Bool(
        True,
        help="""
        Keep a process that has loaded JupyterLab's modules, and start sessions from it.

        It takes about 90 MB, ends by itself when nobody starts anything, and saves most of the time that JupyterLab takes.
        """,
    ).tag(config=True)

    folder = Unicode(
        help="""
        The folder of the socket by which the hub reaches that process; closed to every other account.

        Unless set, `warm` below `SessionNetwork.folder`.
        """
    ).tag(config=True)

    @default("folder")
    def _default_folder(self) -> str:
        folder = SessionNetwork(parent=self.parent).folder
        return f"{folder}/warm" if folder else ""

    idle = Float(
        4 * 3600.0, min=1.0, help="Seconds without a start after which the process ends; the next start begins a new one."
    ).tag(config=True)

    shared = Integer(
        1,
        min=1,
        help="""
        How many sessions start from one loading of the modules.

        With 1, every session has its own secret layout of memory and its own seed of hashes, as if it had been started by
        itself, and a start that comes while the next one is being prepared (a second or two) takes as long as without this.
        With more, many sessions start quickly one after the other and share memory, 50 MB each; whoever knows the layout of
        one server's memory then knows that of the others, which makes a flaw in the server's programs easier to use.
        """,
    ).tag(config=True)

    patience = Float(
        0.5, min=0.0, help="Seconds after which a start goes on without the process, which may be busy preparing itself."
    ).tag(config=True)

    def launcher(self, profile: StorePath) -> Launcher:
        """Return what starts sessions of the server profile PROFILE."""
        return WarmLauncher(self, profile) if self.enabled and self.folder else ColdLauncher()


@dataclass(frozen=True, slots=True)
class WarmLauncher:
    """Has the ready process fork for each container, and starts the launcher's program where it does not."""

    settings: WarmStart
    profile: StorePath

    async def prepare(self, account: Account, network: Network, log: int) -> Waiting:
        """Return a process of ACCOUNT that waits in a NETWORK; see `Launcher`."""
        waiting = await self._from_ready_process(account, network, log)
        return waiting or await ColdLauncher().prepare(account, network, log)

    async def _from_ready_process(self, account: Account, network: Network, log: int) -> Waiting | None:
        """Return what the ready process forked, or None when there is none or it has no time."""
        settings = self.settings
        ours, theirs = socket.socketpair()
        channel = await Channel.over(ours)
        try:
            with theirs:
                self._request(theirs.fileno(), log)
            async with asyncio.timeout(settings.patience):
                return await waiting_process(channel, account, network)
        except FileNotFoundError:
            await self._begin()
        except ConnectionRefusedError:
            await self._begin_again()
        except (TimeoutError, BlockingIOError):
            settings.log.info("The process for warm starts is not ready; this session starts without it.")
            if self._silence() > _STUCK:
                settings.log.warning("The process for warm starts is stuck; another one takes its place.")
                await self._begin()
        except (OSError, SessionFailure) as error:
            settings.log.warning("A warm start failed, and the session starts without it: %s", _told(error))
        except BaseException:
            channel.close()
            raise
        channel.close()
        return None

    def _request(self, channel: int, log: int) -> None:
        """Send CHANNEL and LOG to the ready process.  Raises `OSError`."""
        with self._connected() as connection:
            requests.send(connection, channel, log)

    @contextlib.contextmanager
    def _connected(self, name: str = "") -> Iterator[socket.socket]:
        with _opened(Path(self.settings.folder)) as folder, socket.socket(socket.AF_UNIX) as connection:
            # A full queue is an error, and nothing that the hub waits for.
            connection.setblocking(False)
            connection.connect(f"/proc/self/fd/{folder}/{name or self._socket_name}")
            yield connection

    async def _begin_again(self) -> None:
        """Start the process, after the one before it has ended without being asked to, unless that was at once."""
        if self._silence() > _PAUSE:
            self.settings.log.info("The process for warm starts had ended; another one is started for the next sessions.")
            await self._begin()
        else:
            self.settings.log.warning("The process for warm starts has ended; its last words: %s", self._last_words())

    def _silence(self) -> float:
        """Return the seconds since the process last gave a sign of life, or was started."""
        try:
            # A sign of life of a time that has not come was given before the clock was put back.
            return abs(time.time() - Path(self.settings.folder, self._socket_name).stat().st_mtime)
        except OSError:
            return math.inf

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return Path(self.settings.folder, "log").read_text(errors="replace").strip()[-500:] or "none"
        return "none"

    async def _begin(self) -> None:
        """Start the process for the starts after this one; says in the log what went wrong."""
        try:
            with self._alone() as folder:
                self._end_others(folder)
                await self._start_process(folder)
        except BlockingIOError:
            # Another start is about to do the same.
            return
        except OSError as error:
            self.settings.log.warning("The process for warm starts cannot be started: %s", error)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int]:
        """Yield the open folder, made if need be, while nobody else starts a process from it; or raise `BlockingIOError`."""
        path = Path(self.settings.folder)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _opened(path) as folder:
            found = os.fstat(folder)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise PermissionError(f"{path} is open to other accounts")
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder

    def _end_others(self, folder: int) -> None:
        """Have processes of other profiles and releases end, and remove the sockets of those that have."""
        for name in os.listdir(folder):
            if name.endswith(".sock"):
                if name != self._socket_name:
                    with contextlib.suppress(OSError), self._connected(name) as connection:
                        connection.send(requests.END)
                os.unlink(name, dir_fd=folder)

    async def _start_process(self, folder: int) -> None:
        with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as files:
            listener.bind(f"/proc/self/fd/{folder}/{self._socket_name}")
            listener.listen(_QUEUE)
            path = f"{self.settings.folder}/{self._socket_name}"
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
            files.callback(os.close, log)
            waits, goes_on = os.pipe()
            with os.fdopen(waits, "rb"), os.fdopen(goes_on, "w") as told:
                starting = await processes.start(
                    [self._python, "-I", parent.__file__, str(listener.fileno()), path, *self._limits, str(waits)],
                    environment={"LANG": "C.UTF-8", "PATH": f"{self.profile}/bin"},
                    output=log,
                    directory=Path("/"),
                    pass_descriptors=[listener.fileno(), waits],
                )
                told.writelines(f"{group}\n" for group in await self._set_apart(starting.pid))
        # It goes on in a process of its own, which is not the hub's child.
        await starting.wait()

    async def _set_apart(self, pid: int) -> Collection[Path]:
        """Put the process PID into a group of its own beside those of sessions, and return what it has to remove of it.

        The kernel counts memory for the group that a page was first used in, wherever a process is moved later.  Without
        this, the hub would be charged for what sessions take from the process, and ended when it is too much.
        """
        process = process_identity.identify(pid)
        try:
            backend = await SessionLimits(parent=self.settings).chosen()
            for key in await backend.leftovers():
                if key.startswith(_GROUP) and (await backend.usage(key)).processes == 0:
                    await backend.end(key)
            if process:
                await backend.hold(f"{_GROUP}{pid}", process, Limits())
                # Systemd's are called otherwise, and it removes them itself.
                return {group for group in cgroups.folders_of(pid).values() if group.name == f"{_GROUP}{pid}"}
        except (SessionFailure, OSError) as error:
            self.settings.log.info("The process for warm starts counts as a part of the hub: %s", _told(error))
        return ()

    @property
    def _limits(self) -> tuple[str, str]:
        return str(self.settings.idle), str(self.settings.shared)

    @property
    def _python(self) -> str:
        """The server layer's own Python."""
        return str(Path(self.profile, "bin/jupyterhub-singleuser").resolve().parent / "python3")

    @property
    def _socket_name(self) -> str:
        """Another one for every server profile, release of this project and setting: each needs a process of its own."""
        made_of = "\0".join((self.profile, _digest_of_code(), *self._limits))
        return hashlib.sha256(made_of.encode()).hexdigest()[:16] + ".sock"


@functools.cache
def _digest_of_code() -> str:
    digest = hashlib.sha256()
    for folder in _CODE:
        for file in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Yield FOLDER, open: below its descriptor a socket's path is short, wherever the folder is (unix(7))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _told(error: Exception) -> str:
    details = error.details.values() if isinstance(error, SessionFailure) else ()
    return "; ".join(map(str, (error, *details)))
