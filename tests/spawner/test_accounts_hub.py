"""Real hubs whose sessions run as somebody: the hub's own account, people's Unix accounts, subordinate numbers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guix_environment.process_identity import is_running
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT
from tests.spawner.private_etc import as_root, entering, private_etc
from tests.spawner.real_hub import RealHub, first_process, running_hub, wait_for

pytestmark = [pytest.mark.guix, pytest.mark.hub, pytest.mark.timeout(1800), as_root]

GIVEN = {"environment": ENVIRONMENT}
HUB = 61990
"""The number of the hub's account, which the tests' own ``/etc`` knows alone."""
NAME = f"guix-hub-{os.getpid()}"

needs_uidmap = pytest.mark.skipif(shutil.which("newuidmap") is None, reason="needs the package uidmap")


@pytest.fixture(scope="module")
def records() -> Iterator[Path]:
    with built_records() as folder:
        yield folder


@contextmanager
def hub_of_an_account(records: Path, more: str) -> Iterator[RealHub]:
    """Yield a hub that has no rights but those of an account, and subordinate numbers for three people."""
    roots = Path("/var/guix/profiles/per-user") / NAME
    with private_etc("hub-account") as world:
        (world / "passwd.more").write_text(f"{NAME}:x:{HUB}:{HUB}::/nonexistent:/bin/false\n")
        (world / "group.more").write_text(f"{NAME}:x:{HUB}:\n")
        (world / "subuid.more").write_text(f"{NAME}:200000:3\n")
        (world / "subgid.more").write_text(f"{NAME}:300000:3\n")
        roots.mkdir()
        os.chown(roots, HUB, HUB)
        become = ("setpriv", f"--reuid={HUB}", f"--regid={HUB}", "--clear-groups")
        before = ("env", f"FOLDER={world}", "HOME=/nonexistent", f"USER={NAME}", *entering(), *become)
        try:
            with running_hub(records, more, before=before, owner=HUB) as hub:
                yield hub
        finally:
            shutil.rmtree(roots)


def number(hub: RealHub, name: str) -> int:
    """Return under which number of the machine's the session of NAME runs."""
    return Path(f"/proc/{first_process(hub, name).pid}").stat().st_uid


def refused_to(uid: int, path: Path) -> bool:
    """Tell whether the machine, outside of every container, keeps UID from listing PATH."""
    done = subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "ls", path], capture_output=True)
    return b"Permission denied" in done.stderr


async def homes_are_apart(hub: RealHub, one: str, other: str) -> None:
    """Fail unless the session of ONE sees its own home, and nothing of that of OTHER by any path."""
    assert await hub.run_code(one, f"open('/home/{one}/mine', 'w').write('of {one}'); print('written')") == "written"
    assert await hub.run_code(other, "import os; print(os.listdir('/home'))") == f"['{other}']"
    for path in (f"/home/{one}/mine", str(hub.state / "homes" / one / "mine")):
        assert (await hub.run_code(other, f"open('{path}')")).startswith(("FileNotFoundError", "PermissionError"))


def ends(hub: RealHub, *names: str) -> None:
    """Fail unless the sessions of NAMES are found by a hub that was killed, and end when they are stopped."""
    found = {name: first_process(hub, name) for name in names}
    hub.kill()
    hub.start()
    for name in names:
        wait_for(lambda name=name: hub.serves(name))
        assert first_process(hub, name) == found[name]
        hub.stop(name)
        assert not is_running(found[name])


async def test_a_hub_without_rights_runs_everybodys_sessions_as_itself(records: Path) -> None:
    with hub_of_an_account(records, "") as hub:
        for name in ("ada", "bob"):
            assert hub.spawn(name, GIVEN)[0] == 201, hub.log.read_text()
            assert number(hub, name) == HUB
        await homes_are_apart(hub, "ada", "bob")
        home = (hub.state / "homes/ada").stat()
        assert (home.st_uid, home.st_mode & 0o777) == (HUB, 0o700)
        ends(hub, "ada", "bob")


@needs_uidmap
async def test_a_hub_without_rights_gives_people_subordinate_numbers(records: Path) -> None:
    with hub_of_an_account(records, 'c.SessionAccounts.accounts = "subordinate"') as hub:
        for name, uid in (("ada", 200000), ("bob", 200001)):
            assert hub.spawn(name, GIVEN)[0] == 201, hub.log.read_text()
            assert number(hub, name) == uid
            home = (hub.state / "homes" / name).stat()
            assert (home.st_uid, home.st_gid, home.st_mode & 0o777) == (uid, uid + 100000, 0o700)
        await homes_are_apart(hub, "ada", "bob")
        assert (hub.state / "homes/ada/mine").stat().st_uid == 200000
        assert refused_to(200001, hub.state / "homes/ada")
        assert refused_to(HUB, hub.state / "homes/ada")
        assert not refused_to(200000, hub.state / "homes/ada")
        ends(hub, "ada", "bob")


async def test_a_hub_that_is_root_runs_sessions_as_peoples_own_accounts(records: Path) -> None:
    with private_etc("unix-hub") as world:
        for name, uid in (("ada", 61998), ("bob", 61997)):
            with (world / "passwd.more").open("a") as accounts:
                accounts.write(f"test-{name}:x:{uid}:{uid}::{world}/{name}:/bin/sh\n")
            (world / name).mkdir(mode=0o700)
            os.chown(world / name, uid, uid)
        more = 'c.SessionAccounts.accounts = "unix"; c.SessionAccounts.account_template = "test-{name}"'
        with running_hub(records, more, before=("env", f"FOLDER={world}", *entering())) as hub:
            for name, uid in (("ada", 61998), ("bob", 61997)):
                assert hub.spawn(name, GIVEN)[0] == 201, hub.log.read_text()
                assert number(hub, name) == uid
            assert await hub.run_code("ada", "open('/home/test-ada/mine', 'w').close(); print(1)") == "1"
            assert (world / "ada/mine").stat().st_uid == 61998
            assert await hub.run_code("bob", "import os; print(os.listdir('/home'))") == "['test-bob']"
            assert (await hub.run_code("bob", f"open('{world}/ada/mine')")).startswith("FileNotFoundError")
            assert refused_to(61997, world / "ada")
            status, _ = hub.spawn("nobody-here", GIVEN)
            assert status >= 400
            ends(hub, "ada", "bob")
