"""The plan of a container, turned into the launcher's words."""

import dataclasses

import pytest

from guix_environment.container import (
    ContainerPlan,
    Link,
    Mount,
    Network,
    PlacedFile,
    TemporaryFolder,
    division,
    operations,
    order,
)
from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath
from guix_environment.launcher import messages
from guix_environment.launcher.program import Order

BASH = StorePath("/gnu/store/" + "a" * 32 + "-bash-5.2.37")
PLAN = ContainerPlan(
    store_items=(BASH,),
    command=(f"{BASH}/bin/bash", "-c", "exit"),
    directory="/home/ada",
    variables={"HOME": "/home/ada"},
    secrets={"API_TOKEN": "secret"},
    host_name="analysis",
    mounts=(
        Mount("/srv/homes/ada", "/home/ada", writable=True),
        Mount("/etc/resolv.conf", "/etc/resolv.conf", optional=True),
        Mount("/run/sessions/ada", "/run/sockets", writable=True, sealed=True),
    ),
    temporary_folders=(TemporaryFolder("/scratch", 0o1777, 1024), TemporaryFolder("/run/user/1000", 0o700)),
    files=(PlacedFile("/etc/passwd", b"ada"),),
    links=(Link("/bin/sh", f"{BASH}/bin/sh"),),
    shared_memory=2048,
    sharing=("/tmp",),
    filter=b"program",
)
GOLDEN = f"""
proc /proc
sysfs /sys
memory mode=755,size=2048
tmpfs /dev mode=755
device /dev/full
device /dev/null
device /dev/random
device /dev/tty
device /dev/urandom
device /dev/zero
link /dev/fd /proc/self/fd
link /dev/stdin /proc/self/fd/0
link /dev/stdout /proc/self/fd/1
link /dev/stderr /proc/self/fd/2
devpts /dev/pts
link /dev/ptmx pts/ptmx
part /dev/shm 1777
mqueue /dev/mqueue
close /dev
items /gnu/store {BASH}
part /tmp 1777
tmpfs /scratch mode=1777,size=1024
tmpfs /run/user/1000 mode=700
bind /srv/homes/ada /home/ada rw
bind /etc/resolv.conf /etc/resolv.conf ro optional
sealed /run/sessions/ada /run/sockets rw
file /etc/passwd 444 ada
link /bin/sh {BASH}/bin/sh
close /
"""


def _line(operation: tuple[str | bytes, ...]) -> str:
    return " ".join(word.decode() if isinstance(word, bytes) else word for word in operation if word)


def test_the_operations_of_a_plan() -> None:
    assert [_line(operation) for operation in operations(PLAN)] == GOLDEN.strip().splitlines()


def test_a_container_on_the_machines_network_sees_none_of_its_devices() -> None:
    kinds = [operation[0] for operation in operations(dataclasses.replace(PLAN, network=Network.HOST))]
    assert "sysfs" not in kinds


def test_what_the_launcher_understands_of_an_order_is_what_was_planned() -> None:
    words = messages.split(order(PLAN)[4:])
    understood = Order(words)
    assert (understood.uid, understood.gid, understood.has_network) == (1000, 1000, True)
    assert (understood.host_name, understood.directory, understood.filter) == (b"analysis", b"/home/ada", b"program")
    assert understood.command == [f"{BASH}/bin/bash".encode(), b"-c", b"exit"]
    assert understood.variables == {b"HOME": b"/home/ada"}
    assert understood.secrets == {b"API_TOKEN": b"secret"}
    assert len(understood.operations) == len(GOLDEN.strip().splitlines())
    assert understood.operations[0] == [b"proc", b"/proc", b""]


def test_namespaces_are_asked_for_by_name() -> None:
    assert messages.split(division(Network.OWN)[4:]) == [b"", b"ipc", b"mount", b"pid", b"user", b"uts", b"network"]
    assert messages.split(division(Network.HOST, (100, 7))[4:])[1:] == [b"ipc", b"mount", b"pid", b"user", b"uts"]
    assert messages.split(messages.split(division(Network.HOST, (100, 7))[4:])[0]) == [b"100", b"7"]


def test_a_zero_byte_cannot_cut_a_word() -> None:
    for changes in ({"variables": {"NAME": "a\0b"}}, {"command": ("/bin/sh\0",)}, {"mounts": (Mount("/a\0", "/b"),)}):
        with pytest.raises(InvalidInput):
            order(dataclasses.replace(PLAN, **changes))
