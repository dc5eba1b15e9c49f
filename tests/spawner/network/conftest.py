"""A gateway of the tests' own, between a session that is none and a hub that is none."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from guix_environment import process_identity
from guix_environment.errors import SessionFailure
from guix_environment.processes import Account
from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway.settings import GatewaySettings
from guixspawner.network.sockets import SessionSockets


@pytest.fixture
def folder() -> Iterator[Path]:
    """Sockets have short paths, which pytest's own folders do not."""
    found = Path(tempfile.mkdtemp(prefix="guixspawner-network-"))
    yield found
    shutil.rmtree(found)


class FakeHub:
    """Answers everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.under_way = self.most_under_way = 0
        self.released = asyncio.Event()
        """What is slow is answered once it is set."""
        hub = self

        class Any(RequestHandler):
            def check_xsrf_cookie(self) -> None:
                pass

            async def prepare(self) -> None:
                hub.asked.append(
                    (self.request.method or "", self.request.uri or "", dict(self.request.headers), self.request.body)
                )
                hub.under_way += 1
                hub.most_under_way = max(hub.most_under_way, hub.under_way)
                if "slow" in (self.request.uri or ""):
                    await hub.released.wait()
                hub.under_way -= 1
                self.set_header("X-JupyterHub-Version", "6.1.1")
                self.set_header("Set-Cookie", "session=secret")
                self.finish("pong")

        self._server = HTTPServer(Application([(r".*", Any)]))
        self._server.listen(0, "127.0.0.1")
        self.port = next(iter(self._server._sockets.values())).getsockname()[1]

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    found = FakeHub()
    yield found
    found.stop()


@pytest.fixture
def settings(folder: Path, hub: FakeHub) -> GatewaySettings:
    return GatewaySettings(f"{folder}/s", f"http://127.0.0.1:{hub.port}/base/hub/api/")


@pytest.fixture
async def client(folder: Path, settings: GatewaySettings) -> AsyncIterator[GatewayClient]:
    """A hub's side of a gateway that runs in a process of its own."""
    found = GatewayClient(folder / "gateway", settings)
    await found.ensure()
    yield found
    with suppress(SessionFailure):
        pid = int(str((await found.ask({"do": "status"}))["pid"]))
        process = process_identity.identify(pid)
        assert process
        await process_identity.end(process)
    print((folder / "gateway" / "log").read_text())


async def door(client: GatewayClient, settings: GatewaySettings, key: str) -> Path:
    """Return the folder of the sockets by which the session KEY, whose folders are made, comes to the gateway."""
    sockets = SessionSockets.of(Path(settings.sockets), key)
    sockets.make(Account(os.geteuid(), os.getegid()))
    await client.open(key)
    return sockets.gateway


async def gateway_of(client: GatewayClient) -> process_identity.ProcessIdentity:
    found = process_identity.identify(int(str((await client.ask({"do": "status"}))["pid"])))
    assert found
    return found


async def kill(process: process_identity.ProcessIdentity) -> None:
    process_identity.send_signal(process, signal.SIGKILL)
    while process_identity.is_running(process):
        await asyncio.sleep(0.01)
