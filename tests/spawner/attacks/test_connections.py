"""Whom a hostile session can talk to: the hub's API with a token of its own, and nobody else on the machine."""

import json
import secrets
import socket
import threading

import pytest

from tests.spawner.attacks.attacker import EVERYTHING, as_root, attack
from tests.spawner.memory import token_of
from tests.spawner.real_hub import RealHub, first_process

pytestmark = [pytest.mark.guix, pytest.mark.hub]


async def test_no_port_of_the_machine_is_reached(hub: RealHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("0.0.0.0", 0)) as two:
        open_there = [hub.port, one.getsockname()[1], two.getsockname()[1]]
        open_there += json.loads((hub.state / "hub/ports.json").read_text()).values()
        code = f"""
import socket
reached = []
for port in {open_there}:
    for address in ('127.0.0.1', '127.0.0.2', '127.1.2.3', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', socket.gethostname()):
        try:
            socket.create_connection((address, port), 2).close()
            reached.append((address, port))
        except OSError:
            pass
print(reached)
"""
        assert await attack(hub, code) == "[]"


async def test_every_port_of_its_loopback_is_its_own(hub: RealHub) -> None:
    code = """
import os, socket
listening = {int(line.split()[1].rpartition(':')[2], 16) for file in ('tcp', 'tcp6')
             for line in open(f'/proc/net/{file}').readlines()[1:] if line.split()[3] == '0A'}
reached = set()
for port in range(1, 65536):
    with socket.socket() as attempt:
        if attempt.connect_ex(('127.0.0.1', port)) == 0 and attempt.getpeername() != attempt.getsockname():
            reached.add(port)
print(sorted(reached - listening))
"""
    assert await attack(hub, code) == "[]"


async def test_abstract_sockets_of_the_machine_are_not_reached(hub: RealHub) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"guix-attack-{secrets.token_hex(4)}"
        listener.bind(f"\0{name}")
        listener.listen()
        code = f"""
import socket
print(socket.socket(socket.AF_UNIX).connect_ex('\\0{name}'), {name!r} in open('/proc/net/unix').read())
"""
        assert await attack(hub, code) == "111 False"


async def test_the_sockets_that_it_sees_are_its_own_and_the_gateways(hub: RealHub) -> None:
    code = """
import stat
found = [path for path in everything() if not path.startswith(('/tmp', '/run/user'))]
print([path for path in found if stat.S_ISSOCK(os.lstat(path).st_mode)])
"""
    allowed = {"/run/guix-environment/gateway/hub.sock", "/run/guix-environment/gateway/filter.sock"}
    found = set(json.loads((await attack(hub, EVERYTHING + code)).replace("'", '"')))
    assert found - allowed <= {"/run/guix-environment/sockets/server.sock"}


HUB = """
import socket

def asked(*lines):
    with socket.socket(socket.AF_UNIX) as gateway:
        gateway.settimeout(30)
        gateway.connect('/run/guix-environment/gateway/hub.sock')
        gateway.sendall('\\r\\n'.join([*lines, 'Host: hub', 'Connection: close', '', '']).encode())
        answer = b''
        while block := gateway.recv(65536):
            answer += block
    return answer.split(b' ')[1].decode() if answer else 'closed'
"""


async def test_of_the_hub_only_its_api_is_reached(hub: RealHub) -> None:
    assert await attack(hub, HUB + "print(asked('GET /hub/api/ HTTP/1.1'))") == "200"
    for line in (
        "GET /hub/home HTTP/1.1",
        "GET /hub/login HTTP/1.1",
        "GET / HTTP/1.1",
        "GET /hub/api/../login HTTP/1.1",
        "GET /hub/api/%2e%2e/login HTTP/1.1",
        "GET /hub/api/..%2flogin HTTP/1.1",
        "GET //hub/login HTTP/1.1",
        "GET /user/victim/api/contents HTTP/1.1",
        "GET /services/guix/ HTTP/1.1",
        "GET http://127.0.0.1/hub/login HTTP/1.1",
        f"CONNECT 127.0.0.1:{hub.port} HTTP/1.1",
    ):
        outcome = await attack(hub, HUB + f"print(asked({line!r}))")
        assert outcome == "closed" or outcome.startswith("4"), (line, outcome)


@as_root
async def test_its_token_does_nothing_but_its_own(hub: RealHub) -> None:
    token = token_of(first_process(hub, "mallory"))
    for method, path in (
        ("GET", "/hub/api/users"),
        ("GET", "/hub/api/users/victim"),
        ("DELETE", "/hub/api/users/victim/server"),
        ("POST", "/hub/api/users/victim/server"),
        ("GET", "/hub/api/proxy"),
        ("POST", "/hub/api/shutdown"),
        ("GET", "/user/victim/api/contents"),
    ):
        status, _ = hub.request(method, path, headers={"Authorization": f"token {token}"})
        assert status in {403, 404}, (path, status)


async def test_its_socket_cannot_be_made_another_programs(hub: RealHub) -> None:
    """The server's socket is replaced by a link to the gateway's control socket, and the hub is not led there."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as trap:
        place = hub.state / "homes/mallory/trap.sock"
        trap.bind(str(place))
        place.chmod(0o777)
        trap.listen()
        trap.settimeout(3)

        def accept() -> None:
            try:
                connection, _ = trap.accept()
                received.append(connection.recv(100))
            except OSError:
                return

        waiting = threading.Thread(target=accept)
        waiting.start()
        code = """
import os
os.rename('/run/guix-environment/sockets/server.sock', '/run/guix-environment/sockets/real.sock')
os.symlink('/home/mallory/trap.sock', '/run/guix-environment/sockets/server.sock')
print('moved')
"""
        outcome = await attack(hub, code)
        hub.request("GET", "/user/mallory/api/status")
        waiting.join()
        back = """
import os
if os.path.islink('/run/guix-environment/sockets/server.sock'):
    os.unlink('/run/guix-environment/sockets/server.sock')
    os.rename('/run/guix-environment/sockets/real.sock', '/run/guix-environment/sockets/server.sock')
"""
        await attack(hub, back)
    assert received == []
    assert outcome == "moved" or "Error" in outcome
