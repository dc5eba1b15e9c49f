"""The one way out of a Git command, with real Git, real TLS and servers that do what they can."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.logs.build_logs import Logs
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline import fetch as fetching
from guix_build_service.pipeline import resolve as resolving
from guix_build_service.pipeline.job import Job
from guix_environment.errors import HostRefused, RepositoryTooLarge, RepositoryUnavailable
from guix_environment.identifiers import BuildId
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import GitServer, make_certificate, serve_git
from tests.service.egress.answering import HEAD, NOWHERE, server
from tests.service.providers.addresses import can_trace

FORGE = "forge.example"


class Names:
    """A resolver that gives one answer after the other, the last one again and again."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(f"{host}:{port}")
        return [self.answers[min(len(self.asked), len(self.answers)) - 1]]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path / "forge.pem", FORGE)


@pytest.fixture
def forge(tmp_path: Path, certificate: Path) -> Iterator[GitServer]:
    """A Git server on loopback that speaks TLS."""
    (tmp_path / "repositories").mkdir()
    with serve_git(tmp_path / "repositories", certificate) as server:
        yield server


@pytest.fixture
def git(tmp_path: Path, certificate: Path) -> Git:
    return Git(shutil.which("git") or "git", tmp_path, certificates=certificate)


def at_forge(port: int, path: str = "/repo.git") -> RepositoryUrl:
    return RepositoryUrl.parse(f"https://{FORGE}:{port}{path}")


def listed(port: int, names: Names) -> Hosts:
    return Hosts([PrivateHost(FORGE, port)], resolver=names)


async def test_a_repository_comes_over_tls_from_a_host_that_is_listed(
    tmp_path: Path, forge: GitServer, git: Git, connected: list[tuple[str, int]]
) -> None:
    commit = forge.commit("repo", {"manifest.scm": "x", "data": os.urandom(300_000)})
    names = Names("127.0.0.1")
    url = at_forge(forge.port)
    resolved = await resolving.resolve(git, listed(forge.port, names), url, "main")
    assert resolved.commit == commit
    build = BuildId.new()
    job = Job(build, url, "main", "", None, False, tmp_path / "job", Logs(tmp_path / "logs").open(build))
    await fetching.fetch(job, git, listed(forge.port, names), resolved)
    assert (await git.run("cat-file", "-t", commit, folder=job.clone)).output == b"commit\n"
    # One look-up for each of two commands, and every connection to what it gave.
    assert names.asked == [f"{FORGE}:{forge.port}"] * 2
    assert set(connected) == {("127.0.0.1", forge.port)}
    assert str(tmp_path) not in (job.clone / "config").read_text()
    assert "127.0.0.1" not in (job.clone / "config").read_text()


async def test_a_host_that_cannot_prove_who_it_is_is_not_used(forge: GitServer, git: Git, tmp_path: Path) -> None:
    forge.commit("repo", {"a": "1"})
    other = make_certificate(tmp_path / "other.pem", FORGE)
    for trusting in (Git(git.program, tmp_path), Git(git.program, tmp_path, certificates=other)):
        with pytest.raises(RepositoryUnavailable, match="does not prove who it is"):
            await resolving.resolve(trusting, listed(forge.port, Names("127.0.0.1")), at_forge(forge.port), "")
    url = RepositoryUrl.parse(f"https://127.0.0.1:{forge.port}/repo.git")
    with pytest.raises(RepositoryUnavailable, match="does not prove who it is"):
        await resolving.resolve(git, Hosts([PrivateHost("127.0.0.1", forge.port)]), url, "")


@pytest.mark.parametrize("private", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00:ec2::254"])
async def test_a_name_that_changes_its_mind_leads_nowhere(git: Git, connected: list[tuple[str, int]], private: str) -> None:
    names = Names(NOWHERE, private)
    with pytest.raises(RepositoryUnavailable, match="does not answer"):
        await resolving.resolve(git, Hosts(resolver=names), RepositoryUrl.parse(f"https://{FORGE}/a"), "")
    assert connected == [(NOWHERE, 443)]
    assert names.asked == [f"{FORGE}:443"]
    with pytest.raises(HostRefused):
        await resolving.resolve(git, Hosts(resolver=names), RepositoryUrl.parse(f"https://{FORGE}/a"), "")
    assert connected == [(NOWHERE, 443)]


async def test_the_machine_s_own_addresses_are_not_the_internet(
    git: Git, connected: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guix_build_service.git.hosts.is_this_machine", lambda address: str(address) == NOWHERE)
    with pytest.raises(HostRefused):
        await resolving.resolve(git, Hosts(resolver=Names(NOWHERE)), RepositoryUrl.parse(f"https://{FORGE}/a"), "")
    assert connected == []


def until_it_goes(connection: socket.socket) -> None:
    connection.recv(1)


async def test_a_redirect_to_another_host_is_not_followed(
    forge: GitServer, git: Git, certificate: Path, connected: list[tuple[str, int]]
) -> None:
    forge.commit("repo", {"a": "1"})
    for target in (f"https://{FORGE}:{forge.port}/repo.git/info/refs", "http://169.254.169.254/", "https://127.0.0.1/x"):
        location = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        connected.clear()
        with server(lambda connection, said=location: connection.sendall(said), certificate) as (port, asked):  # type: ignore[misc]
            with pytest.raises(RepositoryUnavailable):
                await resolving.resolve(git, listed(port, Names("127.0.0.1")), at_forge(port, "/repo"), "")
            # Some forges know an address only with .git; it is asked for on the same host.
            assert [line.split()[1].partition(b"?")[0] for line in asked] == [b"/repo/info/refs", b"/repo.git/info/refs"]
        assert set(connected) == {("127.0.0.1", port)}


async def test_a_server_that_says_nothing_is_given_up(git: Git, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "LISTING_SECONDS", 1.0)
    waits = pytest.raises(RepositoryUnavailable, match="does not answer, or too slowly")
    with server(until_it_goes, certificate) as (port, _), waits:
        await resolving.resolve(git, listed(port, Names("127.0.0.1")), at_forge(port), "")


async def test_a_server_that_never_stops_is_stopped(git: Git, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "LARGEST_LISTING", 300_000)
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"001e# service=git-upload-pack\n0000")
        line = b"003d" + b"0" * 39 + b"1 refs/heads/abcdefg\n"
        block = line * 1000
        while True:
            connection.sendall(block)
            sent.append(len(block))

    with server(flood, certificate) as (port, _), pytest.raises(RepositoryTooLarge, match="larger than this hub fetches"):
        await resolving.resolve(git, listed(port, Names("127.0.0.1")), at_forge(port), "")
    # What is on its way in buffers comes on top.
    assert sum(sent) < 50_000_000


async def test_a_transfer_beyond_the_limit_is_ended(
    tmp_path: Path, forge: GitServer, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST_PACK", 500_000)
    commit = forge.commit("repo", {"data": os.urandom(3_000_000)})
    url, build = at_forge(forge.port), BuildId.new()
    job = Job(build, url, "main", "", None, False, tmp_path / "job", Logs(tmp_path / "logs").open(build))
    resolved = Resolved(url, "main", (await resolving.resolve(git, listed(forge.port, Names("127.0.0.1")), url, "")).commit)
    assert resolved.commit == commit
    with pytest.raises(RepositoryTooLarge):
        await fetching.fetch(job, git, listed(forge.port, Names("127.0.0.1")), resolved)
    assert sum(file.stat().st_size for file in (job.clone / "objects/pack").iterdir()) <= 500_000


@pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")
async def test_git_itself_connects_to_nothing_but_its_proxy(
    tmp_path: Path, forge: GitServer, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.commit("repo", {"a": "1"})
    trace, tracing = tmp_path / "trace", tmp_path / "tracing"
    tracing.write_text(f'#!/bin/sh\nexec strace -f -qq -o {trace} -e trace=connect,sendto,sendmmsg git "$@"\n')
    tracing.chmod(0o755)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    traced = Git(str(tracing), tmp_path, certificates=git.certificates)
    await resolving.resolve(traced, listed(forge.port, Names("127.0.0.1")), at_forge(forge.port), "")
    calls = [line for line in trace.read_text().splitlines() if re.search(r"connect\(|sendto\(|sendmmsg\(", line)]
    reached = [line for line in calls if "AF_INET" in line]
    assert reached
    assert all('"127.0.0.1"' in line and f"htons({forge.port})" not in line for line in reached)
    assert len({re.search(r"htons\((\d+)\)", line)[1] for line in reached}) == 1  # type: ignore[index]
    assert subprocess.run(["grep", "-c", "htons(53)", trace], capture_output=True, check=False).stdout == b"0\n"
