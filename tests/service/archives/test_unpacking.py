"""What an archive holds becomes a commit, the same of the same files, or is refused."""

import os
import stat
import subprocess
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from guix_build_service.archives.commits import Source, commit_files, commit_of_tree, take_packs
from guix_build_service.git.git import Git
from guix_environment.errors import GuixSpawnerError
from guix_environment.identifiers import Commit
from tests.service.archives.archive_site import member, tarred, zipped
from tests.service.archives.building import SAYS


def link(name: str, to: str) -> tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=to)


def zip_of(**fields: object) -> bytes:
    info = zipfile.ZipInfo("a")
    for name, value in fields.items():
        setattr(info, name, value)
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(info, "x")
    return content.getvalue()


HOSTILE = {
    "out.zip": zipped({"../a": b"x"}),
    "deep out.zip": zipped({"b/../../a": b"x"}),
    "absolute.zip": zipped({"/etc/passwd": b"x"}),
    "backslash.zip": zipped({"..\\a": b"x"}),
    "control.zip": zipped({"a\nb": b"x"}),
    "git.zip": zipped({"p/.git/config": b"x", "p/a": b"x"}),
    "Git.zip": zipped({"p/.GIT./config": b"x"}),
    "short git.zip": zipped({"GIT~1/hooks/post-checkout": b"x"}),
    "long.zip": zipped({"a" * 1100: b"x"}),
    "steps.zip": zipped({"/".join("a" * 60): b"x"}),
    "nothing.zip": zipped({}),
    "folder too.zip": zipped({"a": b"x", "a/b": b"y"}),
    "pipe.zip": zip_of(external_attr=(stat.S_IFIFO | 0o644) << 16),
    "link out.zip": zip_of(filename="a", external_attr=(stat.S_IFLNK | 0o777) << 16, extra=b""),
    "out.tar": tarred(member("../a", b"x")),
    "absolute.tar": tarred(member("/a", b"x")),
    "device.tar": tarred(member("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "pipe.tar": tarred(member("a", type=tarfile.FIFOTYPE)),
    "hard link.tar": tarred(member("a", b"x"), member("b", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "link up.tar": tarred(member("a", b"x"), link("b", "../x")),
    "link to root.tar": tarred(member("a", b"x"), link("b", "/etc/passwd")),
    "long link.tar": tarred(member("a", b"x"), link("b", "a/" * 600)),
    "link by link.tar": tarred(member("a", b"x"), link("d", "."), link("b", "d/../x")),
    "through a link.tar": tarred(link("d", "e"), member("d/a", b"x")),
    "no archive.zip": b"PK\x05\x06 and so on",
    "cut.zip": zipped({"a": b"x" * 1000})[:-30],
    "no archive.tar": b"\x00" * 100,
}


HARMLESS = frozenset({"link out.zip"})
"""What looks like the others: a link to ``x`` beside it."""


@pytest.mark.parametrize("name", sorted(HOSTILE))
async def test_archives_made_to_harm_become_no_commit(git: Git, tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    file = work / "file"
    file.write_bytes(HOSTILE[name])
    sources = [Source(file, "file", unpack=True)]
    if name in HARMLESS:
        await commit_files(git, work / "archive.git", sources, SAYS)
        return
    with pytest.raises(GuixSpawnerError) as refused:
        await commit_files(git, work / "archive.git", sources, SAYS)
    assert refused.value.code == "repository-unavailable"
    assert sorted(path.name for path in work.iterdir()) == ["file", "stream"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]


async def test_a_locked_archive_is_told_as_that(git: Git, tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"x"}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE.TXT, 4.3.7 and 4.3.12
        content[content.index(header) + flags] |= 1
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(GuixSpawnerError, match="locked with a password"):
        await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)


async def test_a_file_with_holes_is_as_it_is_without(git: Git, tmp_path: Path) -> None:
    content = bytes(1024 * 1024) + b"end"
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 1024 * 1024)
    with (tmp_path / "a").open("ab") as file:
        file.write(b"end")
    subprocess.run(["tar", "--create", "--sparse", "--file=file", "a"], cwd=tmp_path, check=True)
    assert (tmp_path / "file").stat().st_size < 100_000
    await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)
    shown = subprocess.run(["git", "--git-dir", tmp_path / "archive.git", "show", "main:a"], check=True, capture_output=True)
    assert shown.stdout == content


async def test_two_files_of_one_name_become_no_commit(git: Git, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(tarred(member("a", b"1"), member("./a", b"2")))
    with pytest.raises(GuixSpawnerError, match="two files of one name"):
        await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)


def saying(size: int) -> bytes:
    """Return a zip archive that says of its one file, which has 5000 bytes, that it has SIZE."""
    content = zipped({"a": b"x" * 5000})
    where = content.rindex((5000).to_bytes(4, "little"))
    return content[:where] + size.to_bytes(4, "little") + content[where + 4 :]


async def test_what_unpacks_to_more_than_a_hub_keeps_is_refused_before_it_does(git: Git, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(saying(1024**3 + 1))
    with pytest.raises(GuixSpawnerError, match="holds more than 1024 MiB"):
        await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)
    assert (tmp_path / "stream").stat().st_size == 0


async def test_more_files_than_a_hub_keeps_are_refused(git: Git, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(tarfile.TarInfo("a").tobuf() * 50_001 + bytes(1024))
    with pytest.raises(GuixSpawnerError, match="more than 50000 files"):
        await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)
    with pytest.raises(GuixSpawnerError, match="more than 50000 files"):
        await take_packs(git, tmp_path / "packed.git", tmp_path / "file", Commit("ab" * 20))


async def test_a_tar_archive_that_says_that_it_is_too_large_is_read_no_further(git: Git, tmp_path: Path) -> None:
    large = tarfile.TarInfo("a")
    large.size = 1024**3 + 1
    (tmp_path / "file").write_bytes(large.tobuf())
    with pytest.raises(GuixSpawnerError, match="holds more than 1024 MiB"):
        await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)


async def test_a_size_that_is_a_lie_is_found_out(git: Git, tmp_path: Path) -> None:
    for size in (50, 6000):
        (tmp_path / "file").write_bytes(saying(size))
        with pytest.raises(GuixSpawnerError) as refused:
            await commit_files(git, tmp_path / "archive.git", [Source(tmp_path / "file", "", unpack=True)], SAYS)
        assert refused.value.code == "repository-unavailable"


async def test_the_same_files_are_the_same_commit_however_they_were_packed(git: Git, tmp_path: Path) -> None:
    files = {"p/b": b"2", "p/a": b"1", "p/ä": b"3"}
    backwards = dict(reversed(files.items()))
    packed = [
        zipped(files),
        zipped(backwards, year=1999),
        tarred(*(member(f"./{name}", content, mtime=7) for name, content in files.items()), mode="w:xz"),
    ]
    commits = set()
    for number, content in enumerate(packed):
        work = tmp_path / str(number)
        work.mkdir()
        (work / "file").write_bytes(content)
        commits.add(await commit_files(git, work / "archive.git", [Source(work / "file", "", unpack=True)], SAYS))
    (commit,) = commits
    tree = (await git.run("rev-parse", f"{commit}^{{tree}}", folder=tmp_path / "0/archive.git")).output.decode().strip()
    assert commit == commit_of_tree(tree, SAYS) == "312f8a9970326b4cd574547928219cbbe2a825be"
