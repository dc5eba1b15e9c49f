"""What a hostile session tries from within, on the real hub, proxy and Guix, and gets nothing of.

Two people's sessions run beside each other. One of them is the attacker, in a kernel; the other has what is worth having,
and so has the machine.
"""

import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator

import pytest

from guix_environment.process_identity import is_running
from guix_environment.system_call_filter import ABSENT, REFUSED
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.memory import token_of
from tests.spawner.real_hub import RealHub, built_records, first_process, running_hub

pytestmark = [pytest.mark.guix, pytest.mark.hub]

GIVEN = {"environment": ENVIRONMENT, "memory": "1G"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs sessions under other numbers, and sees into them")
CANARY = f"canary-{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def hub() -> Iterator[RealHub]:
    """A hub with two people's sessions, each of a gigabyte."""
    with built_records() as records, running_hub(records) as hub:
        for user in ("mallory", "victim"):
            status, text = hub.spawn(user, GIVEN)
            assert status == 201, text + hub.session_log(user)
        (hub.state / "homes/victim/secret.txt").write_text(CANARY)
        yield hub


async def attack(hub: RealHub, code: str) -> str:
    """Return what the attacker's kernel printed for CODE."""
    return await hub.run_code("mallory", code)


async def test_other_peoples_files_are_not_there(hub: RealHub) -> None:
    search = """
import os
found = []
for folder, folders, files in os.walk('/'):
    if folder.startswith(('/proc', '/sys', '/gnu')):
        folders.clear()
        continue
    found += [os.path.join(folder, name) for name in files + folders if 'victim' in name or name == 'secret.txt']
print(found, os.listdir('/home'))
"""
    assert await attack(hub, search) == "[] ['mallory']"
    ways = (
        f"{hub.state}/homes/victim/secret.txt",
        "/home/victim/secret.txt",
        "/home/mallory/../victim/secret.txt",
        "/proc/1/root/home/victim/secret.txt",
        f"/proc/1/root{hub.state}/homes/victim/secret.txt",
        f"/proc/1/cwd/../../..{hub.state}/homes/victim/secret.txt",
    )
    for way in ways:
        assert (await attack(hub, f"open({way!r})")).startswith("FileNotFoundError"), way


async def test_a_link_out_of_the_home_leads_nowhere(hub: RealHub) -> None:
    code = f"""
import os
for target in ({str(hub.state)!r}, '/etc/shadow', '/var/guix', '/root', '/run/guix-environment/gateway/../../../etc/shadow'):
    link = '/home/mallory/link'
    os.symlink(target, link)
    print(os.path.exists(link), end=' ')
    os.unlink(link)
"""
    assert (await attack(hub, code)).split() == ["False"] * 5


async def test_the_machines_own_files_are_not_there(hub: RealHub) -> None:
    code = """
import os
for path in ('/var/guix', '/var/guix/daemon-socket/socket', '/etc/shadow', '/root', '/boot', '/var/log', '/run/systemd',
             '/dev/vda', '/dev/sda', '/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/fuse', '/dev/net/tun', '/dev/loop0'):
    print(os.path.exists(path), end=' ')
"""
    assert set((await attack(hub, code)).split()) == {"False"}


async def test_no_process_but_its_own_is_there(hub: RealHub) -> None:
    code = """
import os
for number in filter(str.isdecimal, os.listdir('/proc')):
    try:
        words = open(f'/proc/{number}/cmdline').read().replace('\\0', ' ')
        variables = open(f'/proc/{number}/environ').read()
    except OSError:
        words = variables = ''
    assert 'victim' not in words + variables, (number, words)
print('looked at', len(os.listdir('/proc')) > 10)
"""
    assert await attack(hub, code) == "looked at True"
    for user in ("victim", "mallory"):
        number = first_process(hub, user).pid
        outcome = await attack(hub, f"import os; os.kill({number}, 9)")
        assert outcome.startswith("ProcessLookupError"), "its number is another one inside, if any"
    assert is_running(first_process(hub, "victim"))


async def test_its_first_process_cannot_be_ended_from_within(hub: RealHub) -> None:
    await attack(hub, "import os; os.kill(1, 9); os.kill(1, 19)")
    assert await attack(hub, "print('still here')") == "still here"
    assert is_running(first_process(hub, "mallory"))


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
import os, stat
found = []
for folder, folders, files in os.walk('/'):
    if folder.startswith(('/proc', '/sys', '/gnu')):
        folders.clear()
        continue
    found += [os.path.join(folder, name) for name in files if stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode)]
print(sorted(name for name in found if not name.startswith(('/tmp', '/run/user'))))
"""
    allowed = {"/run/guix-environment/gateway/hub.sock", "/run/guix-environment/gateway/filter.sock"}
    found = set(json.loads((await attack(hub, code)).replace("'", '"')))
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


@pytest.mark.parametrize(
    "number_and_name",
    [
        (165, "mount"),
        (308, "setns"),
        (101, "ptrace"),
        (250, "keyctl"),
        (321, "bpf"),
        (272, "unshare"),
        (310, "process_vm_readv"),
        (323, "userfaultfd"),
        (298, "perf_event_open"),
    ],
)
async def test_system_calls_that_lead_out_are_refused(hub: RealHub, number_and_name: tuple[int, str]) -> None:
    number, name = number_and_name
    assert name in REFUSED | ABSENT
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({number}, 0, 0, 0, 0, 0), ctypes.get_errno())
"""
    assert await attack(hub, code) == "-1 1", name


async def test_devices_cannot_be_made(hub: RealHub) -> None:
    assert (await attack(hub, "import os; os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))")).startswith("PermissionError")


async def test_nothing_of_the_kernels_can_be_written(hub: RealHub) -> None:
    code = """
import os
written = []
def attempt(name, content):
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(descriptor, content)
            written.append(name)
        finally:
            os.close(descriptor)
    except OSError:
        pass
for top in ('/proc/sys', '/sys', '/proc/bus', '/proc/irq', '/proc/acpi', '/proc/fs'):
    for folder, _, files in os.walk(top):
        for name in files:
            attempt(os.path.join(folder, name), b'')
for name in ("/proc/sys/kernel/ns_last_pid", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger", "/proc/kcore",
             "/proc/kmsg"):
    attempt(name, b'1')
print(written)
"""
    # The one may be opened, and takes nothing: written with no content, and refused with some.
    assert await attack(hub, code) in {"[]", "['/proc/sys/kernel/ns_last_pid']"}
    written = "import os; os.write(os.open('/proc/sys/kernel/ns_last_pid', os.O_WRONLY), b'1')"
    assert (await attack(hub, written)).startswith("PermissionError")


@as_root
async def test_the_servers_memory_and_secrets_are_closed_to_its_own_kernels(hub: RealHub) -> None:
    token = token_of(first_process(hub, "mallory"))
    code = f"""
import os
opened, seen = [], False
for number in filter(str.isdecimal, os.listdir('/proc')):
    if int(number) == os.getpid():
        continue
    for name in ('environ', 'mem', 'maps', 'fd/0'):
        try:
            with open(f'/proc/{{number}}/{{name}}', 'rb') as file:
                seen = seen or (name == 'environ' and {token[:8]!r}.encode() in file.read())
                opened.append((int(number), name))
        except OSError:
            pass
with open('/proc/self/environ', 'rb') as file:
    seen = seen or {token[:8]!r}.encode() in file.read()
servers = [n for n in os.listdir('/proc') if n.isdecimal() and b'guix_session' in open(f'/proc/{{n}}/cmdline', 'rb').read()
           and b'tini' not in open(f'/proc/{{n}}/cmdline', 'rb').read()]
print(seen, [number for number, _ in opened if str(number) in servers], len(servers))
"""
    assert await attack(hub, code) == "False [] 1"


async def test_the_store_and_the_installations_part_cannot_be_written(hub: RealHub) -> None:
    code = """
import os
ours = '/run/guix-environment'
tops = ['/', '/etc', '/dev', '/gnu/store', ours, os.path.dirname(os.path.realpath('/bin/sh'))]
tops += [f'{ours}/{name}' for name in ('session', 'version', 'gateway', 'repository.git')]
for top in tops:
    try:
        open(os.path.join(top, 'x'), 'w')
        print('written', top)
    except OSError as error:
        print(error.errno in (13, 30), end=' ')
for file in ('/etc/passwd', '/run/guix-environment/session/shell.sh', os.path.realpath('/bin/sh')):
    moved = lambda: os.rename(file, file + 'x')
    for action in (lambda: open(file, 'a'), lambda: os.chmod(file, 0o777), lambda: os.unlink(file), moved):
        try:
            action()
            print('changed', file)
        except OSError:
            pass
"""
    assert set((await attack(hub, code)).split()) == {"True"}


async def test_a_setuid_program_gives_no_rights(hub: RealHub) -> None:
    code = """
import os, shutil, subprocess
shutil.copy(os.popen('command -v id').read().strip(), '/home/mallory/id')
os.chmod('/home/mallory/id', 0o6755)
print(subprocess.run(['/home/mallory/id', '-u'], capture_output=True, text=True).stdout.strip(), end=' ')
print([line.split()[1] for line in open('/proc/self/status') if line.startswith('NoNewPrivs')])
os.unlink('/home/mallory/id')
"""
    assert await attack(hub, code) == "1000 ['1']"


@as_root
async def test_what_it_makes_is_its_persons_outside(hub: RealHub) -> None:
    await attack(hub, "open('/home/mallory/mine.txt', 'w').write('x')")
    made = (hub.state / "homes/mallory/mine.txt").stat()
    assert made.st_uid == (hub.state / "homes/mallory").stat().st_uid
    assert made.st_uid not in {0, (hub.state / "homes/victim").stat().st_uid}


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/var/tmp", "/run/user/1000"])
async def test_folders_in_memory_are_bounded(hub: RealHub, folder: str) -> None:
    code = f"""
import os
try:
    with open({folder + "/fill"!r}, 'wb') as file:
        for _ in range(1100):
            file.write(bytes(2**20))
            file.flush()
    print('filled')
except OSError as error:
    print(error.errno)
finally:
    os.unlink({folder + "/fill"!r})
"""
    assert await attack(hub, code) == "28", "full (ENOSPC), before the session's memory is used up"
    assert await hub.run_code("victim", "print(1)") == "1"


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
