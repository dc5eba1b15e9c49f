"""The way out of a real session, to an internet of the tests' own."""

import asyncio
import dataclasses
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guix_environment import process_identity
from guix_environment.container import Network
from guix_environment.errors import SessionFailure
from guix_environment.process_identity import ProcessIdentity
from guixspawner.launch import ColdLauncher
from guixspawner.network.client import GatewayClient
from guixspawner.network.gateway.settings import GatewaySettings
from guixspawner.network.outbound import Namespaces, connect, find
from guixspawner.network.settings import SessionNetwork
from tests.containers import ACCOUNT
from tests.spawner.network.conftest import door, gateway_of, kill
from tests.spawner.network.internet import (
    ANOTHER_OF_THE_MACHINES,
    MACHINE,
    MACHINE_6,
    METADATA,
    METADATA_6,
    NAMES,
    OUTSIDE,
    OUTSIDE_6,
    PRIVATE,
    listening,
    machine_in_a_network,
)
from tests.spawner.network.obedient_session import ObedientSession, obedient

real = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("slirp4netns") or not Path("/dev/net/tun").exists(),
    reason="needs root, for namespaces as a machine's, and slirp4netns",
)


@pytest.fixture
def internet() -> Iterator[int]:
    with machine_in_a_network() as world:
        yield world


@pytest.fixture
async def session(folder: Path, client: GatewayClient, internet: int) -> AsyncIterator[ObedientSession]:
    assert internet
    way = find("slirp4netns", root=True)
    with tempfile.TemporaryFile() as log:
        waiting = await ColdLauncher().prepare(ACCOUNT, Network.OWN, log.fileno())
        try:
            with Namespaces.of(waiting.first) as namespaces:
                # The session has left these namespaces when it is connected, as is usual.
                await waiting.run(obedient(folder, way))
                await connect(way, namespaces, ["203.0.113.0/24"], client)
            yield ObedientSession(waiting.first, folder / "talk")
        finally:
            waiting.give_up()
            await process_identity.end(waiting.first, grace=0)
            log.seek(0)
            print(log.read().decode())


@real
@pytest.mark.usefixtures("internet", "client")
@pytest.mark.parametrize("program", ["slirp4netns", "/bin/false"])
async def test_a_session_begins_before_its_way_out_is_there(
    folder: Path, settings: GatewaySettings, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And begins as well when there is none."""
    network = SessionNetwork(folder=str(folder), slirp4netns=program, log=logging.getLogger("hub"))
    with Path(os.devnull).open("wb") as log:
        waiting = await ColdLauncher().prepare(ACCOUNT, Network.OWN, log.fileno())
        try:
            await network.attach(waiting.first, settings.api)
            await waiting.run(obedient(folder, find(program, root=True)))
            session = ObedientSession(waiting.first, folder / "talk")
            if program == "slirp4netns":
                while await session.reaches(OUTSIDE) != f"reached {OUTSIDE}":
                    assert await session.reaches(METADATA[0]) in {"OSError 101", "OSError 113"}
                assert await session.reaches(METADATA[0]) == "OSError 113"
            else:
                while "could not be connected" not in caplog.text:
                    assert await session.does("print(1)") == "1"
                assert await session.reaches(OUTSIDE) == "OSError 101", "no network but its loopback"
        finally:
            waiting.give_up()
            await process_identity.end(waiting.first, grace=0)


@real
async def test_the_outside_is_reached_by_address_and_by_name(session: ObedientSession) -> None:
    assert await session.reaches(OUTSIDE) == f"reached {OUTSIDE}"
    assert await session.reaches("anything.example") == f"reached {OUTSIDE}"
    assert await session.reaches(PRIVATE) == f"reached {PRIVATE}", "the networks around the machine, unless refused"


@real
async def test_link_local_and_metadata_addresses_are_not(session: ObedientSession) -> None:
    for address in METADATA:
        # EHOSTUNREACH of the session's own kernel: nothing was sent.
        assert await session.reaches(address) == "OSError 113", address
    assert await session.reaches("203.0.113.7") == "OSError 113", "what the administrator refuses"


@real
async def test_other_spellings_of_an_address_lead_nowhere_either(session: ObedientSession) -> None:
    assert await session.reaches(f"::ffff:{OUTSIDE}") == f"reached {OUTSIDE}", "the same address"
    for address in METADATA:
        assert await session.reaches(f"::ffff:{address}") == "OSError 113", address
    for name in ("0xa9fea9fe", "2852039166", "169.254.43518", "0251.0376.0251.0376"):
        assert await session.reaches(name) == "OSError 113", name


@real
async def test_names_that_lead_to_them_lead_nowhere(session: ObedientSession) -> None:
    for name in NAMES:
        answer = await session.reaches(name)
        assert answer == f"reached {PRIVATE}" if name == "private.example" else "Error" in answer, name


@real
async def test_the_other_internet_is_not_reached_at_all(session: ObedientSession) -> None:
    """And with it none of its link-local, private and metadata addresses."""
    for address in (METADATA_6, OUTSIDE_6):
        with socket.create_connection((address, 80)) as machine:
            assert machine.recv(100) == f"reached {address}".encode(), "the machine itself does"
    with listening(MACHINE_6) as port, listening("::1") as loopback:
        for address in (METADATA_6, OUTSIDE_6, "64:ff9b::a9fe:a9fe", "fe80::1%tap0", "fd00::2", "fd00::3", MACHINE_6):
            for wanted in (80, port, loopback):
                assert "Error" in await session.reaches(address, wanted), address


@real
@pytest.mark.usefixtures("internet")
async def test_the_filter_lets_through_to_the_open_internet_alone(settings: GatewaySettings, folder: Path) -> None:
    """With a gateway, a resolver and addresses that are real ones to it."""
    allowed = ("93.184.216.34", "*.example", "[::1]", *METADATA, f"[{METADATA_6}]", "[::ffff:169.254.169.254]")
    filtering = dataclasses.replace(settings, allowed=allowed, refused=("203.0.113.0/24",))
    newer = GatewayClient(folder / "gateway", filtering)
    proxy = await door(newer, filtering, "ada.default") / "filter.sock"

    async def answer(host: str, request: str = "CONNECT {host}:80 HTTP/1.1\r\n\r\n") -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(proxy))
        writer.write(request.format(host=host).encode())
        found = await reader.read()
        writer.close()
        return found

    plain = "GET http://{host}/ HTTP/1.1\r\n\r\n"
    try:
        for host in (OUTSIDE, "anything.example"):
            assert await answer(host) == f"HTTP/1.1 200 Connection established\r\n\r\nreached {OUTSIDE}".encode()
            assert await answer(host, plain) == f"reached {OUTSIDE}".encode()
        for host in (*NAMES, *METADATA, "[::1]", f"[{METADATA_6}]", "[::ffff:169.254.169.254]"):
            assert b" 403 " in await answer(host), host
            assert b" 403 " in await answer(host, plain), host
        assert b" 403 " in await answer("unlisted.org")
    finally:
        await process_identity.end(await gateway_of(newer))


@real
async def test_nothing_of_the_machine_is(session: ObedientSession) -> None:
    with listening("127.0.0.1") as loopback, listening("0.0.0.0") as anywhere, listening(MACHINE) as own:
        for address in (MACHINE, ANOTHER_OF_THE_MACHINES):
            for port in (loopback, anywhere, own):
                assert await session.reaches(address, port) == "OSError 113", address
        # The gateway and the resolver of its side of the network, by which the machine's loopback could be meant.
        for address in ("198.18.0.2", "198.18.0.3", "127.0.0.1", "0.0.0.0", "10.0.2.2", "10.0.2.3"):
            for port in (loopback, anywhere):
                assert "Error" in await session.reaches(address, port), (address, port)


@real
async def test_the_way_to_the_resolver_leads_nowhere_else(session: ObedientSession) -> None:
    """On a cloud, what resolves names is also what tells the machine's secrets."""
    assert "Error" in await session.reaches("198.18.0.3", 80)


@real
async def test_the_session_has_no_right_to_change_that(session: ObedientSession) -> None:
    removing = (
        "import socket\n"
        "s = socket.socket(16, 3, 0)\n"
        "from struct import pack\n"
        "body = pack('=BBBBBBBBI', 2, 16, 0, 0, 254, 0, 0, 0, 0) + pack('=HH', 8, 1) + socket.inet_aton('169.254.0.0')\n"
        "s.send(pack('=IHHII', 16 + len(body), 25, 5, 1, 0) + body)\n"
        "print(int.from_bytes(s.recv(9999)[16:20], 'little', signed=True))"
    )
    assert await session.does(removing) == "-1", "EPERM"
    assert "CapEff:\t0000000000000000" in await session.does("print(open('/proc/self/status').read())")


@real
async def test_a_way_out_is_an_ordinary_account_that_sees_little(session: ObedientSession) -> None:
    (helper,) = way_outs(session.first)
    status = Path(f"/proc/{helper}/status").read_text()
    assert f"Uid:\t{ACCOUNT.uid}\t{ACCOUNT.uid}\t{ACCOUNT.uid}\t{ACCOUNT.uid}" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    root = Path(f"/proc/{helper}/root")
    assert not {"home", "root", "srv", "var", "talk", "tmp", "proc"} & {entry.name for entry in root.iterdir()}
    assert not (root / "run" / "dbus").exists()


def way_outs(first: ProcessIdentity) -> list[int]:
    """Return the processes that hold the network of FIRST open from outside of it."""
    user = Path(f"/proc/{first.pid}/ns/net").stat().st_ino
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (folder / "comm").exists():
            try:
                if (folder / "comm").read_text().strip() == "slirp4netns" and (
                    folder / "root/network"
                ).stat().st_ino == user:
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


async def until_gone(pid: int) -> None:
    while process_identity.identify(pid):
        await asyncio.sleep(0.01)


@real
async def test_it_ends_with_its_session(session: ObedientSession) -> None:
    (helper,) = way_outs(session.first)
    await process_identity.end(session.first, grace=0)
    await until_gone(helper)


@real
async def test_a_session_lives_on_without_it(session: ObedientSession) -> None:
    (helper,) = way_outs(session.first)
    identity = process_identity.identify(helper)
    assert identity
    await kill(identity)
    assert (await session.reaches(OUTSIDE)).startswith(("OSError", "TimeoutError"))
    assert await session.does("print(1 + 1)") == "2"


@real
async def test_it_never_outlives_the_gateway_and_can_be_made_again(session: ObedientSession, client: GatewayClient) -> None:
    (helper,) = way_outs(session.first)
    await kill(await gateway_of(client))
    await until_gone(helper)
    assert await session.does("print(1 + 1)") == "2"


@real
@pytest.mark.usefixtures("internet")
async def test_a_process_without_a_network_of_its_own_is_never_touched(client: GatewayClient) -> None:
    me = process_identity.identify(os.getpid())
    assert me
    with pytest.raises(SessionFailure) as failure, Namespaces.of(me) as namespaces:
        await connect(find("slirp4netns", root=True), namespaces, [], client)
    assert "no network of its own" in str(failure.value.details["reason"])
    gone = ProcessIdentity(me.pid, me.started + 1)
    with pytest.raises(SessionFailure), Namespaces.of(gone):
        pass
