"""What a hostile session finds of files: its person's, and nothing of other people's or of the machine's."""

import pytest

from tests.spawner.attacks.attacker import EVERYTHING, as_root, attack
from tests.spawner.real_hub import RealHub

pytestmark = [pytest.mark.guix, pytest.mark.hub]


async def test_other_peoples_files_are_not_there(hub: RealHub) -> None:
    search = """
found = [path for path in everything() if 'victim' in os.path.basename(path) or path.endswith('/secret.txt')]
print(found, os.listdir('/home'))
"""
    assert await attack(hub, EVERYTHING + search) == "[] ['mallory']"
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
