"""Run tests on Debian 12 with systemd, in a machine that QEMU makes in software: what sessions' limits need and CI lacks.

    sudo .venv/bin/python tools/systemd_machine.py                  the tests of limits
    sudo .venv/bin/python tools/systemd_machine.py -k systemd       with words for pytest

They run twice: as root, and as an account.  The first run makes the machine's disk in .cache/systemd-machine; later ones
boot a copy of it that is forgotten afterwards.  The machine sees this checkout, read-only, at the place where it is.  Needs
the Debian packages qemu-system-x86, mmdebstrap and e2fsprogs, and root.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDER = CHECKOUT / ".cache" / "systemd-machine"

PACKAGES = (
    *("systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "polkitd"),
    *("linux-image-amd64", "initramfs-tools", "kmod", "udev"),
    *("python3", "e2fsprogs", "quota", "util-linux"),
)

_UNIT = f"""[Unit]
Description=The tests
After=multi-user.target dbus.socket
[Service]
Type=simple
ExecStart=/bin/sh -c 'mkdir -p {CHECKOUT} /job && mount -t 9p -o trans=virtio,ro,cache=loose checkout {CHECKOUT} \
&& mount -t 9p -o trans=virtio,ro job /job && sh /job/run >/dev/ttyS1 2>&1; echo "status $?" >/dev/ttyS1; poweroff -f'
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

_RUN = """
cd {checkout} || exit 1
export LANG=C.UTF-8
failed=0
echo "The hub is root:"
GUIX_LIMITS_EXPECTED="systemd cgroup-v2 quota" {pytest} tests/spawner/limits || failed=1
# A unit that systemd hands over, as an administrator writes for a hub that is not root; and that account's systemd.
echo "The hub has an account, to which systemd hands its unit's control groups over:"
systemd-run --quiet --wait --pipe --property=User=hub --property=Delegate=yes --setenv=LANG=C.UTF-8 \\
    --setenv=GUIX_LIMITS_EXPECTED="systemd cgroup-v2" --working-directory={checkout} \\
    {pytest} tests/spawner/limits || failed=1
exit $failed
"""
"""What runs inside, once for each kind of hub."""


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


def boot(folder: Path, job: Path) -> int:
    """Boot the disk in FOLDER, have it run the file ``run`` of JOB, print what that prints, and return its exit status."""
    share = "local,security_model=none,readonly=on"
    command = [
        *("qemu-system-x86_64", "-cpu", "max", "-smp", "2", "-m", "2048", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img")),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"),
        *("-drive", f"file={folder / 'disk'},format=raw,if=virtio,snapshot=on"),
        *("-virtfs", f"{share},path={CHECKOUT},mount_tag=checkout,multidevs=remap"),
        *("-virtfs", f"{share},path={job},mount_tag=job"),
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
    if not (FOLDER / "disk").exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        unfinished = FOLDER.with_name(f"{FOLDER.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_disk(unfinished)
        unfinished.rename(FOLDER)
    pytest = [".venv/bin/python", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--verbose", *arguments]
    with tempfile.TemporaryDirectory() as job:
        (Path(job) / "run").write_text(_RUN.format(checkout=CHECKOUT, pytest=shlex.join(pytest)))
        return boot(FOLDER, Path(job))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
