"""Containers of the machine's own programs, made by the launcher, and who listens where."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from guix_environment import process_identity
from guix_environment.container import ContainerPlan, Mount, Network, PlacedFile, TemporaryFolder, division
from guix_environment.errors import ContainerFailure
from guix_environment.launcher import messages, requests
from guix_environment.launcher_program import PROGRAM
from guix_environment.processes import Account
from guix_environment.system_call_filter import compiled
from guixspawner.launch import ColdLauncher
from tests.containers import ACCOUNT, printed_in, processes_with, processes_writing_to, started
from tests.spawner.conftest import PROFILE


def plan(*command: str, network: Network = Network.OWN, **variables: str) -> ContainerPlan:
    """Return a container that sees the machine's programs in the place of a profile's."""
    seen = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
    return ContainerPlan(
        store_items=(),
        command=command,
        directory="/tmp",
        variables={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SECRET": "known inside", **variables},
        host_name="analysis",
        network=network,
        mounts=tuple(Mount(folder, folder, optional=True) for folder in seen),
        temporary_folders=(TemporaryFolder("/own", 0o700, 2**19),),
        files=(PlacedFile("/etc/one", b"1" * 100000), PlacedFile("/etc/two", b"two\n", 0o555)),
        shared_memory=2**20,
        sharing=("/tmp", "/shared"),
        filter=compiled(),
    )


async def shell(script: str, network: Network = Network.OWN) -> str:
    """Return what SCRIPT prints in a container."""
    return await printed_in(plan("/bin/sh", "-c", script, network=network))


async def python(script: str) -> str:
    """Return what the machine's own Python prints for SCRIPT in a container, or its last line of complaint."""
    printed = await printed_in(plan("/usr/bin/python3", "-I", "-c", script))
    return printed.strip().rpartition("\n")[2]


async def test_what_was_planned_is_there() -> None:
    script = (
        "wc -c </etc/one; cat /etc/two; stat -c %a /etc/one /etc/two; echo $SECRET; hostname; echo $$; id -u; umask; pwd"
    )
    assert (await shell(script)).splitlines() == [
        *("100000", "two", "444", "555", "known inside", "analysis", "1", "1000", "0022", "/tmp")
    ]


async def test_nothing_but_what_was_planned_is_there() -> None:
    listed = (await shell("ls -A / /etc /dev; ls -A /gnu/store | wc -l")).split()
    for name in ("home", "root", "var", "boot", "shadow", "sda", "vda", "kmsg", "mem", "fuse", "console"):
        assert name not in listed
    assert listed[-1] == "0"


async def test_nothing_of_the_root_can_be_written() -> None:
    printed = await shell(
        "for f in /x /etc/x /dev/x /gnu/store/x /usr/x /etc/one; do echo >$f; done; touch /tmp/x && echo yes"
    )
    assert printed.count("Read-only file system") == 6
    assert printed.endswith("yes\n")


async def test_no_open_file_of_ours_is_left_to_the_container() -> None:
    assert (await shell("exec ls /proc/self/fd")).split() == ["0", "1", "2", "3"], (
        "the last one is the folder that is listed"
    )


async def test_memory_is_bounded() -> None:
    for folder in ("/tmp", "/shared", "/dev/shm", "/own"):
        assert "No space left" in await shell(f"head -c 3000000 /dev/zero >{folder}/x")


async def test_folders_that_share_memory_are_bounded_together_and_the_others_are_not_full_then() -> None:
    filled = await shell(
        "umask 0; head -c 900000 /dev/zero >/tmp/x; head -c 900000 /dev/zero >/dev/shm/x; ls /shared /dev/shm;"
        "head -c 400000 /dev/zero >/own/x && echo room; stat -c %a /tmp /shared /dev/shm /own; rm /tmp/x && head -c 400000 "
        "/dev/zero >/shared/x && echo again"
    )
    assert filled.count("No space left") == 1, filled
    assert "room" in filled
    assert filled.split()[-5:] == ["1777", "1777", "1777", "700", "again"]


async def test_devices_and_rights_are_not_allowed_in_memory_either() -> None:
    for folder in ("/tmp", "/shared", "/dev/shm", "/own"):
        options = await shell(
            f"while read -r _ place _ options _; do [ $place = {folder} ] && echo $options; done </proc/mounts"
        )
        assert {"nosuid", "nodev", "rw"} <= set(options.strip().split(",")), folder


async def test_no_right_is_left_nor_can_be_gained() -> None:
    status = dict(
        line.split(":\t") for line in (await shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status")).splitlines()
    )
    assert {name: int(value, 16) for name, value in status.items()} == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0),
        "NoNewPrivs": 1,
        "Seccomp": 2,
    }


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("a user namespace", "libc.unshare(0x10000000)"),
        ("a user namespace by clone", "libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)"),
        ("another's namespace", "libc.setns(os.open('/proc/self/ns/net', os.O_RDONLY), 0)"),
        ("mounting", "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)"),
        ("unmounting", "libc.umount2(b'/usr', 2)"),
        ("another root", "libc.chroot(b'/tmp')"),
        ("looking into processes", "libc.ptrace(0, 0, 0, 0)"),
        ("reading another's memory", "libc.process_vm_readv(1, 0, 0, 0, 0, 0)"),
        ("keys", "libc.syscall(250, 0, 0, 0, 0, 0)"),
        ("bpf", "libc.syscall(321, 0, 0, 0)"),
        ("perf", "libc.syscall(298, 0, 0, -1, -1, 0)"),
        ("userfaultfd", "libc.syscall(323, 0)"),
        ("the kernel's messages", "libc.klogctl(3, ctypes.create_string_buffer(9), 9)"),
        ("opening by handle", "libc.open_by_handle_at(-100, 0, 0)"),
        ("a kernel module", "libc.syscall(175, 0, 0, 0)"),
        ("typing into a terminal", "libc.ioctl(0, 0x5412, b'x')"),
    ],
)
async def test_what_the_kernel_is_not_asked(what: str, call: str) -> None:
    script = f"import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); print({call}, ctypes.get_errno())"
    assert await python(script) == "-1 1", what


@pytest.mark.parametrize(("call", "name"), [(425, "io_uring_setup"), (435, "clone3"), (430, "fsopen"), (428, "open_tree")])
async def test_what_is_said_not_to_exist(call: int, name: str) -> None:
    script = (
        f"import ctypes; libc = ctypes.CDLL(None, use_errno=True); print(libc.syscall({call}, 0, 0), ctypes.get_errno())"
    )
    assert await python(script) == "-1 38", name


async def test_sockets_are_of_the_usual_families_alone() -> None:
    script = """
import socket
for family in range(48):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_STREAM).close()
        print(family, end=' ')
    except OSError as error:
        assert family not in (1, 2, 10, 16) and error.errno == 97, (family, error)
"""
    assert await python(script) == "1 2 10 16"


async def test_its_network_is_its_own_with_a_loopback_that_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        outside = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {port})))"
        inside = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); "
            "socket.create_connection(s.getsockname()); print('ok')"
        )
        assert await python(outside) == "111", "nobody listens there"
        assert await python(inside) == "ok"
        assert (await printed_in(plan("/usr/bin/python3", "-I", "-c", outside, network=Network.HOST))).strip() == "0"
    assert len((await shell("cat /proc/net/dev")).splitlines()) == 3, "two lines of head, and the loopback"


async def test_abstract_sockets_of_the_machine_are_not_there() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"guix-test-{os.getpid()}"
        listener.bind(f"\0{name}")
        listener.listen()
        script = f"import socket; print(socket.socket(socket.AF_UNIX).connect_ex('\\0{name}'))"
        assert await python(script) == "111"


async def test_processes_of_the_machine_are_not_there() -> None:
    assert set((await shell("echo /proc/[0-9]*")).split()) == {"/proc/1"}


@pytest.mark.parametrize("network", list(Network))
async def test_what_the_machine_settles_cannot_be_changed_from_inside(network: Network) -> None:
    of_the_machine = "/proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches /sys/power/state"
    paths = f"{of_the_machine} /proc/sys/user/max_user_namespaces"
    printed = await shell(f"for f in {paths}; do (echo 1 >$f) 2>/dev/null && echo written $f; done; echo end", network)
    assert printed == "end\n"


async def test_its_end_is_the_containers_end() -> None:
    mark = f"62.{os.getpid()}"
    with tempfile.TemporaryFile() as log:
        first = await started(plan("/bin/sh", "-c", f"sleep {mark} & setsid sleep {mark} & sleep {mark}"), log.fileno())
        while len(processes_with(mark)) < 4:
            await asyncio.sleep(0.01)
        await process_identity.end(first, grace=0)
        assert processes_with(mark) == []


async def test_what_cannot_be_made_is_told_with_its_step() -> None:
    with tempfile.TemporaryFile() as log:
        for broken, step, reason in (
            (ContainerPlan((PROFILE,), ("/bin/true",), "/", {}, "x"), "container", str(PROFILE)),
            (ContainerPlan((), ("/bin/true",), "/", {}, "x", mounts=(Mount("/missing", "/here"),)), "container", "/missing"),
            (ContainerPlan((), ("/missing",), "/", {}, "x"), "command", "No such file"),
            (ContainerPlan((), ("/bin/true",), "/missing", {}, "x"), "container", "/missing"),
        ):
            with pytest.raises(ContainerFailure) as failure:
                await started(broken, log.fileno())
            assert failure.value.details["step"] == step
            assert reason in str(failure.value.details["reason"])


async def test_nothing_ever_runs_as_root() -> None:
    with tempfile.TemporaryFile() as log:
        for account in (Account(0, 70000), Account(70000, 0)):
            with pytest.raises(ContainerFailure) as failure:
                await ColdLauncher().prepare(account, Network.OWN, log.fileno())
            assert failure.value.details["reason"] == "no session runs as root"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives accounts groups")
async def test_it_has_the_groups_of_its_account_and_no_others() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        for name, gid in (("one", 70100), ("two", 70200)):
            file = Path(folder, name)
            file.write_text(name)
            os.chown(file, 0, gid)
            file.chmod(0o040)
        seen = plan("/bin/sh", "-c", "cat /data/one; cat /data/two")
        whole = replace(seen, mounts=(*seen.mounts, Mount(folder, "/data")))
        printed = await printed_in(whole, Account(70000, 70000, (70100,)))
    assert printed.startswith("one")
    assert "two: Permission denied" in printed


async def test_symbolic_links_of_the_machine_are_followed_there() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "real").write_text("content")
        Path(folder, "link").symlink_to(f"{folder}/real")
        seen = plan("/bin/cat", "/etc/linked")
        whole = replace(seen, mounts=(*seen.mounts, Mount(f"{folder}/link", "/etc/linked")))
        assert await printed_in(whole) == "content"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's folders are closed to the account of the tests")
async def test_a_folder_behind_a_closed_one_is_opened_by_the_hub_and_only_when_planned() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as closed:
        inner = Path(closed, "inner")
        inner.mkdir()
        os.chown(inner, ACCOUNT.uid, ACCOUNT.gid)
        seen = plan("/bin/sh", "-c", "echo content >/here/file && stat -c %u /here/file && ls -A /here/..")
        sealed = Mount(str(inner), "/here", writable=True, sealed=True)
        printed = await printed_in(replace(seen, mounts=(*seen.mounts, sealed)))
        assert printed.splitlines()[0] == "1000"
        assert closed not in printed
        assert (inner / "file").read_text() == "content\n"
        with pytest.raises(ContainerFailure) as refused:
            await printed_in(replace(seen, mounts=(*seen.mounts, replace(sealed, sealed=False))))
        assert "Permission denied" in str(refused.value.details["reason"])


async def test_secrets_are_in_no_environment() -> None:
    script = (
        "cat <&$GUIX_SESSION_SECRETS | tr '\\0' ';'; echo; cat /proc/*/environ | grep -c hidden; cat <&$GUIX_SESSION_SECRETS"
    )
    secrets = {"NAME": "hidden\nvalue", "OTHER": "hidden = too"}
    printed = await printed_in(replace(plan("/bin/bash", "-c", script), secrets=secrets))
    assert printed == "NAME=hidden\nvalue;OTHER=hidden = too;\n0\n"


async def test_secrets_that_do_not_fit_are_told() -> None:
    with tempfile.TemporaryFile() as log, pytest.raises(ContainerFailure) as failure:
        await started(replace(plan("/bin/true"), secrets={"NAME": "x" * 2**20}), log.fileno())
    assert "too long" in str(failure.value.details["reason"])


async def test_a_hub_that_ends_leaves_no_process_that_waits() -> None:
    with tempfile.TemporaryFile() as log:
        waiting = await ColdLauncher().prepare(ACCOUNT, Network.OWN, log.fileno())
        assert process_identity.is_running(waiting.first)
        waiting.give_up()
        while process_identity.is_running(waiting.first):
            await asyncio.sleep(0.01)


def test_a_launcher_whose_hub_is_killed_ends() -> None:
    hub, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as log, ours:
        command = [sys.executable, "-I", "-S", str(PROGRAM), str(control.fileno())]
        subprocess.run(command, check=True, pass_fds=[control.fileno()], stdout=errors, stderr=errors)
        control.close()
        with theirs:
            requests.send(hub, theirs.fileno(), log.fileno())
        ours.sendall(division(Network.OWN))
        reply = messages.receive(ours.recv)
        assert reply is not None
        assert reply[0] == b"waiting"
        first = process_identity.identify(int(reply[1]))
        assert first is not None
        assert len(processes_writing_to(errors.fileno())) == 1
        # As the kernel closes what a killed process had open.
        for end in (hub, ours):
            end.close()
        while (
            process_identity.is_running(first) or processes_writing_to(log.fileno()) or processes_writing_to(errors.fileno())
        ):
            pass
        errors.seek(0)
        assert errors.read() == b""


@pytest.mark.parametrize("moment", [0, 0.002, 0.005, 0.01, 0.02, 0.04])
async def test_a_launch_that_is_given_up_leaves_nothing(moment: float) -> None:
    with tempfile.TemporaryFile() as log:
        task = asyncio.create_task(ColdLauncher().prepare(ACCOUNT, Network.OWN, log.fileno()))
        await asyncio.sleep(moment)
        if task.done():
            task.result().give_up()
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        while processes_writing_to(log.fileno()):
            await asyncio.sleep(0.01)


async def test_many_at_once_do_not_disturb_each_other() -> None:
    printed = await asyncio.gather(*(printed_in(plan("/bin/sh", "-c", "echo $NUMBER", NUMBER=str(n))) for n in range(12)))
    assert [int(line) for line in printed] == list(range(12))


async def test_no_signal_is_ignored() -> None:
    ignored = int((await shell("exec grep SigIgn /proc/self/status")).split()[1], 16)
    # Two are the C library's own (nptl(7)), which lets whatever it starts ignore them (``spawni.c``).
    assert ignored & ~(0b11 << 31) == 0
