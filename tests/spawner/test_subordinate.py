"""Numbers from ``/etc/subuid``: as text, and given away by a hub that has no right but those."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from guix_environment.processes import Account
from guixspawner.accounts.subordinate import Mapped, Ranges, mapping_commands, parse_ranges
from tests.spawner.private_etc import private_etc, run_python

needs_uidmap = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("newuidmap") is None, reason="needs root, to be somebody else, and the package uidmap"
)

SUBUID = """# people
hub:200000:1000
other:300000:65536
1234:400000:10
hub:500000:2000
hub:x:1
hub:0:65536
hub:999:5
hub:600000:0
hub:600000
"""


def test_only_the_accounts_own_ranges_count() -> None:
    assert parse_ranges(SUBUID, "hub", 1234) == (range(200000, 201000), range(400000, 400010), range(500000, 502000))
    assert parse_ranges(SUBUID, "nobody", 65534) == ()


def test_the_numbers_of_the_machines_own_accounts_are_never_given_away() -> None:
    assert parse_ranges("hub:0:100000\nhub:1:1\nhub:1000:1", "hub", 1) == ()


def test_the_largest_ranges_are_paired() -> None:
    ranges = Ranges((range(10), range(2000, 2100)), (range(5000, 5050),))
    assert ranges.pair == (range(2000, 2050), range(5000, 5050))
    assert ranges.usable
    assert not Ranges((range(10),), ()).usable


def test_only_what_lies_in_both_ranges_is_a_persons() -> None:
    ranges = Ranges((range(2000, 2100),), (range(5000, 5100),))
    assert ranges.holds(Account(2001, 5050))
    assert not ranges.holds(Account(2001, 2001))
    assert not ranges.holds(Account(0, 5001))


def test_the_commands_map_each_number_alone() -> None:
    users, groups = [Mapped(0, 1234), Mapped(1, 200000)], [Mapped(1000, 300000)]
    assert mapping_commands(("/bin/u", "/bin/g"), 7, users, groups) == (
        ["/bin/u", "7", "0", "1234", "1", "1", "200000", "1"],
        ["/bin/g", "7", "1000", "300000", "1"],
    )


HUB = 61990
"""The number of a hub's account, which only the private mount namespace of these tests knows."""

BEGINNING = """
import asyncio, os, sys
from pathlib import Path
from traitlets.config import Config
from guix_environment import process_identity, processes
from guix_environment.errors import SessionFailure
from guixspawner.accounts import SessionAccounts
from guixspawner.accounts.subordinate import map_identifiers

homes = Path(os.environ["HOMES"])
settings = SessionAccounts(config=Config(SessionAccounts={"accounts": "subordinate"}))

def person(name):
    return asyncio.run(settings.person(name, homes))

def tell(name):
    try:
        print(person(name).account)
    except SessionFailure as failure:
        print(failure, failure.details)
"""


@pytest.fixture
def world() -> Iterator[Path]:
    """A folder with what ``/etc`` says of the hub's account, and the hub's own folder of homes."""
    with private_etc("subordinate") as world:
        (world / "homes").mkdir(mode=0o711)
        os.chown(world / "homes", HUB, HUB)
        (world / "passwd.more").write_text(f"guix-hub-test:x:{HUB}:{HUB}::/nonexistent:/bin/false\n")
        (world / "group.more").write_text(f"guix-hub-test:x:{HUB}:\n")
        (world / "subuid.more").write_text("guix-hub-test:200000:3\n")
        (world / "subgid.more").write_text("guix-hub-test:300000:3\n")
        yield world


def as_hub(world: Path, program: str) -> str:
    """Return what the Python PROGRAM prints, run by the hub's account in the world of the tests."""
    become = ["setpriv", f"--reuid={HUB}", f"--regid={HUB}", "--clear-groups"]
    done = run_python(world, BEGINNING + program, {"HOMES": str(world / "homes")}, become)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_uidmap
def test_each_person_gets_a_number_and_keeps_it(world: Path) -> None:
    printed = as_hub(world, "for name in ('ada', 'bob', 'ada'): print(person(name).account)")
    ada, bob = [f"Account(uid={200000 + n}, gid={300000 + n}, groups=(), subordinate=True)" for n in (0, 1)]
    assert printed.splitlines() == [ada, bob, ada]
    status = (world / "homes" / "bob").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (200001, 300001, 0o700)
    assert not list((world / "homes").glob(".new-*"))


@needs_uidmap
def test_two_servers_of_one_person_that_start_together_have_one_home(world: Path) -> None:
    printed = as_hub(
        world,
        "async def both(): return await asyncio.gather(*[settings.person('ada', homes) for _ in range(5)])\n"
        "print(len(set(asyncio.run(both()))))",
    )
    assert printed.strip() == "1"


@needs_uidmap
def test_no_number_is_given_twice_and_the_last_one_is_the_last(world: Path) -> None:
    as_hub(world, "[person(name) for name in ('ada', 'bob')]")
    shutil.rmtree(world / "homes" / "bob")
    assert "uid=200002" in as_hub(world, "tell('cyd')")
    assert "no room for another person" in as_hub(world, "tell('dan')")
    assert not (world / "homes" / "dan").exists()


@needs_uidmap
@pytest.mark.parametrize("owner", [0, 33, HUB, 100000])
def test_a_home_of_somebody_else_is_refused(world: Path, owner: int) -> None:
    (world / "homes" / "ada").mkdir()
    os.chown(world / "homes" / "ada", owner, owner)
    assert "belongs to another account" in as_hub(world, "tell('ada')")


@needs_uidmap
def test_without_numbers_there_is_no_session(world: Path) -> None:
    (world / "subgid.more").unlink()
    assert "no numbers that it could give" in as_hub(world, "tell('ada')")


@needs_uidmap
def test_what_the_machine_refuses_is_told_and_leaves_no_home(world: Path) -> None:
    # The hub believes that it has numbers which `newuidmap` does not know of.
    program = """
from guixspawner.accounts.subordinate import Ranges
SessionAccounts._ranges = staticmethod(lambda: Ranges((range(700000, 700010),), (range(700000, 700010),)))
tell('ada')
print([path.name for path in homes.iterdir() if not path.name.startswith('.highest')])
"""
    printed = as_hub(world, program)
    assert "does not let sessions run under numbers of their own" in printed
    assert "newuidmap" in printed
    assert printed.splitlines()[-1] == "[]"


BECOME = """
async def become(name):
    someone = await settings.person(name, homes)
    code = '''
import ctypes, os, sys
ctypes.CDLL(None).unshare(0x10000000)
print("waiting", flush=True)
sys.stdin.readline()
os.setgroups([])
os.setresgid(1000, 1000, 1000)
os.setresuid(1000, 1000, 1000)
for path in sys.argv[1:]:
    try:
        print(os.listdir(path))
    except OSError as error:
        print(error.strerror)
open(sys.argv[1] + "/mine", "w").close()
print(os.getuid(), os.getgid(), os.getgroups())
'''
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(homes / "ada"), str(homes / "bob"), stdin=-1, stdout=-1
    )
    await child.stdout.readline()
    await map_identifiers(process_identity.identify(child.pid), someone.account)
    print((await child.communicate(b"go\\n"))[0].decode())

person("bob")
asyncio.run(become("ada"))
"""


@needs_uidmap
def test_a_waiting_process_becomes_the_person_and_reads_nobody_elses_home(world: Path) -> None:
    assert as_hub(world, BECOME).split("\n")[:3] == ["[]", "Permission denied", "1000 1000 []"]
    assert (world / "homes" / "ada" / "mine").stat().st_uid == 200001


@needs_uidmap
def test_a_process_that_ended_is_not_mapped(world: Path) -> None:
    program = """
async def late():
    someone = await settings.person("ada", homes)
    child = await asyncio.create_subprocess_exec("sleep", "60")
    process = process_identity.identify(child.pid)
    child.kill()
    await child.wait()
    try:
        await map_identifiers(process, someone.account)
    except SessionFailure as failure:
        print(failure)
asyncio.run(late())
"""
    assert "could not be made" in as_hub(world, program)
