"""The gateway itself: what it listens on, what it is asked by the hub, and when it ends.

One runs for each installation, in its own folder, which the hub's account alone can enter.  One that is started beside
another takes over what that one listens on, so that no connection is refused; the old one ends with its last connection.
"""

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from guix_environment import process_identity
from guix_environment.files import read_json, write_json
from guix_environment.process_identity import ProcessIdentity
from guixspawner.network.gateway import messages
from guixspawner.network.gateway.allowed import Destination
from guixspawner.network.gateway.doors import Doors, bound
from guixspawner.network.gateway.filter import Filter
from guixspawner.network.gateway.held import Held
from guixspawner.network.gateway.hub_api import HubApi
from guixspawner.network.gateway.messages import Message
from guixspawner.network.gateway.relays import Relays
from guixspawner.network.gateway.settings import CONTROL, LOCK, STATE, GatewaySettings
from guixspawner.network.sockets import SessionSockets

_KEY = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
_LOOK = 5.0
"""Seconds between looks at whether anybody is still there."""

_LOG = logging.getLogger(__name__)


class OneIsThere(Exception):
    """Another gateway runs in this folder, and did not hand over."""


class Gateway:
    """What a gateway has open, and what it does about it."""

    def __init__(self, folder: Path, settings: GatewaySettings) -> None:
        """Serve the installation that has its gateway in FOLDER, as SETTINGS say."""
        self._folder = folder
        self._settings = settings
        self._sockets = Path(settings.sockets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._relays = Relays(self._sockets, self._own)
        self._held = Held()
        self._hub: ProcessIdentity | None = None
        self._api = HubApi(settings.api)
        destinations = [Destination.parse(text) for text in settings.allowed]
        filtering = Filter(destinations, tuple(ipaddress.ip_network(text) for text in settings.refused))
        self._doors = Doors(self._sockets, self._api, filtering, self._own)
        self._control: socket.socket | None = None
        self._lock = -1
        self._ending = asyncio.Event()
        self._handed_over = False

    async def run(self) -> None:
        """Serve until asked to end, until a successor takes over, or until nobody is left.  Raises `OneIsThere`."""
        taken = await self._take_over()
        self._acquire()
        await self._listen(taken)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        _LOG.info("The gateway runs: %s", self._settings.fingerprint)
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(self._answer_control()), group.create_task(self._watch())]
            await self._ending.wait()
            for task in work:
                task.cancel()
        await self._close()

    # Beginning and end

    async def _take_over(self) -> list[tuple[Message, int]]:
        """Return what a gateway before this one listened on and held, each with what it is."""
        connection = messages.new_socket()
        try:
            connection.connect(str(self._folder / CONTROL))
            await messages.send(connection, {"do": "status"})
            if (await messages.receive(connection))[0].get("fingerprint") == self._settings.fingerprint:
                raise OneIsThere
            await messages.send(connection, {"do": "hand-over"})
            taken: list[tuple[Message, int]] = []
            while True:
                message, files = await messages.receive(connection)
                what = message.get("what")
                taken += zip(what if isinstance(what, list) else [], files, strict=True)
                if not message.get("more"):
                    return taken
        except (OSError, messages.Closed):
            return []
        finally:
            connection.close()

    def _acquire(self) -> None:
        self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OneIsThere from None

    async def _listen(self, taken: list[tuple[Message, int]]) -> None:
        """Listen on everything, as far as possible on what was TAKEN over."""
        doors: dict[str, dict[str, socket.socket]] = {}
        for what, file in taken:
            match what.get("kind"):
                case "door":
                    doors.setdefault(str(what["key"]), {})[str(what["name"])] = socket.socket(fileno=file)
                case "relay":
                    await self._relays.take(str(what["key"]), socket.socket(fileno=file))
                case "held":
                    self._held.keep(_identity(what), file)
                case _:
                    os.close(file)
        if not taken:
            await self._restore()
        for key, sockets in doors.items():
            await self._doors.take(key, sockets)
        await self._doors.open_missing()
        self._control = bound(self._folder / CONTROL, messages.new_socket(), 0o600)
        self._remember()

    async def _restore(self) -> None:
        """Listen again on the ports of a gateway that was ended without being asked."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            state = read_json(self._folder / STATE)
            self._hub = _identity(state["hub"]) if state.get("hub") else None
            relays = state["relays"]
            for key, port in relays.items() if isinstance(relays, dict) else ():
                if SessionSockets.of(self._sockets, key).folder.is_dir():
                    await self._relays.lead(key, int(port))

    def _remember(self) -> None:
        hub = {"pid": self._hub.pid, "started": self._hub.started} if self._hub else None
        write_json(self._folder / STATE, {"hub": hub, "relays": dict(self._relays.ports)}, mode=0o600)

    async def _close(self) -> None:
        """Take nothing new, and return when what is under way has ended: at once where there is no successor."""
        if self._control:
            self._control.close()
        self._relays.close()
        self._held.close()
        if not self._handed_over:
            self._doors.remove()
            (self._folder / CONTROL).unlink(missing_ok=True)
            self._cut_off()
        await self._doors.drained()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._api.close()

    def _end(self) -> None:
        """End because somebody says so: in an orderly way, but without waiting for connections that may last for days."""
        self._ending.set()
        if self._handed_over:
            self._cut_off()

    def _cut_off(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            _LOG.error("A connection ended in an error.", exc_info=task.exception())

    # What the hub asks

    async def _answer_control(self) -> None:
        assert self._control
        while True:
            connection = await messages.accepted(self._control)
            self._own(asyncio.ensure_future(self._serve_control(connection)))

    async def _serve_control(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(messages.Closed, OSError):
            while True:
                request, files = await messages.receive(connection)
                if request.get("do") == "hand-over":
                    await self._hand_over(connection)
                    return
                await messages.send(connection, await self._answer(request, files))

    async def _answer(self, request: Message, files: list[int]) -> Mapping[str, object]:
        handlers: dict[object, Callable[[Message, list[int]], Awaitable[Mapping[str, object]]]] = {
            "status": self._status,
            "hub": self._meet_hub,
            "open": self._open,
            "relay": self._relay,
            "forget": self._forget,
            "hold": self._hold,
        }
        try:
            return await handlers[request.get("do")](request, files)
        except (KeyError, ValueError, TypeError, OSError) as error:
            for file in files:
                os.close(file)
            return {"error": f"{type(error).__name__}: {error}"}

    async def _status(self, _request: Message, _files: list[int]) -> Mapping[str, object]:
        return {"fingerprint": self._settings.fingerprint, "pid": os.getpid(), "relays": dict(self._relays.ports)}

    async def _meet_hub(self, request: Message, _files: list[int]) -> Mapping[str, object]:
        self._hub = _identity(request)
        self._remember()
        return {}

    async def _open(self, request: Message, _files: list[int]) -> Mapping[str, object]:
        await self._doors.open(_key(request))
        return {}

    async def _relay(self, request: Message, _files: list[int]) -> Mapping[str, object]:
        known = dict(self._relays.ports)
        port = await self._relays.lead(_key(request), int(str(request.get("port") or 0)))
        if dict(self._relays.ports) != known:
            self._remember()
        return {"port": port}

    async def _forget(self, request: Message, _files: list[int]) -> Mapping[str, object]:
        self._doors.close(_key(request))
        self._relays.forget(_key(request))
        self._remember()
        return {}

    async def _hold(self, request: Message, files: list[int]) -> Mapping[str, object]:
        (file,) = files
        process = _identity(request)
        files.clear()
        self._held.keep(process, file)
        return {}

    async def _hand_over(self, connection: socket.socket) -> None:
        """Give a successor everything that is open, and end."""
        relays = self._relays.listeners
        items: list[tuple[Message, int]] = [
            ({"kind": "door", "key": key, "name": name}, listening.fileno())
            for key, name, listening in self._doors.listeners
        ]
        for key, listening in relays.items():
            items.append(({"kind": "relay", "key": key}, listening.fileno()))
        for process, file in self._held:
            what: Message = {"kind": "held", "pid": process.pid, "started": process.started}
            items.append((what, file))
        for start in range(0, max(len(items), 1), messages.MOST_FILES):
            part = items[start : start + messages.MOST_FILES]
            more = start + messages.MOST_FILES < len(items)
            if not more:
                # The successor acquires it as soon as it has everything.
                fcntl.flock(self._lock, fcntl.LOCK_UN)
                self._handed_over = True
            await messages.send(connection, {"what": [what for what, _ in part], "more": more}, [file for _, file in part])
        for listening in relays.values():
            listening.close()
        _LOG.info("Another gateway takes over.")
        self._ending.set()

    # When nobody is left

    async def _watch(self) -> None:
        lonely = 0.0
        while lonely < self._settings.linger:
            await asyncio.sleep(_LOOK)
            self._forget_ended()
            lonely = 0.0 if self._somebody_is_there() else lonely + _LOOK
        _LOG.info("Neither a hub nor a session is left.")
        self._ending.set()

    def _forget_ended(self) -> None:
        known = {*self._relays.ports, *self._doors.keys}
        ended = [key for key in known if not SessionSockets.of(self._sockets, key).folder.is_dir()]
        for key in ended:
            self._doors.close(key)
            self._relays.forget(key)
        if ended:
            self._remember()

    def _somebody_is_there(self) -> bool:
        if self._tasks or (self._hub and process_identity.is_running(self._hub)):
            return True
        try:
            folders = list(self._sockets.iterdir())
        except OSError:
            return False
        return any(SessionSockets(folder).listens() for folder in folders)


def _identity(value: object) -> ProcessIdentity:
    if not isinstance(value, dict):
        raise TypeError("not a process")
    return ProcessIdentity(int(str(value["pid"])), int(str(value["started"])))


def _key(request: Message) -> str:
    key = str(request["key"])
    if not _KEY.fullmatch(key):
        raise ValueError("not a session")
    return key
