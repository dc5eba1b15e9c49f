"""Containers that ``guix shell --container`` makes, and that ours are the same from inside or stricter."""

import asyncio
import dataclasses
import getpass
import json
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Link, Mount, Network, PlacedFile, TemporaryFolder
from guix_environment.errors import ContainerFailure
from guix_environment.identifiers import StorePath
from guix_environment.processes import Account
from guix_environment.records import Records
from guix_environment.system_call_filter import compiled
from guixspawner.guix_shell import GuixShell, words
from guixspawner.launch import ColdLauncher, Launcher
from tests.spawner.built_records import built_records
from tests.spawner.conftest import ENVIRONMENT, PROFILE, VERSION

PROBE = """
import ctypes, json, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)

def outcome(call):
    try:
        call()
        return "done"
    except OSError as error:
        return error.errno

def raw(*words):
    def call():
        if libc.syscall(*words) < 0:
            raise OSError(ctypes.get_errno(), "")
    return call

def write(path):
    def call():
        with open(path, "w") as file:
            file.write("1")
    return call

first = next(name for name in sorted(os.listdir("/gnu/store")) if os.path.isdir("/gnu/store/" + name))
mounts = [line.split()[1:4] for line in open("/proc/mounts")]
print(json.dumps({
    "root": sorted(os.listdir("/")), "dev": sorted(os.listdir("/dev")), "etc": sorted(os.listdir("/etc")),
    "store": sorted(os.listdir("/gnu/store")), "home": sorted(set(os.listdir("/home/ada")) - {"seen"}),
    "mounts": {target: sorted(set(options.split(",")) & {"ro", "nosuid", "nodev"}) for target, _, options in mounts},
    "variables": dict(os.environ),
    "ids": [os.getuid(), os.getgid(), os.getgroups(), open("/proc/self/uid_map").read().split()],
    "name": __import__("pwd").getpwuid(os.getuid())[0], "working": os.getcwd(),
    "processes": sorted(name for name in os.listdir("/proc") if name.isdecimal() and name != str(os.getpid())),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapPrm", "CapEff"))],
    "refused": {
        "writing the root": outcome(write("/x")),
        "writing the store": outcome(write("/gnu/store/x")),
        "writing an item": outcome(write("/gnu/store/" + first + "/x")),
        "writing /sys": outcome(write("/sys/power/state")),
        "the machine's name": outcome(lambda: socket.sethostname("x")),
        "mounting": outcome(raw(165, b"none", b"/tmp", b"tmpfs", 0, None)),
        "unmounting": outcome(raw(166, b"/gnu/store/" + first.encode(), 2)),
        "remounting": outcome(raw(165, b"none", b"/", None, 0x1020, None)),
        "another's namespace": outcome(raw(308, os.open("/proc/1/ns/net", os.O_RDONLY), 0)),
        "a device": outcome(lambda: os.mknod("/tmp/device", 0o60600, os.makedev(254, 0))),
        "a user namespace": outcome(raw(272, 0x10000000)),
        "looking into processes": outcome(raw(101, 16, 1, 0, 0)),
        "bpf": outcome(raw(321, 0, b"\\\\0" * 64, 64)),
        "keys": outcome(raw(250, 0, -3, 1)),
        "userfaultfd": outcome(raw(323, 0)),
    },
}), flush=True)
while not os.path.exists("/home/ada/seen"):
    time.sleep(0.05)
"""

ALSO_REFUSED = {"a user namespace", "looking into processes", "keys", "userfaultfd"}
"""What a container of Guix's own may do, depending on the kernel's settings, and ours may not."""


class TestWords:
    """The command line, without anything run."""

    PLAN = ContainerPlan(
        store_items=(PROFILE,),
        command=(f"{PROFILE}/bin/tini", "--", "server"),
        directory="/home/ada",
        variables={"GREETING": "hello", "HOME": "/home/ada"},
        secrets={"TOKEN": "secret"},
        host_name="analysis",
        mounts=(Mount("/srv/ada", "/home/ada", writable=True), Mount("/srv/version", "/run/version")),
        links=(Link("/bin/sh", f"{PROFILE}/bin/bash"), Link("/usr/bin/env", f"{PROFILE}/bin/env")),
        files=(PlacedFile("/etc/passwd", b""), PlacedFile("/etc/profile", b"x")),
    )

    def test_the_command_of_a_plan(self) -> None:
        assert words("guix", PROFILE, "ada", self.PLAN, {"/etc/profile": "/tmp/1"}) == (
            *("guix", "shell", "--container", "--no-cwd", f"--profile={PROFILE}", "--user=ada"),
            *("--preserve=^GREETING$", "--preserve=^GUIX_SESSION_SECRETS$", f"--expose={PROFILE}"),
            *("--share=/srv/ada=/home/ada", "--expose=/srv/version=/run/version", "--expose=/tmp/1=/etc/profile"),
            *(f"--expose={PROFILE}/bin/env=/usr/bin/env", "--", f"{PROFILE}/bin/tini", "--", "server"),
        )

    def test_no_value_is_on_the_command_line(self) -> None:
        command = " ".join(words("guix", PROFILE, "ada", self.PLAN, {}))
        assert "hello" not in command
        assert "secret" not in command
        assert "TOKEN" not in command

    def test_the_machines_network_is_asked_for_by_name(self) -> None:
        plan = dataclasses.replace(self.PLAN, network=Network.HOST)
        assert "--network" in words("guix", PROFILE, "ada", plan, {})


@pytest.fixture(scope="module")
def records() -> Iterator[Records]:
    with built_records() as folder:
        yield Records(folder)


@pytest.fixture
def account() -> Account:
    """One that the machine knows, as Guix needs it."""
    if os.geteuid():
        entry = pwd.getpwnam(getpass.getuser())
    else:
        entry = next(one for one in pwd.getpwall() if 1000 <= one.pw_uid < 65534)
    return Account(entry.pw_uid, entry.pw_gid)


@pytest.fixture
def plan(records: Records, account: Account) -> Iterator[ContainerPlan]:
    """A container with the probe in it and a home, around the profile of the environment."""
    version, server = records.read_version(ENVIRONMENT, VERSION), records.read_server()
    with tempfile.TemporaryDirectory(prefix="guix-shell-tests-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        (home / "work.txt").write_text("mine")
        for path in (Path(folder), home):
            path.chmod(0o755)
        os.chown(home, account.uid, account.gid)
        yield ContainerPlan(
            store_items=tuple(dict.fromkeys((*version.closure, *server.closure))),
            command=(f"{version.profile}/bin/python3", "-I", "/run/probe.py"),
            directory="/home/ada",
            variables={str(name): value for name, value in version.variables.items()}
            | {"HOME": "/home/ada", "USER": "ada", "LOGNAME": "ada", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}
            | {"GREETING": "it's a\n“test”", "GUIX_ENVIRONMENT": str(version.profile)},
            host_name="analysis",
            mounts=(Mount(str(home), "/home/ada", writable=True),),
            temporary_folders=(TemporaryFolder("/tmp", 0o1777), TemporaryFolder("/run/user/1000", 0o700)),
            files=(
                PlacedFile("/run/probe.py", PROBE.encode()),
                PlacedFile("/etc/passwd", f"ada:x:1000:1000::/home/ada:{server.profile}/bin/bash\n".encode()),
                PlacedFile("/etc/group", b"ada:x:1000:\n"),
                PlacedFile("/etc/hosts", b"127.0.0.1 localhost\n"),
            ),
            links=(Link("/bin/sh", f"{server.profile}/bin/bash"),),
            filter=compiled(),
        )


async def probed(launcher: Launcher, plan: ContainerPlan, account: Account) -> dict[str, Any]:
    with tempfile.TemporaryFile() as log:
        waiting = await launcher.prepare(account, plan.network, log.fileno())
        first = await waiting.run(plan)
        # Who looks for a command's process finds it as long as that runs.
        [seen] = [Path(mount.source, "seen") for mount in plan.mounts if mount.target == "/home/ada"]
        await asyncio.to_thread(seen.touch)
        while process_identity.is_running(first):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(seen.unlink)
        log.seek(0)
        printed = log.read().decode()
    return dict(json.loads(printed.strip().rpartition("\n")[2]))


def shell(profile: StorePath) -> GuixShell:
    return GuixShell(
        profile, "ada", variables={name: os.environ[name] for name in ("PATH", "GUIX_DAEMON_SOCKET") if name in os.environ}
    )


@pytest.mark.guix
async def test_ours_is_guixs_container_from_inside(records: Records, plan: ContainerPlan, account: Account) -> None:
    profile = records.read_version(ENVIRONMENT, VERSION).profile
    # Guix puts the profile's search paths before what it is handed of the same names.
    for_guix = dataclasses.replace(plan, variables={name: plan.variables[name] for name in ("GREETING", "HOME", "LANG")})
    guix, ours = await probed(shell(profile), for_guix, account), await probed(ColdLauncher(), plan, account)

    # Files: everything of Guix's, and of the store the same, for what Guix adds is its own shell.
    assert set(guix["root"]) - set(ours["root"]) == set()
    assert set(ours["root"]) - set(guix["root"]) == set()
    assert set(guix["dev"]) - set(ours["dev"]) <= {"fuse", "console"}
    assert set(ours["dev"]) - set(guix["dev"]) == set()
    assert ours["etc"] == guix["etc"]
    assert set(ours["store"]) <= set(guix["store"])
    assert all("bash" in name or "runtime" in name for name in set(guix["store"]) - set(ours["store"]))
    assert ours["home"] == guix["home"] == ["work.txt"]
    # Mounts: each item is closed to writing, in both.
    items = [target for target in guix["mounts"] if target.startswith("/gnu/store/")]
    assert all("ro" in guix["mounts"][target] for target in items)
    assert all("ro" in ours["mounts"].get(target, ours["mounts"]["/gnu/store"]) for target in items)
    assert {"/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/tmp", "/run/user/1000"} <= set(ours["mounts"])
    assert "ro" in ours["mounts"]["/"]
    # Variables: the same, but for other names of the temporary folder.
    assert {name: ours["variables"].get(name) for name in ours["variables"]} == {
        name: guix["variables"].get(name) for name in ours["variables"]
    }
    assert set(guix["variables"]) - set(ours["variables"]) <= {
        "PWD",
        "TEMP",
        "TEMPDIR",
        "TMP",
        "PS1",
        "SHLVL",
        "_",
        "LC_CTYPE",
    }
    # Numbers, network and rights: the same.
    for what in ("ids", "name", "working", "interfaces", "capabilities"):
        assert ours[what] == guix[what], what
    assert ours["processes"] == guix["processes"] == []
    # What Guix's refuses, ours refuses; and more.
    done = {what for what, outcome in ours["refused"].items() if outcome == "done"}
    assert done == set()
    assert {what for what, outcome in guix["refused"].items() if outcome == "done"} <= ALSO_REFUSED


@pytest.mark.guix
async def test_guix_gets_a_home_that_it_leaves_nothing_in(records: Records, plan: ContainerPlan, account: Account) -> None:
    before = set(Path(tempfile.gettempdir()).glob("guix-session-*"))
    profile = records.read_version(ENVIRONMENT, VERSION).profile
    await probed(shell(profile), plan, account)
    assert set(Path(tempfile.gettempdir()).glob("guix-session-*")) == before


@pytest.mark.guix
async def test_what_guix_cannot_make_is_told(plan: ContainerPlan, account: Account) -> None:
    with tempfile.TemporaryFile() as log:
        waiting = await shell(PROFILE).prepare(account, plan.network, log.fileno())
        with pytest.raises(ContainerFailure, match="Guix could not make"):
            await waiting.run(plan)
        assert not process_identity.is_running(waiting.first)


async def test_guix_never_runs_as_root() -> None:
    with tempfile.TemporaryFile() as log, pytest.raises(ContainerFailure) as refused:
        await shell(PROFILE).prepare(Account(0, 0), Network.OWN, log.fileno())
    assert refused.value.details["reason"] == "no session runs as root"
