"""What a hostile session gets from the kernel: no process but its own, no rights, and no way out by a system call."""

import pytest

from guix_environment.process_identity import is_running
from guix_environment.system_call_filter import ABSENT, REFUSED
from tests.spawner.attacks.attacker import as_root, attack
from tests.spawner.memory import token_of
from tests.spawner.real_hub import RealHub, first_process

pytestmark = [pytest.mark.guix, pytest.mark.hub]


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
