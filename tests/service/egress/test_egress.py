"""The one way out of a Git command, with real Git, real TLS and servers that do what they can."""

import asyncio
import base64
import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from guix_build_service.egress import Passage, opened
from guix_build_service.egress.passage import MOST_CONNECTIONS
from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts, PrivateHost, Reached
from guix_build_service.logs.build_logs import Logs
from guix_build_service.model.environments import Resolved
from guix_build_service.pipeline import fetch as fetching
from guix_build_service.pipeline import resolve as resolving
from guix_build_service.pipeline.job import Job
from guix_environment.errors import HostRefused, RepositoryTooLarge, RepositoryUnavailable
from guix_environment.identifiers import BuildId
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import GitServer, end_tls, make_certificate, serve_git, with_tls
from tests.service.providers.addresses import can_trace

FORGE = "forge.example"
NOWHERE = "93.184.216.34"
FOLDER = Path("/nonexistent")
connect = asyncio.open_connection


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


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where the service connects to; nothing beyond loopback is really connected to."""
    found: list[tuple[str, int]] = []

    async def recorded(host: str, port: int, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found.append((host, port))
        if host != "127.0.0.1":
            raise ConnectionRefusedError
        return await connect(host, port, **options)

    monkeypatch.setattr(asyncio, "open_connection", recorded)
    return found


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


Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(answer: Answer, certificate: Path | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """Run ANSWER on each connection to a port of loopback; gives the port, and the first line of each request."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = int(listening.getsockname()[1])
    asked: list[bytes] = []
    ended = threading.Event()
    if certificate:
        listening = with_tls(listening, certificate)

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), listening.accept()[0] as connection:
                head = b""
                while b"\r\n\r\n" not in head and (block := connection.recv(65536)):
                    head += block
                if head:
                    asked.append(head.split(b"\r\n")[0])
                    answer(connection)
                    end_tls(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port, asked
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        listening.close()


def until_it_goes(connection: socket.socket) -> None:
    connection.recv(1)


def head_and_no_more(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    connection.recv(1)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nConnection: close\r\n\r\n"


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


# The proxy itself


class Asker:
    """A program on the same machine that found the port of a Git command's proxy."""

    def __init__(self, way: Passage) -> None:
        found = re.fullmatch(r"http://(?P<credentials>.+)@127\.0\.0\.1:(?P<port>\d+)", way.reached.proxy)
        assert found
        self.port = int(found["port"])
        self.credentials = base64.b64encode(found["credentials"].encode()).decode()

    async def ask(self, first: str, *lines: str, known: bool = True) -> bytes:
        """Return all that the proxy answers to a request."""
        reader, writer = await connect("127.0.0.1", self.port)
        authorization = [f"Proxy-Authorization: Basic {self.credentials}"] if known else []
        writer.write("\r\n".join([first, *authorization, *lines, "", ""]).encode())
        answer = await reader.read()
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def way_to(url: str, *addresses: str, most: int = 10**6) -> AsyncIterator[tuple[Passage, Asker]]:
    async with opened(Reached(RepositoryUrl.parse(url), addresses), most, FOLDER) as way:
        yield way, Asker(way)


@pytest.mark.parametrize(
    "header", ["", "Proxy-Authorization: Basic Z2l0Og==", "Proxy-Authorization: Bearer x", "Proxy-Authorization:"]
)
async def test_whoever_lacks_the_password_gets_nothing(connected: list[tuple[str, int]], header: str) -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (way, asker):
        answer = await asker.ask("CONNECT forge.example:443 HTTP/1.1", *([header] if header else []), known=False)
        assert answer.startswith(b"HTTP/1.1 407 ")
        # Nor does it get a word in with what the person is told.
        assert way.refusal is None
    assert connected == []


async def test_no_more_connections_are_taken_than_git_needs() -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (_, asker):
        held = [await connect("127.0.0.1", asker.port) for _ in range(MOST_CONNECTIONS)]
        try:
            answer = await asker.ask("CONNECT forge.example:443 HTTP/1.1", known=False)
        except ConnectionError:
            answer = b""
        assert answer == b"", "closed, and not asked for the password"
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(
    "first",
    [
        "CONNECT other.example:443 HTTP/1.1",
        "CONNECT 127.0.0.1:443 HTTP/1.1",
        "CONNECT forge.example:22 HTTP/1.1",
        "CONNECT forge.example:444 HTTP/1.1",
        "CONNECT a.forge.example:443 HTTP/1.1",
        "CONNECT [::1]:443 HTTP/1.1",
        "GET http://forge.example/a HTTP/1.1",
        "GET http://forge.example:443/a HTTP/1.1",
        "POST http://169.254.169.254/latest HTTP/1.1",
    ],
)
async def test_it_leads_to_one_host_and_port_and_by_a_tunnel(connected: list[tuple[str, int]], first: str) -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (way, asker):
        assert (await asker.ask(first)).startswith(b"HTTP/1.1 403 ")
        assert isinstance(way.refusal, HostRefused)
        assert way.refusal.hint
    assert connected == []


@pytest.mark.parametrize(
    "first",
    [
        "nonsense",
        "CONNECT forge.example HTTP/1.1",
        "CONNECT forge.example:443",
        "CONNECT u@forge.example:443 HTTP/1.1",
        "GET / HTTP/1.1",
        "GET https://forge.example/a HTTP/1.1",
        "GET ftp://forge.example/a HTTP/1.1",
        "TRACE http://forge.example/ HTTP/1.1",
    ],
)
async def test_what_is_no_request_to_a_proxy_is_refused(connected: list[tuple[str, int]], first: str) -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (_, asker):
        assert (await asker.ask(first)).startswith(b"HTTP/1.1 400 ")
    assert connected == []


async def test_endless_requests_are_cut(connected: list[tuple[str, int]]) -> None:
    async with way_to("https://forge.example/a", "127.0.0.1") as (_, asker):
        reader, writer = await connect("127.0.0.1", asker.port)
        writer.write(b"CONNECT forge.example:443 HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
    assert connected == []


async def test_nothing_is_left_when_the_command_has_ended() -> None:
    with server(head_and_no_more) as (port, _):
        async with way_to(f"http://127.0.0.1:{port}/a", "127.0.0.1") as (way, asker):
            reader, writer = await asyncio.open_connection("127.0.0.1", asker.port)
            request = f"GET http://127.0.0.1:{port}/a HTTP/1.1\r\nProxy-Authorization: Basic {asker.credentials}\r\n\r\n"
            writer.write(request.encode())
            assert await reader.readuntil(b"\r\n\r\n") == HEAD
            idle = await asyncio.open_connection("127.0.0.1", asker.port)
        # One that had not been taken yet is refused, the others are closed.
        for left in (reader, idle[0]):
            with contextlib.suppress(ConnectionResetError):
                assert await left.read() == b""
        assert way.refusal is None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", asker.port)
        writer.close()
        idle[1].close()


async def test_a_host_that_does_not_answer_is_told_as_such(connected: list[tuple[str, int]]) -> None:
    async with way_to("https://forge.example/a", NOWHERE, "2606:2800:220:1::1") as (way, asker):
        assert (await asker.ask("CONNECT forge.example:443 HTTP/1.1")).startswith(b"HTTP/1.1 403 ")
    assert isinstance(way.refusal, RepositoryUnavailable)
    assert connected == [(NOWHERE, 443), ("2606:2800:220:1::1", 443)]


async def test_the_password_goes_no_further() -> None:
    heads = []

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD)

    with server(answer) as (port, asked):
        async with way_to(f"http://127.0.0.1:{port}/a", "127.0.0.1") as (_, asker):
            heads.append(await asker.ask(f"GET http://127.0.0.1:{port}/a?b HTTP/1.1", "X: y"))
    assert heads == [HEAD]
    assert asked == [b"GET /a?b HTTP/1.1"]


async def test_a_folder_needs_no_way(tmp_path: Path) -> None:
    reached = Reached(RepositoryUrl.parse(f"file://{tmp_path}"))
    async with opened(reached, 1, tmp_path) as way:
        assert way.reached == reached


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
