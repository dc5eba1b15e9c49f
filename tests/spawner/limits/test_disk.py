"""Quota on a file system made for the test; only a kernel that can count (CONFIG_QFMT_V2) can show it."""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guix_environment.errors import SessionFailure
from guix_environment.processes import Account
from guixspawner.limits import Limits, SessionLimits
from guixspawner.limits.disk import read_quota, set_quota

from .conftest import EXPECTED
from .tree import Server

PERSON = 70001
MIB = 1024**2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")


@contextmanager
def made_file_system(image: Path, options: str, *make: str) -> Iterator[Path]:
    """Yield the folder where a new file system in the file IMAGE, made by the command MAKE, is mounted with OPTIONS."""
    program = shutil.which(make[0], path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        assert "quota" not in EXPECTED, make[0]
        pytest.skip(f"this machine has no {make[0]}")
    # Not below the tests' own folder, which is closed to every other account.
    folder = Path(tempfile.mkdtemp(prefix="guix-homes-"))
    folder.chmod(0o711)
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    subprocess.run([program, "-q", *make[1:], image], check=True)
    mounted = subprocess.run(["mount", "-o", f"loop,{options}", image, folder], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        assert "quota" not in EXPECTED, mounted.stderr
        pytest.skip("this kernel cannot count for quotas, or has no loop devices")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


EXT4 = ("mkfs.ext4", "-O", "quota", "-E", "quotatype=usrquota")


@pytest.fixture(params=["ext4", "xfs"])
def homes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    make, options = (EXT4, "usrquota") if request.param == "ext4" else (("mkfs.xfs",), "uquota")
    with made_file_system(tmp_path / "image", options, *make) as folder:
        yield folder


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_a_file_system_that_only_counts_is_no_limit(tmp_path: Path, file_system: str) -> None:
    make, options = (EXT4, "noquota") if file_system == "ext4" else (("mkfs.xfs",), "uqnoenforce")
    with (
        made_file_system(tmp_path / "image", options, *make) as folder,
        pytest.raises(OSError, match="not mounted to bound it"),
    ):
        set_quota(folder, PERSON, 8 * MIB)


def write_as_the_person(path: Path, size: int) -> int:
    """Write SIZE bytes to PATH as the person, and return the number of the error, or 0."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(PERSON)
            os.setuid(PERSON)
            with path.open("wb") as file:
                for _ in range(size // MIB):
                    file.write(b"x" * MIB)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def home(homes: Path) -> Path:
    home = homes / "ada"
    home.mkdir()
    os.chown(home, PERSON, PERSON)
    return home


def test_a_person_can_write_so_much_and_no_more(home: Path) -> None:
    assert set_quota(home, PERSON, 8 * MIB).most == 8 * MIB
    assert write_as_the_person(home / "small", 4 * MIB) == 0
    assert write_as_the_person(home / "large", 20 * MIB) == errno.EDQUOT
    assert (home / "small").stat().st_size == 4 * MIB
    found = read_quota(home, PERSON)
    assert 7 * MIB < found.used <= 8 * MIB


def test_what_is_there_stays(home: Path) -> None:
    assert write_as_the_person(home / "large", 20 * MIB) == 0
    set_quota(home, PERSON, 8 * MIB)
    assert (home / "large").stat().st_size == 20 * MIB
    assert write_as_the_person(home / "more", MIB) == errno.EDQUOT
    (home / "large").unlink()
    assert write_as_the_person(home / "more", MIB) == 0


def test_others_are_not_bounded(home: Path) -> None:
    set_quota(home, PERSON, MIB)
    assert read_quota(home, PERSON + 1).most is None


async def test_a_session_is_held_to_it(home: Path, server: Server) -> None:
    limits = SessionLimits(disk=8 * MIB, backend="nothing")
    enforced = await limits.hold("ada.default", server.identity, limits.complete(Limits()), home, Account(PERSON, PERSON))
    assert enforced.disk == 8 * MIB


async def test_a_file_system_without_quota_is_no_limit(tmp_path: Path, server: Server) -> None:
    limits = SessionLimits(disk=8 * MIB, backend="nothing")
    with pytest.raises(SessionFailure, match="disk space"):
        await limits.hold("ada.default", server.identity, limits.complete(Limits()), tmp_path, Account(PERSON, PERSON))
