"""The hub's side of the gateway: it is there, it is the right one, and it does what a session needs."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from guix_environment import process_identity, processes
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guixspawner.network.gateway import messages
from guixspawner.network.gateway.messages import Message
from guixspawner.network.gateway.settings import CONTROL, LOG, GatewaySettings

START_SECONDS = 30.0
"""For which a new gateway may take until it answers."""

ANSWER_SECONDS = 10.0

PATIENCE = (0.05, 0.2)
"""Seconds between attempts to get an answer."""

LARGEST_LOG = 4 * 1024 * 1024
"""Bytes beyond which a new gateway begins a new log; the one before it is kept beside it with ``.1``."""


class GatewayClient:
    """Talks to the gateway of one folder, and starts it where it is missing or another than it should be."""

    def __init__(self, folder: Path, settings: GatewaySettings) -> None:
        """Speak for the hub to the gateway that has FOLDER, the hub's alone, and that is to run with SETTINGS."""
        self._folder = folder
        self._settings = settings
        self._starting = asyncio.Lock()
        self._introduced = False

    async def ensure(self) -> None:
        """Return once the right gateway runs.  Raises `SessionFailure`."""
        async with self._starting:
            if await self._is_right():
                if not self._introduced:
                    await self._introduce()
                return
            await asyncio.to_thread(self._prepare)
            await self._start()
            await self._until_right()
            await self._introduce()

    async def open(self, key: str) -> None:
        """Have the gateway listen for the session KEY, whose folders are there and which has not begun."""
        await self.ensure()
        await self.ask({"do": "open", "key": key})

    async def relay(self, key: str, port: int = 0) -> int:
        """Return the port of the machine's loopback that leads to the session KEY, PORT itself where that is free."""
        await self.ensure()
        return int(str((await self.ask({"do": "relay", "key": key, "port": port}))["port"]))

    async def forget(self, key: str) -> None:
        """Have nothing of the gateway lead to or from the session KEY any longer; nothing happens where no gateway runs."""
        try:
            await self.ask({"do": "forget", "key": key})
        except SessionFailure:
            return

    async def hold(self, process: ProcessIdentity, file: int) -> None:
        """Have the open FILE, a copy of which stays the caller's, kept open until PROCESS ends."""
        await self.ensure()
        await self.ask({"do": "hold", "pid": process.pid, "started": process.started}, [file])

    async def ask(self, request: Mapping[str, object], files: Sequence[int] = ()) -> Message:
        """Return the gateway's answer to REQUEST, which may be put to it more than once.

        Raises `SessionFailure` when it has none.
        """
        for pause in PATIENCE:
            try:
                return await self._ask(request, files)
            except _Unanswered:
                # One that hands over to another takes no more requests.
                await asyncio.sleep(pause)
        try:
            return await self._ask(request, files)
        except _Unanswered as error:
            raise _failure(str(error.__cause__)) from error

    async def _ask(self, request: Mapping[str, object], files: Sequence[int]) -> Message:
        connection = messages.new_socket()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection.connect(str(self._folder / CONTROL))
                await messages.send(connection, request, files)
                answer, _ = await messages.receive(connection)
        except (OSError, messages.Closed, TimeoutError) as error:
            raise _Unanswered from error
        finally:
            connection.close()
        if "error" in answer:
            raise _failure(str(answer["error"]))
        return answer

    async def _introduce(self) -> None:
        """Tell the gateway whose end it is to watch for."""
        own = process_identity.identify(os.getpid())
        assert own is not None
        await self.ask({"do": "hub", "pid": own.pid, "started": own.started})
        self._introduced = True

    async def _is_right(self) -> bool:
        try:
            return (await self._ask({"do": "status"}, ())).get("fingerprint") == self._settings.fingerprint
        except _Unanswered:
            return False

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._settings.write(self._folder)
        log = self._folder / LOG
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_name(f"{LOG}.1"))

    async def _start(self) -> None:
        kept = {name: os.environ[name] for name in ("LANG", "PATH", "PYTHONPATH") if name in os.environ}
        log = os.open(self._folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            await processes.run(
                [sys.executable, "-P", "-m", "guixspawner.network.gateway", self._folder, "--detach"],
                environment=kept,
                timeout=START_SECONDS,
                directory=Path("/"),
                output=log,
            )
        except OSError as error:
            raise _failure(str(error)) from error
        finally:
            os.close(log)

    async def _until_right(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not await self._is_right():
            if time.monotonic() > deadline:
                raise _failure(f"see {self._folder / LOG}")
            await asyncio.sleep(0.02)


class _Unanswered(Exception):
    """No gateway answered."""


def _failure(reason: str) -> SessionFailure:
    return SessionFailure(
        "The gateway, by which sessions are reached, does not answer.",
        hint="Whoever runs this installation can see why in the log of the gateway.",
        details={"reason": reason},
    )
