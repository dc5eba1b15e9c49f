"""What archives keep becomes commits, or is refused.

The site is one of ours that answers as is written elsewhere. A record of Zenodo (``id``, ``conceptrecid``, ``created``,
``files`` with ``key``, ``size`` and ``checksum``, their content below ``/files/NAME/content``) is as in programs that use
it; that the one folder of a zip archive is left out, as in repo2docker's ``test_zenodo.py``; the vault (``POST`` and
``GET`` of ``/api/1/vault/BUNDLE/SWHID/``, the states ``new``, ``pending``, ``done`` and ``failed``, a tar of a bare
repository below ``SWHID.git``, a gzipped one below ``SWHID``) as in the documentation of swh-web's API and in swh-vault.
That a number for all versions is answered with a redirect to the newest one is written nowhere. The real sites were not
asked.
"""

import asyncio
import shutil
import stat
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from guix_build_service.archives.commits import Authorship, Source, commit_files, commit_of_tree
from guix_build_service.archives.download import Downloads, Order
from guix_build_service.archives.records import Record
from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.manager.manager import Manager
from guix_build_service.model.environments import BuildState, EnvironmentDetail, NewEnvironment, Person
from guix_environment.errors import GuixSpawnerError, HostRefused, RepositoryTooLarge, RepositoryUnanswered
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import IDENTITY, make_certificate
from tests.service.archives.archive_site import CREATED, ArchiveSite, Reply, member, serve_archive, tarred, zipped
from tests.service.web.scripted import AskingPipeline, running_manager

ADA, BOB = Person("ada"), Person("bob")
SAYS = Authorship("zenodo.org", "records@zenodo.org", 1560158871, "Record 7\n")
FILES = {"plots-1.0/manifest.scm": b"(list)", "plots-1.0/notes/a b.ipynb": b"{}"}


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(shutil.which("git") or "git", tmp_path)


@pytest.fixture
def site() -> Iterator[ArchiveSite]:
    with serve_archive() as served:
        yield served


@pytest.fixture
async def manager(tmp_path: Path, site: ArchiveSite) -> AsyncIterator[Manager]:
    hosts = Hosts([PrivateHost.parse(site.host)])
    async with running_manager(tmp_path, AskingPipeline, hosts, site.sites) as (running, _):
        yield running


async def built(manager: Manager, address: str, ref: str = "", person: Person = ADA) -> EnvironmentDetail:
    """Return the environment of ADDRESS once its build has ended."""
    detail = await manager.add_environment(NewEnvironment(address, ref), person)
    if detail.build is not None:
        async for _ in manager.follow(detail.build.id, person):
            pass
    return await manager.environment(detail.environment.id, person)


def in_repository(tmp_path: Path, detail: EnvironmentDetail, *words: str) -> str:
    """Return what Git says of the repository that sessions of the environment in DETAIL take their copy from."""
    folder = tmp_path / "records" / "environments" / detail.environment.id / "repository.git"
    command = ["git", "--git-dir", str(folder), *words]
    return subprocess.run(command, env=IDENTITY, check=True, capture_output=True, text=True).stdout


def failed(detail: EnvironmentDetail) -> tuple[str, str]:
    """Return the code and the message of why the last build of the environment in DETAIL failed."""
    assert detail.build is not None
    assert detail.build.state is BuildState.FAILED
    error = detail.build.error or {}
    return str(error["code"]), str(error["message"])


# --- records ------------------------------------------------------------


async def test_a_record_becomes_a_version_that_sessions_can_copy(
    manager: Manager, site: ArchiveSite, tmp_path: Path
) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    detail = await built(manager, f"{site.url}/records/7")
    assert detail.version is not None
    assert (detail.state, detail.version.ref) == (BuildState.READY, "7")
    listed = in_repository(tmp_path, detail, "ls-tree", "-r", "--name-only", "-z", "refs/heads/7").split("\0")[:-1]
    assert listed == ["manifest.scm", "notes/a b.ipynb"]
    shown = in_repository(tmp_path, detail, "show", "--no-patch", "--format=%an|%ae|%at|%ct|%P|%B", detail.version.commit)
    assert shown.strip() == "127.0.0.1|records@127.0.0.1|1560158871|1560158871||Record 7"


async def test_a_session_gets_a_working_copy_of_a_record(manager: Manager, site: ArchiveSite, tmp_path: Path) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    detail = await built(manager, f"{site.url}/records/7")
    assert detail.version is not None
    home = tmp_path / "home"
    home.mkdir()
    variables = IDENTITY | {
        "HOME": str(home),
        "GUIX_PROJECT_SOURCE": str(tmp_path / "records" / "environments" / detail.environment.id / "repository.git"),
        "GUIX_PROJECT_NAME": "zenodo-7",
        "GUIX_PROJECT_OTHER_NAME": "zenodo-7-41c409",
        "GUIX_PROJECT_ADDRESS": "https://zenodo.org/records/7",
        "GUIX_PROJECT_ARCHIVED": "yes",
        "GUIX_PROJECT_COMMIT": detail.version.commit,
        "GUIX_PROJECT_REF": detail.version.ref,
    }
    script = Path(__file__).parents[3] / "guixspawner" / "session" / "project.sh"
    subprocess.run(["bash", "-c", f". {script}"], env=variables, check=True, capture_output=True)
    assert (home / "zenodo-7" / "notes" / "a b.ipynb").read_text() == "{}"
    at = ["git", "-C", str(home / "zenodo-7")]
    said = subprocess.run([*at, "status", "--short", "--branch"], env=variables, check=True, capture_output=True, text=True)
    assert said.stdout == "## 7\n"


async def test_a_record_that_is_known_is_not_downloaded_again(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    first = await built(manager, f"{site.url}/records/7")
    site.asked.clear()
    again = await built(manager, f"{site.url}/records/7")
    assert (again.environment.id, again.version) == (first.environment.id, first.version)
    assert site.asked == [("GET", "/api/records/7")]


async def test_a_number_for_all_versions_leads_to_the_newest(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"manifest.scm": b"(list)"}, concept=6)
    site.reply("/api/records/6", Reply(status=302, location="/api/records/7"))
    first = await built(manager, f"{site.url}/records/6")
    site.publish(9, {"manifest.scm": b"(list 1)"}, concept=6)
    site.reply("/api/records/6", Reply(status=302, location=f"{site.url}/api/records/9"))
    second = await built(manager, f"{site.url}/records/6")
    assert first.version is not None
    assert second.version is not None
    assert (first.version.ref, second.version.ref) == ("7", "9")
    assert [version.ref for version in await manager.versions(first.environment.id, ADA)] == ["9", "7"]
    assert (await manager.resolve(f"{site.url}/records/6", "7", ADA)).ref == "7"


async def test_what_is_looked_up_of_a_record_tells_its_number(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    found = await manager.resolve(f"{site.url}/records/7", "", ADA)
    assert (found.ref, found.commit) == ("7", None)
    assert site.asked == [("GET", "/api/records/7")]


async def test_many_who_ask_for_a_record_at_once_wait_for_one_build(manager: Manager, site: ArchiveSite) -> None:
    content, all_asked = zipped(FILES), threading.Event()
    site.publish(7, {"plots.zip": content})
    site.reply("/api/records/7/files/plots.zip/content", Reply(content, after=all_asked))
    asking = (manager.add_environment(NewEnvironment(f"{site.url}/records/7"), Person(f"p{n}")) for n in range(10))
    added = await asyncio.gather(*asking)
    all_asked.set()
    assert len({detail.build.id for detail in added if detail.build is not None}) == 1


async def test_another_commit_than_was_asked_for_is_no_version(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"plots.zip": zipped(FILES)})
    right = (await built(manager, f"{site.url}/records/7")).version
    assert right is not None
    assert (await built(manager, f"{site.url}/records/7", right.commit, BOB)).state is BuildState.READY
    wrong = await built(manager, f"{site.url}/records/7", "ab" * 20, BOB)
    assert failed(wrong)[0] == "ref-not-found"


async def test_what_is_no_version_of_a_record_is_refused(manager: Manager, site: ArchiveSite) -> None:
    site.publish(7, {"a": b"x"}, concept=6)
    site.publish(8, {"a": b"x"}, concept=5)
    for ref, code in (("main", "ref-not-found"), ("8", "ref-not-found"), ("9", "repository-unavailable")):
        with pytest.raises(GuixSpawnerError) as refused:
            await manager.resolve(f"{site.url}/records/7", ref, ADA)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"files": []}, "repository-unavailable"),
        ({"files": [{"key": "a", "size": 1 << 40, "checksum": "md5:0"}]}, "repository-too-large"),
        ({"files": [{"key": "a", "size": 1, "checksum": "md5:0"}] * 201}, "repository-too-large"),
        ({"files": [{"key": "a", "size": -1, "checksum": "md5:0"}]}, "repository-too-large"),
        ({"files": [{"key": "a"}]}, "repository-unavailable"),
        ({"files": "a"}, "repository-unavailable"),
        ({"id": "../../x"}, "repository-unavailable"),
        ({"created": "2019-06-10"}, "repository-unavailable"),
    ],
)
def test_records_that_cannot_be_had_are_refused(changes: dict[str, object], code: str) -> None:
    known = {"id": 7, "created": CREATED, "files": [{"key": "a", "size": 1, "checksum": "md5:0"}]}
    url = RepositoryUrl.parse("https://zenodo.org/records/7")
    assert Record.parse(url, known).number == "7"
    answers: tuple[object, ...] = (known | changes, None, [])
    for answer in answers:
        with pytest.raises(GuixSpawnerError) as refused:
            Record.parse(url, answer)
        assert refused.value.code == (code if answer else "repository-unavailable")
        assert refused.value.hint


async def test_a_file_that_is_not_what_the_record_says_is_refused(manager: Manager, site: ArchiveSite) -> None:
    replies = {
        Reply(b"other"): "repository-unavailable",
        Reply(b"more than it said"): "repository-too-large",
        Reply(b"cont", length=7): "repository-unanswered",
        Reply(status=403): "repository-unavailable",
        Reply(status=429): "repository-unanswered",
        Reply(status=302, location="http://git.example/x"): "host-refused",
    }
    for number, (reply, code) in enumerate(replies.items(), start=1):
        site.publish(number, {"manifest.scm": b"wants"})
        site.reply(f"/api/records/{number}/files/manifest.scm/content", reply)
        assert failed(await built(manager, f"{site.url}/records/{number}"))[0] == code


# --- the way there ------------------------------------------------------------


async def test_no_redirect_leads_past_the_check_of_hosts(site: ArchiveSite) -> None:
    downloads = Downloads(Hosts([PrivateHost.parse(site.host)]))
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    with serve_archive() as inner:
        inner.reply("/secret", Reply(b"x"))
        ways = (f"{inner.url}/secret", "https://169.254.169.254/x", f"http://a:b@{site.host}/x", f"ssh://{site.host}/x")
        for leads in (*ways, "file:///etc/passwd"):
            site.reply("/a", Reply(status=302, location=leads))
            with pytest.raises(GuixSpawnerError):
                await downloads.json(url, "/a")
        assert inner.asked == []


async def test_redirects_end(site: ArchiveSite) -> None:
    site.reply("/a", Reply(status=302, location="/a"))
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    with pytest.raises(GuixSpawnerError, match="without an end"):
        await Downloads(Hosts([PrivateHost.parse(site.host)])).json(url, "/a")
    assert len(site.asked) == 6


async def test_a_host_that_is_not_allowed_is_not_asked(site: ArchiveSite) -> None:
    with pytest.raises(HostRefused):
        await Downloads(Hosts()).json(RepositoryUrl.parse(f"{site.url}/records/7"), "/a")
    assert site.asked == []


async def test_more_than_was_ordered_is_not_taken(site: ArchiveSite) -> None:
    site.reply("/a", Reply(b"x" * 3_000_000))
    into = BytesIO()
    order = Order(f"{site.url}/a", into, 1_000_000)
    url = RepositoryUrl.parse(f"{site.url}/records/7")
    with pytest.raises(RepositoryTooLarge):
        await Downloads(Hosts([PrivateHost.parse(site.host)])).get(url, order, 30)
    assert len(into.getvalue()) <= 1_000_000


async def test_an_archive_proves_who_it_is(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "site.pem", "archive.example")

    async def here(host: str, port: int) -> list[str]:  # noqa: ARG001 - a resolver's signature
        return ["127.0.0.1"]

    with serve_archive(certificate) as site:
        site.reply("/a", Reply(b'{"a": 1}'))
        url = RepositoryUrl.parse(f"https://archive.example:{site.port}/records/7")
        hosts = Hosts([PrivateHost("archive.example", site.port)], resolver=here)
        assert await Downloads(hosts, certificate).json(url, "/a") == (200, {"a": 1})
        with pytest.raises(RepositoryUnanswered, match="prove who it is"):
            await Downloads(hosts).json(url, "/a")


# --- archives made to harm ------------------------------------------------------------


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


# --- Software Heritage ------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> tuple[str, str, Path]:
    """A bare repository as the vault makes it, its commit, and that one's tree."""
    work, bare = tmp_path / "kept", tmp_path / "kept.git"
    work.mkdir()
    (work / "manifest.scm").write_text("(list)")
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    said = ""
    for words in (
        ("init", "--quiet", "--initial-branch=master"), ("add", "."), ("commit", "--quiet", "--message=one"),
        ("commit", "--quiet", "--allow-empty", "--message=two"), ("clone", "--quiet", "--bare", ".", str(bare)),
        ("--git-dir", str(bare), "repack", "-adq"), ("rev-parse", "HEAD", "HEAD^{tree}"),
    ):  # fmt: skip
        said = subprocess.run(["git", *words], cwd=work, env=IDENTITY, check=True, capture_output=True, text=True).stdout
    (bare / "hooks").mkdir(exist_ok=True)
    (bare / "hooks" / "post-update").write_text("#!/bin/sh\ntouch /tmp/never\n")
    (bare / "config").write_text("[core]\n\tbare = true\n\tfsmonitor = touch /tmp/never\n")
    commit, tree = said.split()
    return commit, tree, bare


def bare_tar(bare: Path, name: str) -> bytes:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(bare, f"{name}.git")
    return content.getvalue()


def flat_tar(name: str, **changes: bytes) -> bytes:
    files = {"manifest.scm": b"(list)", "run": b"#!/bin/sh\n"} | changes
    folder = member(name, type=tarfile.DIRTYPE, mode=0o755)
    return tarred(
        folder,
        *(member(f"{name}/{each}", content, mode=0o755 if each == "run" else 0o644) for each, content in files.items()),
    )


async def test_a_commit_comes_from_the_vault_once_it_is_prepared(
    manager: Manager, site: ArchiveSite, tmp_path: Path, kept: tuple[str, str, Path]
) -> None:
    commit, tree, bare = kept
    name = f"swh:1:rev:{commit}"
    site.cook("git-bare", name, bare_tar(bare, name), "new", "pending", "pending", "done")
    detail = await built(manager, f"{site.url}/browse/revision/{commit}")
    assert detail.version is not None
    assert detail.version.commit == commit
    assert in_repository(tmp_path, detail, "rev-parse", f"{commit}^{{tree}}").strip() == tree
    assert not Path("/tmp/never").exists()
    assert detail.build is not None
    assert "Software Heritage prepares this first" in (await manager.log(detail.build.id, ADA)).text


async def test_a_folder_comes_from_the_vault_as_the_tree_that_it_is(
    manager: Manager, site: ArchiveSite, tmp_path: Path, kept: tuple[str, str, Path]
) -> None:
    tree = kept[1]
    name = f"swh:1:dir:{tree}"
    site.cook("flat", name, flat_tar(name), "done")
    known = await manager.resolve(f"{site.url}/browse/directory/{tree}", "", ADA)
    assert site.asked == []
    detail = await built(manager, f"{site.url}/browse/directory/{tree}")
    assert detail.version is not None
    assert detail.version.commit == known.commit
    assert in_repository(tmp_path, detail, "rev-parse", f"{detail.version.commit}^{{tree}}").strip() == tree


async def test_a_vault_that_sends_something_else_is_not_believed(
    manager: Manager, site: ArchiveSite, kept: tuple[str, str, Path]
) -> None:
    _, tree, bare = kept
    other = "ab" * 20
    site.cook("git-bare", f"swh:1:rev:{other}", bare_tar(bare, f"swh:1:rev:{other}"), "done")
    assert "not what was asked for" in failed(await built(manager, f"{site.url}/browse/revision/{other}"))[1]
    name = f"swh:1:dir:{tree}"
    site.cook("flat", name, flat_tar(name, run=b"#!/bin/sh\nrm -rf ~\n"), "done")
    assert "not what was asked for" in failed(await built(manager, f"{site.url}/browse/directory/{tree}"))[1]
    site.cook("flat", name, flat_tar("swh:1:dir:other"), "done")
    assert "what was asked for" in failed(await built(manager, f"{site.url}/browse/directory/{tree}"))[1]


async def test_what_the_vault_does_not_give_is_told(manager: Manager, site: ArchiveSite) -> None:
    replies = {
        Reply(status=404): "ref-not-found",
        Reply(b'{"status": "failed"}'): "repository-unavailable",
        Reply(status=503): "repository-unanswered",
    }
    for number, (reply, code) in enumerate(replies.items(), start=10):
        commit = f"{number}" * 20
        site.reply(f"/api/1/vault/git-bare/swh:1:rev:{commit}/", reply, method="POST")
        assert failed(await built(manager, f"{site.url}/browse/revision/{commit}"))[0] == code


async def test_an_object_of_software_heritage_has_no_other_commits(manager: Manager, site: ArchiveSite) -> None:
    for ref in ("main", "cd" * 20):
        with pytest.raises(GuixSpawnerError) as refused:
            await manager.resolve(f"{site.url}/browse/revision/{'ab' * 20}", ref, ADA)
        assert refused.value.code == "ref-not-found"
