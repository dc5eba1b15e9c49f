"""What is written for limits, and read from the kernel's tables, without a kernel."""

from pathlib import Path

import pytest

from guixspawner.limits import BackendKind, Enforced, Limits
from guixspawner.limits.cgroups import ended_for_memory, files_v1, files_v2, parse_hierarchies, parse_membership
from guixspawner.limits.systemd import scope_arguments

ALL = Limits(
    memory=2 * 1024**3, cpu=1.5, processes=500, disk=10 * 1024**3, memory_guarantee=512 * 1024**2, cpu_guarantee=0.5
)

DEBIAN_12 = """\
24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
28 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
HYBRID = """\
40 35 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 35 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
42 35 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime master:9 - cgroup cgroup rw,memory
43 35 0:33 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_version_2() -> None:
    assert files_v2(ALL) == {
        "memory.oom.group": "0",
        "cpu.weight": "512",
        "memory.swap.max": "0",
        "memory.max": "2147483648",
        "memory.low": "536870912",
        "pids.max": "500",
        "cpu.max": "150000 100000",
    }


def test_version_2_without_limits() -> None:
    assert files_v2(Limits()) == {"memory.oom.group": "0", "cpu.weight": "10"}


def test_version_1() -> None:
    assert files_v1(ALL) == {
        "memory": {
            "memory.limit_in_bytes": "2147483648",
            "memory.memsw.limit_in_bytes": "2147483648",
            "memory.soft_limit_in_bytes": "536870912",
        },
        "pids": {"pids.max": "500"},
        "cpu": {"cpu.shares": "5120", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"},
    }


def test_version_1_without_limits() -> None:
    assert files_v1(Limits()) == {"memory": {}, "pids": {}, "cpu": {"cpu.shares": "102"}}


def test_the_smallest_share_of_time_is_one_that_the_kernel_takes() -> None:
    assert files_v2(Limits(cpu=0.001))["cpu.max"] == "1000 100000"


def test_weights_stay_within_what_the_kernel_takes() -> None:
    assert files_v2(Limits(cpu_guarantee=64))["cpu.weight"] == "10000"
    assert files_v2(Limits(cpu_guarantee=0.0001))["cpu.weight"] == "1"
    assert files_v1(Limits(cpu_guarantee=0.0001))["cpu"]["cpu.shares"] == "2"


def test_scope() -> None:
    words = scope_arguments("guix_sessions-ada.default.scope", "guix_sessions.slice", 4711, ALL, policy=True)
    assert words == [
        *("ssa(sv)a(sa(sv))", "guix_sessions-ada.default.scope", "fail", "11"),
        *("PIDs", "au", "1", "4711"),
        *("Description", "s", "Session guix_sessions-ada.default.scope"),
        *("Slice", "s", "guix_sessions.slice"),
        *("CollectMode", "s", "inactive-or-failed"),
        *("CPUWeight", "t", "512"),
        *("OOMPolicy", "s", "continue"),
        *("MemoryMax", "t", "2147483648"),
        *("MemorySwapMax", "t", "0"),
        *("MemoryLow", "t", "536870912"),
        *("TasksMax", "t", "500"),
        *("CPUQuotaPerSecUSec", "t", "1500000"),
        "0",
    ]


def test_scope_without_limits() -> None:
    words = scope_arguments("u.scope", "g.slice", 1, Limits(), policy=False)
    assert not {"MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "OOMPolicy"} & set(words)
    assert words[3] == "5"


def test_a_machine_with_version_2() -> None:
    (tree,) = parse_hierarchies(DEBIAN_12)
    assert (tree.version, tree.mount, tree.controllers) == (2, Path("/sys/fs/cgroup"), frozenset())
    assert tree.folder("/system.slice/a.scope") == Path("/sys/fs/cgroup/system.slice/a.scope")


def test_a_machine_with_both() -> None:
    both, memory, unified = parse_hierarchies(HYBRID)
    assert both.controllers == {"cpu", "cpuacct"}
    assert memory.controllers == {"memory"}
    assert unified.version == 2


def test_a_group_outside_of_what_is_mounted_has_no_folder() -> None:
    memory = parse_hierarchies(HYBRID)[1]
    assert memory.folder("/docker/abc/s") == Path("/sys/fs/cgroup/memory/s")
    assert memory.folder("/docker/abc") == Path("/sys/fs/cgroup/memory")
    assert memory.folder("/docker/abcd") is None
    assert parse_hierarchies(DEBIAN_12)[0].folder("/../other") is None


def test_membership() -> None:
    text = "9:name=systemd:/\n5:cpu,cpuacct:/a:b\n4:memory:/process\n0::/user.slice\n"
    assert parse_membership(text) == {
        "name=systemd": "/",
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "memory": "/process",
        "": "/user.slice",
    }


@pytest.mark.parametrize(
    ("counted", "ended"),
    [
        ("low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 0\n", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
    ],
)
def test_programs_that_the_kernel_ended_for_want_of_memory_are_counted(tmp_path: Path, counted: str, ended: int) -> None:
    events = tmp_path / "events"
    enforced = Enforced(BackendKind.CGROUP_V2, memory=2**25, memory_events=events)
    assert ended_for_memory(enforced) == 0, "the group has gone"
    events.write_text(counted)
    assert ended_for_memory(enforced) == ended
    assert ended_for_memory(Enforced(BackendKind.NOTHING)) == 0
