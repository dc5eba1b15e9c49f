"""The plan of a container, turned into Bubblewrap's words."""

import dataclasses

import pytest

from guix_environment.container import (
    MOST_ARGUMENTS,
    ContainerPlan,
    Link,
    Mount,
    PlacedFile,
    TemporaryFolder,
    bubblewrap_options,
    encode,
)
from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath

BASH = StorePath("/gnu/store/" + "a" * 32 + "-bash-5.2.37")
PLAN = ContainerPlan(
    store_items=(BASH,),
    command=(f"{BASH}/bin/bash", "-c", "exit"),
    directory="/home/ada",
    variables={"HOME": "/home/ada", "API_TOKEN": "secret"},
    host_name="analysis",
    mounts=(
        Mount("/srv/homes/ada", "/home/ada", writable=True),
        Mount("/etc/resolv.conf", "/etc/resolv.conf", optional=True),
    ),
    temporary_folders=(TemporaryFolder("/tmp", 0o1777, 1024), TemporaryFolder("/run/user/1000", 0o700)),
    files=(PlacedFile("/etc/passwd", b"ada"),),
    links=(Link("/bin/sh", f"{BASH}/bin/sh"),),
    shared_memory=2048,
)
GOLDEN = f"""
--unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --disable-userns
--uid 1000 --gid 1000 --hostname analysis --new-session --as-pid-1
--proc /proc --dev /dev
--perms 1777 --size 2048 --tmpfs /dev/shm
--ro-bind {BASH} {BASH}
--perms 1777 --size 1024 --tmpfs /tmp
--perms 0700 --tmpfs /run/user/1000
--bind /srv/homes/ada /home/ada
--ro-bind-try /etc/resolv.conf /etc/resolv.conf
--perms 0444 --file 7 /etc/passwd
--symlink {BASH}/bin/sh /bin/sh
--remount-ro / --chdir /home/ada
--clearenv --setenv API_TOKEN secret --setenv HOME /home/ada
"""


def test_the_words_for_a_plan() -> None:
    assert list(bubblewrap_options(PLAN, [7])) == GOLDEN.split()


def test_words_are_handed_over_with_a_zero_byte_after_each() -> None:
    assert encode(["--setenv", "NAME", "a b\n"]) == b"--setenv\0NAME\0a b\n\0"


def test_a_zero_byte_cannot_become_an_option() -> None:
    plan = dataclasses.replace(PLAN, variables={"NAME": "value\0--bind\0/\0/"})
    with pytest.raises(InvalidInput):
        bubblewrap_options(plan, [7])


def test_every_file_needs_its_descriptor() -> None:
    with pytest.raises(ValueError, match="zip"):
        bubblewrap_options(PLAN, [])


def test_more_parts_than_bubblewrap_takes_are_told_so() -> None:
    plan = dataclasses.replace(PLAN, store_items=(BASH,) * (MOST_ARGUMENTS // 3))
    with pytest.raises(InvalidInput, match="3000 parts"):
        bubblewrap_options(plan, [7])
