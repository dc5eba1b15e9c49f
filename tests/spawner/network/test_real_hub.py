"""How a real hub and proxy reach real sessions, and what those reach of the machine."""

import asyncio
import base64
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import jupyterhub
import pytest

from guix_environment import process_identity
from guix_environment.process_identity import ProcessIdentity
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.network.conftest import kill
from tests.spawner.real_hub import TOKEN, RealHub, running_hub, wait_for

pytestmark = [pytest.mark.guix, pytest.mark.hub]

GIVEN = {"environment": ENVIRONMENT}
KNOWS_SOCKETS = jupyterhub.version_info[0] >= 6

ASKING = """
import socket
def ask(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/guix-environment/gateway/hub.sock")
    s.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    return s.recv(100).split()[1].decode()
"""
"""What a session's program needs to ask the hub's API."""


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as found:
        yield found


@pytest.fixture(scope="module")
def hub(records: Path) -> Iterator[RealHub]:
    with running_hub(records, 'everything.append("proxy"); c.GuixSpawner.poll_interval = 3') as found:
        yield found


@pytest.fixture(scope="module")
def ada(hub: RealHub) -> str:
    status, text = hub.spawn("ada", GIVEN)
    assert status == 201, text + hub.session_log("ada")
    return "ada"


def gateways(hub: RealHub) -> list[ProcessIdentity]:
    """Return the gateways of HUB's installation."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if f"{hub.state}/run/gateway".encode() in words:
                found.append(process_identity.identify(int(folder.name)))
    return [process for process in found if process]


def gateway(hub: RealHub) -> ProcessIdentity:
    """Return the one gateway of HUB's installation."""
    (found,) = gateways(hub)
    return found


def leads_to(hub: RealHub, user: str) -> str:
    """Return where the proxy last was told to lead what is for USER."""
    lines = [line for line in hub.log.read_text().splitlines() if f"Route added /user/{user} -> " in line]
    return lines[-1].rpartition(" -> ")[2].split("\x1b")[0].strip()


async def test_a_session_is_reached_over_its_socket_where_hub_and_proxy_can(hub: RealHub, ada: str) -> None:
    assert await hub.run_code(ada, "print(1 + 1)") == "2"
    target = leads_to(hub, ada)
    if KNOWS_SOCKETS:
        assert target.startswith("http+unix://")
        assert target.endswith("server.sock"), "no port, which the hub adds, and which would be a part of the path"
    else:
        assert target.startswith("http://127.0.0.1:")


async def test_the_hub_finds_the_route_as_it_asked_for_it(hub: RealHub, ada: str) -> None:
    """Else it would set it again at every look, twice a minute."""
    before = hub.log.read_text().count(f"Route added /user/{ada} ")
    assert hub.request("POST", "/hub/api/proxy")[0] == 200
    assert hub.log.read_text().count(f"Route added /user/{ada} ") == before
    assert "Updating route for" not in hub.log.read_text()


async def test_its_server_reaches_the_hubs_api(hub: RealHub, ada: str) -> None:
    assert "Failed to connect to my Hub" not in hub.session_log(ada)
    assert "Error notifying Hub" not in hub.session_log(ada)
    wait_for(lambda: f"POST /hub/api/users/{ada}/activity" in hub.log.read_text())


async def test_its_programs_reach_the_api_and_nothing_else_of_the_hub(hub: RealHub, ada: str) -> None:
    asking = 'print(ask("/hub/api/"), ask("/hub/login"), ask("/hub/api/../login"), ask("/user/ada/api"))'
    assert await hub.run_code(ada, ASKING + asking) == "200 404 404 404"


@pytest.mark.skipif(not shutil.which("slirp4netns") or not Path("/dev/net/tun").exists(), reason="needs slirp4netns")
async def test_its_way_out_is_there_soon_after_it_has_begun(hub: RealHub, ada: str) -> None:
    looking = "import socket; print([name for _, name in socket.if_nameindex()])"
    while await hub.run_code(ada, looking) != "['lo', 'tap0']":
        assert "could not be connected" not in hub.log.read_text()


async def test_the_machines_loopback_is_out_of_reach(hub: RealHub, ada: str) -> None:
    ports = json.loads((hub.state / "hub/ports.json").read_text())
    with closing(socket.create_server(("0.0.0.0", 0))) as other:
        wanted = [*ports.values(), hub.port, other.getsockname()[1]]
        code = f"""
import socket
found = []
for port in {wanted}:
    with socket.socket() as s:
        s.settimeout(3)
        if s.connect_ex(("127.0.0.1", port)) == 0 and port != {ports["hub"] if not KNOWS_SOCKETS else 0}:
            found.append(port)
print(found)
"""
        assert await hub.run_code(ada, code) == "[]"


async def test_the_folders_of_sockets_cannot_be_written(hub: RealHub, ada: str) -> None:
    code = """
import os
for path in ("/run/guix-environment/gateway/x", "/run/guix-environment/sockets/x"):
    try:
        open(path, "w")
        print("written", path)
    except OSError as error:
        print(error.errno)
"""
    assert (await hub.run_code(ada, code)).split() == ["30", "13" if os.geteuid() == 0 else "30"]


async def test_the_gateway_outlives_the_hub_and_comes_back_by_itself(hub: RealHub, ada: str) -> None:
    first = gateway(hub)
    hub.kill()
    assert process_identity.is_running(first)
    hub.start()
    wait_for(lambda: hub.serves(ada))
    assert gateway(hub) == first
    assert await hub.run_code(ada, "print('still here')") == "still here"
    await kill(first)
    wait_for(lambda: gateways(hub))
    # Where a port of the gateway's leads to the session, it is there again a moment after the gateway itself.
    wait_for(lambda: hub.request("GET", f"/user/{ada}/api/status")[0] == 200)
    assert await hub.run_code(ada, ASKING + 'print(ask("/hub/api/"))') == "200", "through the same folder as before"
    hub.end()
    hub.start()
    wait_for(lambda: hub.serves(ada))
    assert await hub.run_code(ada, "print('again')") == "again"


async def test_what_is_large_arrives_as_it_was(hub: RealHub, ada: str) -> None:
    await there_and_back(hub, ada)


async def there_and_back(hub: RealHub, user: str) -> None:
    """Bring a large file into the session of USER and back, as the file browser does."""
    content = os.urandom(24 * 2**20)
    model = {"type": "file", "format": "base64", "content": base64.b64encode(content).decode()}
    status, text = await asyncio.to_thread(hub.request, "PUT", f"/user/{user}/api/contents/large.bin", model)
    assert status == 201, text
    request = Request(f"{hub.address}/user/{user}/files/large.bin", headers={"Authorization": f"token {TOKEN}"})
    with await asyncio.to_thread(urlopen, request) as answer:
        assert await asyncio.to_thread(answer.read) == content


async def test_a_session_that_has_ended_leaves_no_sockets(hub: RealHub) -> None:
    assert hub.spawn("bob", GIVEN)[0] == 201
    assert (hub.state / "run/s/bob.default").is_dir()
    hub.stop("bob")
    wait_for(lambda: not (hub.state / "run/s/bob.default").exists())


async def test_a_port_of_the_gateways_leads_to_a_session_with_any_hub(records: Path) -> None:
    with running_hub(records, 'c.SessionNetwork.reach = "relay"') as hub:
        assert hub.spawn("eve", GIVEN)[0] == 201
        target = leads_to(hub, "eve")
        assert target.startswith("http://127.0.0.1:")
        first = gateway(hub)
        hub.kill()
        hub.start()
        wait_for(lambda: hub.serves("eve"))
        assert await hub.run_code("eve", "print('reached')") == "reached"
        assert leads_to(hub, "eve") == target, "the same port as before"
        await kill(first)
        hub.end()
        hub.start()
        wait_for(lambda: hub.serves("eve"))
        assert await hub.run_code("eve", "print('reached again')") == "reached again"
        assert leads_to(hub, "eve") == target
        await there_and_back(hub, "eve")


LOOKING = """
import json, os, socket, urllib.request, urllib.error
def ask(address):
    try:
        return urllib.request.urlopen(address, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__
"""
"""What a session's program needs to see which networks it has."""


async def test_through_the_filter_nothing_of_the_machine_is_reached_whatever_is_listed(records: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        listed = [f"localhost:{port}", f"127.0.0.1:{port}", "169.254.169.254"]
        more = f'c.SessionNetwork.outbound = "filter"; c.SessionNetwork.allowed_hosts = {listed}'
        with running_hub(records, more) as hub:
            assert hub.spawn("ida", GIVEN)[0] == 201
            addresses = [*(f"http://{host}/" for host in listed), "http://elsewhere.example/"]
            # What is its own does not go through the filter, unless somebody wants it to.
            code = f"""
os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""
print(*(ask(address) for address in {addresses}), [name for _, name in socket.if_nameindex()])
"""
            assert await hub.run_code("ida", LOOKING + code) == "403 403 403 403 ['lo']"
            assert label(hub, "ida") == "filter"


async def test_with_no_way_out_there_is_its_own_loopback_alone(records: Path) -> None:
    with running_hub(records, 'c.SessionNetwork.outbound = "none"') as hub:
        assert hub.spawn("uma", GIVEN)[0] == 201
        code = "print([name for _, name in socket.if_nameindex()], 'http_proxy' in os.environ, ask('http://93.184.216.34/'))"
        assert await hub.run_code("uma", LOOKING + code) == "['lo'] False URLError"
        assert label(hub, "uma") == "none"


def label(hub: RealHub, user: str) -> str:
    """Return what people are shown of their session's network."""
    status, text = hub.request("GET", f"/user/{user}/guix-session/state")
    assert status == 200, text
    return str(json.loads(text)["limits"]["network"])


async def test_the_machines_network_is_possible_and_called_what_it_is(records: Path) -> None:
    with running_hub(records, 'c.SessionNetwork.network = "host"') as hub:
        assert hub.spawn("ole", GIVEN)[0] == 201
        port = json.loads((hub.state / "hub/ports.json").read_text())["hub"]
        code = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {port})))"
        assert await hub.run_code("ole", code) == "0"
        assert "Sessions share the machine's network" in hub.log.read_text()
        assert label(hub, "ole") == "host"
