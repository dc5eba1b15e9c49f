"""Repositories on a real Git server: what is found there, what is fetched, and what is never done."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from guix_build_service.git.git import version_reference
from guix_build_service.git.hosts import Hosts
from guix_build_service.jail.evaluation import Evaluation
from guix_build_service.manifest.reader import LARGEST_TEXT
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline.read import places, read
from guix_build_service.pipeline.remote import failure
from guix_environment.errors import (
    ChannelsRefused,
    ChannelsUnreadable,
    GuixSpawnerError,
    HostRefused,
    InvalidRef,
    ManifestMissing,
    ManifestUnreadable,
    RefNotFound,
    RepositoryTooLarge,
    RepositoryUnavailable,
)
from guix_environment.guix_command import GuixCommand
from guix_environment.identifiers import Commit
from guix_environment.processes import Completed
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import IDENTITY, GitServer
from tests.service.client import Client as Client  # other tests take it from here

MANIFEST = '(specifications->manifest (list "sed"))\n'
NO_GUIX = GuixCommand("no-such-guix", Path("/nowhere"), "nobody")


def git(folder: Path, *words: str) -> str:
    command = ["git", *words]
    environment = IDENTITY | {"HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def client(tmp_path: Path, git_server: GitServer) -> Client:
    folder = tmp_path / "client"
    folder.mkdir()
    return Client(folder, git_server.host)


@pytest.fixture
def many_refs(git_server: GitServer) -> dict[str, str]:
    """A repository with names that look like each other; the commit of each."""
    commits = {"main": git_server.commit("refs", {"a": "1"})}
    commits["release/main"] = git_server.commit("refs", {"a": "2"}, branch="release/main")
    bare = git_server.folder / "refs.git"
    git(bare, "tag", "light", commits["main"])
    git(bare, "tag", "-a", "-m", "A tag", "v1", commits["release/main"])
    git(bare, "tag", "both", commits["main"])
    git(bare, "branch", "both", commits["release/main"])
    return commits


@pytest.mark.parametrize(
    ("ref", "name", "expected"),
    [
        ("", "main", "main"),
        ("main", "main", "main"),
        ("release/main", "release/main", "release/main"),
        ("refs/heads/main", "main", "main"),
        ("light", "light", "main"),
        ("v1", "v1", "release/main"),
        ("refs/tags/v1", "v1", "release/main"),
        ("both", "both", "release/main"),
    ],
)
async def test_a_name_stands_for_one_commit(
    client: Client, git_server: GitServer, many_refs: dict[str, str], ref: str, name: str, expected: str
) -> None:
    resolved = await client.resolve(git_server.url("refs"), ref)
    assert (resolved.ref, resolved.commit) == (name, many_refs[expected])


async def test_a_full_commit_stands_for_itself(client: Client, git_server: GitServer, many_refs: dict[str, str]) -> None:
    resolved = await client.resolve(git_server.url("refs"), many_refs["main"].upper())
    assert resolved == Resolved(RepositoryUrl.parse(git_server.url("refs")), "", Commit(many_refs["main"]))


@pytest.mark.parametrize("ref", ["no-such", "mai", "ain", "eads/main", "heads/main", "refs/heads/no-such", "MAIN"])
async def test_a_name_that_is_not_there_is_not_found(
    client: Client, git_server: GitServer, many_refs: dict[str, str], ref: str
) -> None:
    del many_refs
    with pytest.raises(RefNotFound) as raised:
        await client.resolve(git_server.url("refs"), ref)
    assert ref in raised.value.message
    assert raised.value.hint


async def test_a_short_commit_is_explained(client: Client, git_server: GitServer, many_refs: dict[str, str]) -> None:
    with pytest.raises(RefNotFound) as raised:
        await client.resolve(git_server.url("refs"), many_refs["main"][:8])
    assert "all of its 40 characters" in raised.value.hint


async def test_a_ref_that_could_be_an_option_never_reaches_git(client: Client, git_server: GitServer) -> None:
    with pytest.raises(InvalidRef):
        await client.resolve(git_server.url("refs"), "--upload-pack=id")


async def test_an_empty_repository_has_no_default_branch(client: Client, git_server: GitServer) -> None:
    git(git_server.folder, "init", "--quiet", "--bare", "empty.git")
    with pytest.raises(RefNotFound, match="no default branch"):
        await client.resolve(git_server.url("empty"))


async def test_what_is_no_repository_is_told_without_a_word_of_the_server_s(client: Client, git_server: GitServer) -> None:
    with pytest.raises(RepositoryUnavailable) as raised:
        await client.resolve(git_server.url("nothing"))
    assert raised.value.message == f"There is no Git repository at {git_server.url('nothing')}, or it is private."


@contextmanager
def web_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """Serve ANSWER on loopback; gives host and port, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


async def test_a_redirect_leads_nowhere(tmp_path: Path, git_server: GitServer) -> None:
    git_server.commit("target", {"a": "1"})

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", git_server.url("target") + handler.path)
        handler.end_headers()

    with web_server(redirect) as (host, asked), pytest.raises(RepositoryUnavailable):
        await Client(tmp_path, host).resolve(f"http://{host}/a")
    # Forges that only know the address with .git get a second try, on the same host.
    assert [path.partition("?")[0] for path in asked] == ["/a/info/refs", "/a.git/info/refs"]


async def test_a_page_that_asks_for_a_password_is_a_private_repository(tmp_path: Path) -> None:
    def refuse(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="private"')
        handler.end_headers()

    with web_server(refuse) as (host, _), pytest.raises(RepositoryUnavailable, match="or it is private"):
        await Client(tmp_path, host).resolve(f"http://{host}/a")


async def test_a_host_that_is_not_listed_is_not_even_asked(tmp_path: Path) -> None:
    def fail(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(500)
        handler.end_headers()

    with web_server(fail) as (host, asked), pytest.raises(HostRefused):
        await Client(tmp_path, "127.0.0.1:1").resolve(f"http://{host}/a")
    assert asked == []


async def test_one_commit_is_fetched_without_its_history_and_never_checked_out(
    client: Client, git_server: GitServer
) -> None:
    old = git_server.commit("repo", {"manifest.scm": MANIFEST})
    new = git_server.commit("repo", {"manifest.scm": MANIFEST, "index.ipynb": "{}", ".gitattributes": "* filter=lfs"})
    job, resolved = await client.fetched(git_server.url("repo"))
    assert resolved.commit == new
    assert git(job.clone, "rev-list", "--count", version_reference(resolved.commit)) == "1"
    assert not list(job.clone.glob("hooks/*"))
    assert "127.0.0.1" not in (job.clone / "config").read_text()
    assert not (job.clone / "index").exists()
    # An older commit is given too, by its name alone.
    job, resolved = await client.fetched(git_server.url("repo"), old)
    assert resolved.commit == old
    assert git(job.clone, "rev-parse", version_reference(resolved.commit)) == old


async def test_a_commit_that_nobody_pushed_is_not_found(client: Client, git_server: GitServer) -> None:
    git_server.commit("repo", {"manifest.scm": MANIFEST})
    with pytest.raises(RefNotFound, match="does not have the commit 0123456"):
        await client.fetched(git_server.url("repo"), "0123456789" * 4)


async def test_a_repository_beyond_the_limit_is_not_kept(
    client: Client, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guix_build_service.git.git.LARGEST_PACK", 1_000_000)
    git_server.commit("large", {"manifest.scm": MANIFEST, "data": os.urandom(5_000_000)})
    with pytest.raises(RepositoryTooLarge, match="larger than this hub fetches"):
        await client.fetched(git_server.url("large"))


@pytest.mark.parametrize(
    "words",
    ["No space left on device", "Connection refused", "File too large", "fsck error in pack", "certificate", "corrupt"],
)
def test_no_word_of_a_server_s_decides_what_a_failure_means(words: str) -> None:
    said = f"remote: {words}\nfatal: remote error: {words}\nfatal: the remote end hung up\n"
    told = failure(Completed(128, b"", said.encode()), RepositoryUrl.parse("https://git.example/a"))
    assert told.message == "There is no Git repository at https://git.example/a, or it is private."


async def test_submodules_and_hooks_are_left_alone(client: Client, git_server: GitServer, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    git_server.commit("inner", {"a": "1"})
    modules = f'[submodule "x"]\n\tpath = x\n\turl = {git_server.url("inner")}\n'
    git_server.commit("repo", {"manifest.scm": MANIFEST, ".gitmodules": modules, "hooks/post-checkout": f"touch {canary}"})
    job, resolved = await client.fetched(git_server.url("repo"))
    assert (await read(job, client.git, resolved.commit)).packages.specifications() == ("sed",)
    assert not canary.exists()


async def test_a_repository_made_to_harm_is_refused(client: Client, git_server: GitServer, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    modules = f'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch {canary}\n\tupdate = !touch {canary}\n'
    git_server.commit("repo", {"manifest.scm": MANIFEST, ".gitmodules": modules})
    with pytest.raises(RepositoryUnavailable, match="made to harm"):
        await client.fetched(git_server.url("repo"))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("files", "subdirectory", "source", "notebook"),
    [
        ({"manifest.scm": MANIFEST, "index.ipynb": "{}", "a.ipynb": "{}"}, "", "manifest.scm", "index.ipynb"),
        ({".guix/manifest.scm": MANIFEST, "b.ipynb": "{}", "a.ipynb": "{}"}, "", ".guix/manifest.scm", "a.ipynb"),
        ({"guix/manifest.scm": MANIFEST, "x/a.ipynb": "{}"}, "", "guix/manifest.scm", ""),
        ({"manifest.scm": MANIFEST, ".guix/manifest.scm": "(bad)"}, "", "manifest.scm", ""),
        ({"work/manifest.scm": MANIFEST, "manifest.scm": "(", "work/a.ipynb": ""}, "work", "work/manifest.scm", "a.ipynb"),
        ({"work/a.ipynb": "", ".guix/manifest.scm": MANIFEST}, "work", ".guix/manifest.scm", "a.ipynb"),
    ],
)
async def test_the_manifest_and_the_notebook_are_found(
    client: Client, git_server: GitServer, files: dict[str, str], subdirectory: str, source: str, notebook: str
) -> None:
    git_server.commit("repo", files)
    job, resolved = await client.fetched(git_server.url("repo"), subdirectory=subdirectory)
    found = await read(job, client.git, resolved.commit)
    assert (found.source, found.notebook) == (source, notebook)
    assert found.packages.specifications() == ("sed",)


async def test_files_that_a_manifest_loads_are_those_of_the_commit(client: Client, git_server: GitServer) -> None:
    files = {
        ".guix/manifest.scm": '(load "lists/base.scm")\n(specifications->manifest base)',
        ".guix/lists/base.scm": '(load "../more.scm")\n(define base (cons "sed" more))',
        ".guix/more.scm": '(define more \'("grep"))',
        ".guix/channels.scm": '(load "pinned.scm")\nchannels',
        ".guix/pinned.scm": "(define channels %default-channels)",
    }
    git_server.commit("repo", files)
    job, resolved = await client.fetched(git_server.url("repo"))
    found = await read(job, client.git, resolved.commit)
    assert found.packages.specifications() == ("sed", "grep")
    [guix] = found.channels
    assert (guix.name, guix.url, guix.commit, guix.is_pinned) == ("guix", "https://git.guix.gnu.org/guix.git", "", False)


@pytest.mark.parametrize(
    ("channels", "error", "words"),
    [
        (
            '(cons (channel (name \'x) (url "https://x.example/")) %default-channels)',
            ChannelsRefused,
            "x (line 1): it has no intro",
        ),
        ('(list (channel (name \'guix) (url (getenv "URL"))))', ChannelsUnreadable, "channels.scm cannot be read at line 1"),
        ('(load "missing.scm")', ChannelsUnreadable, "no file missing.scm"),
        (b"\xff", ChannelsUnreadable, "channels.scm is not text in UTF-8"),
    ],
)
async def test_channels_that_are_not_used_are_explained(
    client: Client, git_server: GitServer, channels: str | bytes, error: type[GuixSpawnerError], words: str
) -> None:
    git_server.commit("repo", {"manifest.scm": MANIFEST, "channels.scm": channels})
    job, resolved = await client.fetched(git_server.url("repo"))
    with pytest.raises(error) as raised:
        await read(job, client.git, resolved.commit)
    assert words in raised.value.message


async def test_no_manifest_is_run_for_a_guix_that_it_is_not_meant_for(client: Client, git_server: GitServer) -> None:
    files = {"manifest.scm": '(system "id")', "channels.scm": "%default-channels"}
    git_server.commit("repo", files)
    job, resolved = await client.fetched(git_server.url("repo"))
    with pytest.raises(ManifestUnreadable) as raised:
        await read(job, client.git, resolved.commit, evaluation=Evaluation(NO_GUIX, repositories=("*/*",)))
    assert "a manifest is not run" in raised.value.hint


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "manifest.scm cannot be read at line 1, column 1: the repository has no file base.scm"),
        ({"base.scm/a": "x"}, "no file base.scm"),
        ({"base.scm": b"\xff"}, "base.scm is not text in UTF-8"),
        ({"base.scm": '\n(system "id")'}, "base.scm cannot be read at line 2, column 1: it would run a program"),
    ],
)
async def test_a_file_that_cannot_be_loaded_is_explained(
    client: Client, git_server: GitServer, files: dict[str, str | bytes], words: str
) -> None:
    git_server.commit("repo", {"manifest.scm": '(load "base.scm")', **files})
    job, resolved = await client.fetched(git_server.url("repo"))
    with pytest.raises(ManifestUnreadable) as raised:
        await read(job, client.git, resolved.commit)
    assert words in raised.value.message


def test_where_a_manifest_is_looked_for() -> None:
    assert places("") == ("manifest.scm", ".guix/manifest.scm", "guix/manifest.scm")
    assert places("a/b")[:3] == ("a/b/manifest.scm", "a/b/.guix/manifest.scm", "a/b/guix/manifest.scm")
    # That of the whole repository does for a part of it, but not one that is merely in the folder above.
    assert places("a/b")[3:] == (".guix/manifest.scm", "guix/manifest.scm")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"(specifications->manifest\n (list sed))", "manifest.scm cannot be read at line 2, column 8"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b" " * (LARGEST_TEXT + 1), "larger than 256 KiB"),
    ],
)
async def test_a_manifest_that_is_none_is_explained(
    client: Client, git_server: GitServer, content: bytes, words: str
) -> None:
    git_server.commit("repo", {"manifest.scm": content})
    job, resolved = await client.fetched(git_server.url("repo"))
    with pytest.raises(ManifestUnreadable) as raised:
        await read(job, client.git, resolved.commit)
    assert words in raised.value.message
    assert raised.value.details["file"] == "manifest.scm"


async def test_no_manifest_is_said_with_an_example(client: Client, git_server: GitServer) -> None:
    git_server.commit("repo", {"README": "", "manifest.scm/deep": ""})
    job, resolved = await client.fetched(git_server.url("repo"))
    with pytest.raises(ManifestMissing, match=r"There is no manifest.scm in the repository") as raised:
        await read(job, client.git, resolved.commit)
    assert '(list "python" "python-pandas")' in raised.value.hint


async def test_a_link_is_not_followed(client: Client, git_server: GitServer) -> None:
    git_server.commit("repo", {"README": ""})
    work = git_server.folder / ".repo.work"
    (work / "manifest.scm").symlink_to("/etc/passwd")
    (work / "index.ipynb").symlink_to("/etc/passwd")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=link")
    git(work, "push", "--quiet", "origin", "main")
    job, resolved = await client.fetched(git_server.url("repo"))
    with pytest.raises(ManifestUnreadable, match="symbolic link"):
        await read(job, client.git, resolved.commit)


async def test_file_addresses_work_below_listed_folders(tmp_path: Path) -> None:
    folder = tmp_path / "listed" / "repo"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "manifest.scm").write_text(MANIFEST)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=one")
    client = Client(tmp_path, "127.0.0.1:1")
    client.hosts = Hosts(file_repositories=[tmp_path / "listed"])
    if os.geteuid() == 0:
        # An administrator's folder of examples need not belong to the service's account.
        shutil.chown(folder, 65534, 65534)
        shutil.chown(folder / ".git", 65534, 65534)
    job, resolved = await client.fetched(f"file://{folder}")
    assert (await read(job, client.git, resolved.commit)).source == "manifest.scm"
