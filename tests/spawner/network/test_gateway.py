"""The gateway's life, and the ports that lead to sessions, in a real process beside a hub that comes and goes."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guix_environment import process_identity
from guix_environment.errors import SessionFailure
from guix_environment.processes import Account
from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway.settings import GatewaySettings
from guixspawner.network.sockets import SessionSockets
from tests.spawner.network.conftest import door, gateway_of, kill

KEY = "ada.default"
OWN = Account(os.geteuid(), os.getegid())


@contextlib.asynccontextmanager
async def session(settings: GatewaySettings, key: str = KEY) -> AsyncIterator[SessionSockets]:
    """A session's server: it says back whatever it is told, in capitals."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(1000):
            writer.write(block.upper())
            await writer.drain()
        writer.write(b"END")
        writer.close()

    sockets = SessionSockets.of(Path(settings.sockets), key)
    sockets.make(OWN)
    server = await asyncio.start_unix_server(answer, sockets.inner / "server.sock")
    try:
        yield sockets
    finally:
        server.close()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"hello ")
        writer.write_eof()
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()


async def test_a_port_leads_to_a_session(client: GatewayClient, settings: GatewaySettings) -> None:
    async with session(settings):
        port = await client.relay(KEY)
        assert await ask(port) == b"HELLO END"
        assert await client.relay(KEY) == port, "asked for again, it is the same one"


async def test_a_session_that_is_not_there_takes_no_connection(client: GatewayClient) -> None:
    port = await client.relay(KEY)
    assert await ask(port) == b""


async def test_a_forgotten_port_is_free(client: GatewayClient, settings: GatewaySettings) -> None:
    async with session(settings):
        port = await client.relay(KEY)
        await client.forget(KEY)
        with pytest.raises(ConnectionRefusedError):
            await ask(port)


async def test_a_link_in_the_persons_folder_leads_nowhere(client: GatewayClient, settings: GatewaySettings) -> None:
    """What the hub's account could reach and the person cannot: here, another session."""
    async with session(settings, "eve.default") as eve, session(settings) as ada:
        link = eve.inner / "server.sock"
        link.unlink()
        link.symlink_to(ada.inner / "server.sock")
        assert await ask(await client.relay("eve.default")) == b""
        with pytest.raises(OSError, match="not a socket"):
            eve.publish()
        eve.inner.joinpath("server.sock").unlink()
        eve.inner.rmdir()
        eve.inner.symlink_to(ada.inner)
        assert await ask(await client.relay("eve.default")) == b""
        assert not eve.listens()


async def test_a_published_socket_is_the_sessions_own(settings: GatewaySettings) -> None:
    async with session(settings) as sockets:
        published = sockets.publish()
        assert published.parent == sockets.folder
        assert stat.S_IMODE(sockets.folder.stat().st_mode) == 0o700
        reader, writer = await asyncio.open_unix_connection(str(published))
        writer.write(b"x")
        writer.write_eof()
        assert await reader.read() == b"XEND"
        writer.close()


async def test_a_server_that_takes_no_connections_does_not_hold_up_the_others(
    client: GatewayClient, settings: GatewaySettings
) -> None:
    stuck = SessionSockets.of(Path(settings.sockets), "eve.default")
    stuck.make(OWN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(stuck.inner / "server.sock"))
        listening.listen(0)
        port = await client.relay("eve.default")
        waiting = [asyncio.create_task(ask(port)) for _ in range(5)]
        async with session(settings):
            assert await ask(await client.relay(KEY)) == b"HELLO END"
        for task in waiting:
            task.cancel()


async def test_it_is_nobodys_child_and_only_its_account_gets_in(client: GatewayClient, folder: Path) -> None:
    gateway = await gateway_of(client)
    assert int(Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()[1]) != os.getpid()
    assert os.getsid(gateway.pid) == gateway.pid
    assert stat.S_IMODE((folder / "gateway").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "gateway" / "control.sock").stat().st_mode) == 0o600


async def test_it_is_told_nothing_on_its_command_line_or_in_its_environment(client: GatewayClient) -> None:
    gateway = await gateway_of(client)
    names = {line.partition(b"=")[0] for line in Path(f"/proc/{gateway.pid}/environ").read_bytes().split(b"\0") if line}
    assert names <= {b"LANG", b"PATH", b"PYTHONPATH", b"LC_CTYPE"}


async def test_a_second_hub_finds_it(client: GatewayClient, folder: Path, settings: GatewaySettings) -> None:
    first = await gateway_of(client)
    port = await client.relay(KEY)
    again = GatewayClient(folder / "gateway", settings)
    await again.ensure()
    assert await gateway_of(again) == first
    assert await again.relay(KEY) == port


async def test_many_at_once_start_one(folder: Path, settings: GatewaySettings, client: GatewayClient) -> None:
    await kill(await gateway_of(client))
    others = [GatewayClient(folder / "gateway", settings) for _ in range(4)]
    await asyncio.gather(*(other.ensure() for other in others))
    assert len({(await gateway_of(other)).pid for other in others}) == 1


async def test_one_that_was_killed_is_started_again_with_the_same_ports(
    client: GatewayClient, settings: GatewaySettings
) -> None:
    async with session(settings):
        port = await client.relay(KEY)
        before = await gateway_of(client)
        await kill(before)
        await client.ensure()
        assert await gateway_of(client) != before
        assert await ask(port) == b"HELLO END"


async def test_a_new_configuration_takes_over_without_losing_anything(
    client: GatewayClient, folder: Path, settings: GatewaySettings
) -> None:
    async with session(settings):
        keys = [KEY, *(f"p{number}.default" for number in range(150))]
        # What has no folder is forgotten.
        for key in keys[1:]:
            (Path(settings.sockets) / key).mkdir(parents=True)
        ports = [await client.relay(key) for key in keys]
        before = await gateway_of(client)
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        writer.write(b"before ")
        assert await reader.read(100) == b"BEFORE "
        newer = GatewayClient(folder / "gateway", dataclasses.replace(settings, allowed=("example.org",)))
        await newer.ensure()
        assert await gateway_of(newer) != before
        assert [await newer.relay(key) for key in keys] == ports
        assert await ask(ports[0]) == b"HELLO END"

        # The old one goes on for whoever is connected, and no longer.
        assert process_identity.is_running(before)
        writer.write(b"after")
        assert await reader.read(100) == b"AFTER"
        writer.write_eof()
        assert await reader.read() == b"END"
        writer.close()
        while process_identity.is_running(before):
            await asyncio.sleep(0.05)
        with contextlib.suppress(SessionFailure):
            await process_identity.end(await gateway_of(newer))


async def test_what_is_held_lives_as_long_as_the_session(
    client: GatewayClient, settings: GatewaySettings, folder: Path
) -> None:
    """And is handed over like everything else, and never longer than the gateway."""

    async def held() -> tuple[asyncio.subprocess.Process, int]:
        sleeper = await asyncio.create_subprocess_exec("sleep", "1000")
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        identity = process_identity.identify(sleeper.pid)
        assert identity
        await client.hold(identity, writing)
        os.close(writing)
        return sleeper, reading

    first, first_end = await held()
    second, second_end = await held()
    with pytest.raises(BlockingIOError):
        os.read(first_end, 1)
    first.kill()
    await first.wait()
    await until_closed(first_end)
    newer = GatewayClient(folder / "gateway", dataclasses.replace(settings, linger=61.0))
    await newer.ensure()
    await asyncio.sleep(0.2)
    with pytest.raises(BlockingIOError):
        os.read(second_end, 1)
    await kill(await gateway_of(newer))
    await until_closed(second_end)
    second.kill()
    await second.wait()
    for end in (first_end, second_end):
        os.close(end)


async def until_closed(reading: int) -> None:
    while True:
        try:
            assert os.read(reading, 1) == b""
        except BlockingIOError:
            await asyncio.sleep(0.01)
        else:
            return


async def test_it_ends_in_an_orderly_way_when_asked(client: GatewayClient, settings: GatewaySettings) -> None:
    gateway = await gateway_of(client)
    folder = await door(client, settings, KEY)
    assert {entry.name for entry in folder.iterdir()} == {"hub.sock", "filter.sock"}
    process_identity.send_signal(gateway, signal.SIGTERM)
    while process_identity.is_running(gateway):
        await asyncio.sleep(0.01)
    assert list(folder.iterdir()) == []
    with pytest.raises(SessionFailure):
        await client.ask({"do": "status"})


async def test_it_ends_by_itself_when_neither_hub_nor_session_is_left(folder: Path, settings: GatewaySettings) -> None:
    client = GatewayClient(folder / "gateway", dataclasses.replace(settings, linger=0.1))
    await client.ensure()
    gateway = await gateway_of(client)
    sleeper = await asyncio.create_subprocess_exec("sleep", "1000")
    hub = process_identity.identify(sleeper.pid)
    assert hub
    await client.ask({"do": "hub", "pid": hub.pid, "started": hub.started})
    async with session(settings):
        sleeper.kill()
        await sleeper.wait()
        await asyncio.sleep(6)
        assert process_identity.is_running(gateway), "a session is there"
    while process_identity.is_running(gateway):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "request_", [{}, {"do": "x"}, {"do": "relay"}, {"do": "relay", "key": "../x"}, {"do": "hold", "pid": 1, "started": 1}]
)
async def test_nonsense_is_answered_as_such(client: GatewayClient, request_: dict[str, object]) -> None:
    with pytest.raises(SessionFailure):
        await client.ask(request_)
    await client.ask({"do": "status"})
