"""Run tests on Debian 12 with systemd, in a machine that QEMU makes in software: what sessions' limits need and CI lacks.

    sudo .venv/bin/python tools/systemd_machine.py                                              the back-ends
    sudo -E .venv/bin/python tools/with_guix.py .venv/bin/python tools/systemd_machine.py       and sessions of a real hub

Words that are added are for pytest, such as ``-k systemd``.  The tests run for every kind of hub in `HUBS`.  Where there is
a Guix it builds the sessions' environment outside; the machine sees its store, as it sees this checkout, read-only and where
it is.  The first run makes the machine's disk in .cache/systemd-machine; later ones boot a copy and forget it.
Needs the Debian packages qemu-system-x86, mmdebstrap and e2fsprogs, and root.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from tests.spawner.built_records import built_records  # noqa: E402 - found only once the checkout is on the path

FOLDER = CHECKOUT / ".cache" / "systemd-machine"

PACKAGES = (
    *("systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "polkitd"),
    *("linux-image-amd64", "initramfs-tools", "kmod", "udev"),
    *("python3", "git", "slirp4netns", "e2fsprogs", "xfsprogs", "util-linux"),
)

_SHARED = "trans=virtio,ro,cache=loose,msize=512000"

_UNIT = f"""[Unit]
Description=The tests
After=multi-user.target dbus.socket
[Service]
Type=simple
ExecStartPre=mkdir -p {CHECKOUT} /gnu/store /job
ExecStartPre=mount -t 9p -o {_SHARED} checkout {CHECKOUT}
ExecStartPre=mount -t 9p -o {_SHARED} store /gnu/store
ExecStartPre=mount -t 9p -o {_SHARED} job /job
ExecStart=/bin/sh -c 'sh /job/run >/dev/ttyS1 2>&1; echo "status $?" >/dev/ttyS1'
ExecStopPost=poweroff -f
[Install]
WantedBy=multi-user.target
"""

_INSTALL = """
set -e
printf '9p\\n9pnet_virtio\\n' >> "$1/etc/initramfs-tools/modules"
cp "{unit}" "$1/etc/systemd/system/tests.service"
chroot "$1" systemctl enable --quiet tests.service
# The account of a hub that is not root, whose own systemd runs without it being logged in.
chroot "$1" useradd --create-home hub
mkdir -p "$1/var/lib/systemd/linger" && touch "$1/var/lib/systemd/linger/hub"
chroot "$1" update-initramfs -u
cp -L "$1"/vmlinuz "{folder}/vmlinuz" && cp -L "$1"/initrd.img "{folder}/initrd.img"
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """One kind of hub, for which the tests run."""

    called: str
    """What it is, for whoever reads along."""
    expected: str
    """The back-ends and kinds of quota that it must have, so that their tests fail where they would be left out."""
    backend: str
    """By which of them real sessions are held."""
    tests: str
    account: str = ""
    """As whom it runs, in a unit whose control groups systemd hands over to it; root, outside of any, when empty."""


_LIMITS = "tests/spawner/limits"
_REAL = f"{_LIMITS}/test_real_sessions.py"

HUBS = (
    Hub("The hub is root", "systemd cgroup-v2 quota", "systemd", _LIMITS),
    Hub("The hub has an account, and that account's systemd", "systemd cgroup-v2", "systemd", _LIMITS, "hub"),
    Hub("The hub has an account, and divides the control groups of its unit", "cgroup-v2", "cgroup-v2", _REAL, "hub"),
)


def program(hubs: Sequence[Hub], arguments: Sequence[str]) -> Iterator[str]:
    """Yield the lines of what the machine runs: pytest with ARGUMENTS for each of HUBS."""
    yield from (
        f"cd {CHECKOUT} || exit 1",
        "export LANG=C.UTF-8 GUIX_TEST_RECORDS=/job/records GUIX_TEST_PATIENCE=20",
        "failed=0",
    )
    pytest = [".venv/bin/python", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--verbose", *arguments]
    for hub in hubs:
        told = {"GUIX_LIMITS_EXPECTED": hub.expected, "GUIX_LIMITS_BACKEND": hub.backend}
        command = [*(f"{name}={value}" for name, value in told.items()), *pytest, hub.tests]
        unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--same-dir", f"--property=User={hub.account}"]
        unit += [
            "--property=Delegate=yes",
            *(f"--setenv={name}" for name in ("LANG", "GUIX_TEST_RECORDS", "GUIX_TEST_PATIENCE")),
        ]
        yield f"echo {shlex.quote(f'{hub.called}:')}"
        yield f"{shlex.join([*(unit if hub.account else ()), 'env', *command])} || failed=1"
    yield "exit $failed"


def make_disk(folder: Path) -> None:
    """Install Debian 12 into a new disk in FOLDER, with the kernel that boots it beside it."""
    folder.mkdir(parents=True)
    unit, hook = folder / "tests.service", folder / "install"
    unit.write_text(_UNIT)
    hook.write_text(_INSTALL.format(unit=unit, folder=folder))
    root, disk = folder / "root", folder / "disk"
    command = ["mmdebstrap", "--variant=minbase", "--format=directory", f"--include={','.join(PACKAGES)}"]
    subprocess.run([*command, f'--customize-hook=sh {hook} "$1"', "bookworm", str(root)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-d", str(root), str(disk), "2G"], check=True)
    shutil.rmtree(root)


def boot(folder: Path, job: Path, store: Path) -> int:
    """Boot the disk in FOLDER, have it run the file ``run`` of JOB, print what that prints, and return its exit status.

    It sees the folder STORE as ``/gnu/store``.
    """
    share = "local,security_model=none,readonly=on"
    command = [
        *("qemu-system-x86_64", "-cpu", "max", "-smp", "2", "-m", "3072", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"),
        *("-drive", f"file={folder / 'disk'},format=raw,if=virtio,snapshot=on"),
        *("-virtfs", f"{share},path={CHECKOUT},mount_tag=checkout,multidevs=remap"),
        *("-virtfs", f"{share},path={job},mount_tag=job"),
        *("-virtfs", f"{share},path={store},mount_tag=store"),
        *("-serial", f"file:{folder / 'boot.log'}", "-serial", "stdio"),
    ]
    status = 1
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as machine:
        assert machine.stdout is not None
        for line in machine.stdout:
            if line.startswith("status "):
                status = int(line.split()[1])
            else:
                print(line.rstrip(), flush=True)
    return status


def main(arguments: Sequence[str]) -> int:
    """Run pytest with ARGUMENTS in the machine, which is made when there is none; return its exit status."""
    missing = [name for name in ("qemu-system-x86_64", "mmdebstrap", "mkfs.ext4") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(__doc__, file=sys.stderr)
        print(f"Missing: {', '.join(missing) or 'root'}.", file=sys.stderr)
        return 2
    provide_disk()
    with tempfile.TemporaryDirectory() as job, ExitStack() as guix:
        Path(job).chmod(0o755)
        hubs, words, store = [hub for hub in HUBS if hub.tests == _LIMITS], ["-m", "not guix"], Path(job)
        if shutil.which("guix"):
            hubs, words, store = list(HUBS), [], Path("/gnu/store")
            shutil.copytree(guix.enter_context(built_records()), Path(job) / "records", symlinks=True)
        (Path(job) / "run").write_text("\n".join(program(hubs, [*words, *arguments])))
        return boot(FOLDER, Path(job), store)


def provide_disk() -> None:
    """Make the disk in `FOLDER` unless there is one that is made of the same."""
    made_of = hashlib.sha256(repr((PACKAGES, _UNIT, _INSTALL)).encode()).hexdigest()
    mark = FOLDER / "made-of"
    if mark.exists() and mark.read_text() == made_of:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished = FOLDER.with_name(f"{FOLDER.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    make_disk(unfinished)
    (unfinished / "made-of").write_text(made_of)
    unfinished.rename(FOLDER)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
