"""What Software Heritage keeps comes from its vault, and is believed only where it is what its identifier says.

The site is one of ours that answers as is written elsewhere: the vault (``POST`` and ``GET`` of
``/api/1/vault/BUNDLE/SWHID/``, the states ``new``, ``pending``, ``done`` and ``failed``, a tar of a bare repository below
``SWHID.git``, a gzipped one below ``SWHID``) as in the documentation of swh-web's API and in swh-vault. The real site
was not asked.
"""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from guix_build_service.manager.manager import Manager
from guix_environment.errors import GuixSpawnerError
from tests.git_server import IDENTITY
from tests.service.archives.archive_site import ArchiveSite, Reply, member, tarred
from tests.service.archives.building import ADA, built, failed, in_repository


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
