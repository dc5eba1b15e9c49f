"""What a way out adds to a start and takes of memory, and what going through the gateway costs.

Needs root and slirp4netns, and no Guix: sessions are first processes that wait, and a program that sends.  passt's pasta is
measured beside it where it is installed.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.frame import OURS, Extent, Figures, Result, interleave
from bench.memory import shares
from guix_environment import process_identity, processes
from guix_environment.container import Network
from guix_environment.process_identity import ProcessIdentity
from guix_environment.processes import Account
from guixspawner.launch import ColdLauncher
from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway.settings import GatewaySettings
from guixspawner.network.outbound import Namespaces, connect, find
from guixspawner.network.sockets import SessionSockets

NONE, PASTA = "none", "pasta"
_PROGRAMS = ("slirp4netns", "pasta", "passt")
_ACCOUNT = Account(70000, 70000)
"""Nobody's."""

MEGABYTES = 256
"""Sent at a time."""

_SENDING = f"""
import socket, sys
block = bytes(1 << 20)
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(sys.argv[1])
    listening.listen()
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        with connection:
            for _ in range({MEGABYTES}):
                connection.sendall(block)
"""


@dataclass(frozen=True, slots=True)
class _Ground:
    """A gateway of the benchmark's own, and where its sessions have their sockets."""

    runner: asyncio.Runner
    folder: Path
    client: GatewayClient
    sockets: Path
    log: int
    """An open file for what sessions print."""
    taken: dict[str, list[float]] = field(default_factory=dict)
    """Megabytes of each kind of way out (PSS)."""

    def session(self, key: str) -> SessionSockets:
        """Make the sockets of the session KEY, and have the gateway listen for it."""
        sockets = SessionSockets.of(self.sockets, key)
        sockets.make(Account(os.geteuid(), os.getegid()))
        self.runner.run(self.client.open(key))
        return sockets

    def gateway_takes(self) -> float:
        """Return the megabytes that the gateway takes (PSS)."""
        status = self.runner.run(self.client.ask({"do": "status"}))
        (share,) = shares([int(str(status["pid"]))])
        return share.kilobytes / 1024


_Way = Callable[[ProcessIdentity, _Ground], Awaitable[None]]


def measure(extent: Extent) -> Result:
    """Give waiting sessions a way out, each way, then let many come to the gateway, and send through it."""
    with _ground() as ground:
        ways: dict[str, _Way] = {NONE: _no_way_out, OURS: _slirp4netns}
        if shutil.which(PASTA):
            ways[PASTA] = _pasta
        figures = interleave({name: _timed(ground, name, way) for name, way in ways.items()}, extent.rounds).figures
        alone = ground.gateway_takes()
        for number in range(extent.people):
            ground.session(f"p{number}.default")
            ground.runner.run(ground.client.relay(f"p{number}.default"))
        with_sessions = ground.gateway_takes()
        speeds = _speeds(ground, extent)
    memory = {name: Figures.of(values).as_json() for name, values in ground.taken.items()}
    more = {
        "megabytes (PSS) of a way out": memory,
        "megabytes (PSS) of the gateway": {"without sessions": alone, f"with {extent.people}": with_sessions},
        "kilobytes of the gateway's for a session": (with_sessions - alone) * 1024 / extent.people,
        "megabytes a second from a session": {name: found.as_json() for name, found in speeds.items()},
    }
    return Result("session-network", "milliseconds to a network", figures.pop(OURS), figures, more=more)


@contextmanager
def _ground() -> Iterator[_Ground]:
    folder = Path(tempfile.mkdtemp(prefix="guixspawner-bench-"))
    client = GatewayClient(folder / "gateway", GatewaySettings(f"{folder}/s", "http://127.0.0.1:1/hub/api/"))
    with asyncio.Runner() as runner, Path(os.devnull).open("wb") as log:
        ground = _Ground(runner, folder, client, folder / "s", log.fileno())
        try:
            yield ground
        finally:
            status = runner.run(client.ask({"do": "status"}))
            gateway = process_identity.identify(int(str(status["pid"])))
            if gateway:
                runner.run(process_identity.end(gateway))
            shutil.rmtree(folder)


def _timed(ground: _Ground, name: str, way: _Way) -> Callable[[], float]:
    async def once() -> float:
        began = time.perf_counter()
        waiting = await ColdLauncher().prepare(_ACCOUNT, Network.OWN, ground.log)
        await way(waiting.first, ground)
        took = time.perf_counter() - began
        helpers = await asyncio.to_thread(_helpers, waiting.first)
        ground.taken.setdefault(name, []).append(sum(share.kilobytes for share in shares(helpers)) / 1024)
        ending = [process for process in map(process_identity.identify, helpers) if process]
        waiting.give_up()
        await process_identity.end(waiting.first, grace=0)
        for process in ending:
            await process_identity.end(process, grace=0)
        return took * 1000

    return lambda: ground.runner.run(once())


async def _no_way_out(_process: ProcessIdentity, _ground: _Ground) -> None:
    """Leave it at its loopback."""


async def _slirp4netns(process: ProcessIdentity, ground: _Ground) -> None:
    with Namespaces.of(process) as session:
        await connect(find("slirp4netns", root=True), session, [], ground.client)


async def _pasta(process: ProcessIdentity, _ground: _Ground) -> None:
    # It goes on in the background when the network is there.  Its own account, nobody, has no right to these namespaces.
    command = ["pasta", "--config-net", "--quiet", "--runas", "0", str(process.pid)]
    await processes.run(command, environment=dict(os.environ), timeout=60, directory=Path("/"))


def _helpers(first: ProcessIdentity) -> list[int]:
    """Return the programs that give the process FIRST its network, which are in its user namespace and not its children."""
    wanted = Path(f"/proc/{first.pid}/ns/user").readlink()
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text().startswith(_PROGRAMS) and (folder / "ns/user").readlink() == wanted:
                found.append(int(folder.name))
    return found


def _speeds(ground: _Ground, extent: Extent) -> Mapping[str, Figures]:
    sockets = ground.session("sender.default")
    path = str(sockets.inner / "server.sock")
    with subprocess.Popen([sys.executable, "-c", _SENDING, path], stdout=subprocess.PIPE) as sender:
        try:
            assert sender.stdout
            assert sender.stdout.readline() == b"ready\n"
            port = ground.runner.run(ground.client.relay("sender.default"))
            return interleave(
                {
                    "over its socket": lambda: _speed(socket.AF_UNIX, path),
                    "through the gateway": lambda: _speed(socket.AF_INET, ("127.0.0.1", port)),
                },
                extent.rounds,
            ).figures
        finally:
            sender.kill()


def _speed(family: int, address: str | tuple[str, int]) -> float:
    block, got = bytearray(1 << 20), 0
    with socket.socket(family) as connection:
        connection.connect(address)
        began = time.perf_counter()
        while some := connection.recv_into(block):
            got += some
        took = time.perf_counter() - began
    if got != MEGABYTES << 20:
        raise RuntimeError(f"of {MEGABYTES} megabytes, {got} bytes arrived")
    return MEGABYTES / took
