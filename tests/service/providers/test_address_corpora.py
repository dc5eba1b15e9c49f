"""Addresses and refs by the hundred: hostile ones are refused before anything is asked, those that people paste are used."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from guix_build_service.git.hosts import Hosts
from guix_environment.repository_url import RepositoryUrl, checked_ref
from tests.service.providers.addresses import (
    FORGE,
    HOSTILE_ADDRESSES,
    HOSTILE_REFS,
    can_trace,
    lines,
    no_git,
    nothing_but_refusal,
    refused,
)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give what Python does meanwhile that could reach somebody."""
    seen: list[str] = []
    active = True

    def hook(event: str, _arguments: object) -> None:
        asks = (
            "socket.connect",
            "socket.getaddrinfo",
            "socket.gethost",
            "socket.sendto",
            "socket.sendmsg",
            "subprocess.",
            "os.",
        )
        if active and event.startswith(asks):
            seen.append(event)

    sys.addaudithook(hook)
    try:
        yield seen
    finally:
        active = False


def test_the_corpora_are_as_large_as_they_should_be() -> None:
    assert len(set(HOSTILE_ADDRESSES)) >= 300
    assert len(set(HOSTILE_REFS)) >= 100
    assert len(set(lines("addresses.txt"))) >= 60


async def test_hostile_addresses_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    git, hosts = no_git(tmp_path), nothing_but_refusal()
    with watched() as seen:
        accepted = [address for address in HOSTILE_ADDRESSES if not await refused(git, hosts, address, "")]
    assert accepted == []
    assert seen == []
    assert not (tmp_path / "was-run").exists()


async def test_hostile_refs_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    git, hosts = no_git(tmp_path), nothing_but_refusal()
    with watched() as seen:
        accepted = [ref for ref in HOSTILE_REFS if not await refused(git, hosts, FORGE, ref)]
    assert accepted == []
    assert seen == []
    assert not (tmp_path / "was-run").exists()


async def test_addresses_that_people_paste_are_used_in_one_spelling() -> None:
    async def public(host: str, port: int) -> Sequence[str]:
        del host, port
        return ["93.184.216.34"]

    for line in lines("addresses.txt"):
        pasted, canonical = line.split("\t")
        url = RepositoryUrl.parse(pasted)
        assert str(url) == canonical
        assert RepositoryUrl.parse(canonical) == url
        assert (await Hosts(resolver=public).check(url)).url == url


@pytest.mark.parametrize("ref", lines("refs.txt"))
def test_refs_that_people_ask_for(ref: str) -> None:
    assert checked_ref(ref) == ref


@pytest.mark.parametrize("ref", [ref for ref in lines("refs.txt") if ref.startswith("refs/") or "/" not in ref])
def test_git_takes_them_too(ref: str) -> None:
    done = subprocess.run(["git", "check-ref-format", "--allow-onelevel", ref], check=False)
    assert done.returncode == 0


TRACED = """
import asyncio, json, sys
from pathlib import Path
from guix_build_service.git.git import Git
from guix_build_service.git.hosts import Hosts
from tests.service.providers.addresses import FORGE, HOSTILE_ADDRESSES, HOSTILE_REFS, refused

async def main():
    hosts, git = Hosts(), Git("/nonexistent/git", Path("/nonexistent"))
    results = [await refused(git, hosts, address, "") for address in HOSTILE_ADDRESSES]
    results += [await refused(git, hosts, FORGE, ref) for ref in HOSTILE_REFS]
    print(sum(results), len(results))

asyncio.run(main())
"""


@pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")
def test_the_kernel_sees_no_connection_while_they_are_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=connect,sendto,sendmsg,sendmmsg,execve,execveat"
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", calls, sys.executable, "-c", TRACED]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    total = str(len(HOSTILE_ADDRESSES) + len(HOSTILE_REFS))
    assert done.stdout.split() == [total, total], done.stderr
    seen = [line for line in trace.read_text().splitlines() if "exited with" not in line and "+++" not in line]
    beyond = [line for line in seen if "execve(" not in line and "AF_UNIX" not in line and "sun_family" not in line]
    assert beyond == []
    # The interpreter itself, and nothing that it starts.
    assert [line for line in seen if "execve(" in line][1:] == []


@pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")
def test_the_trace_sees_connections(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code = "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 1))"
    subprocess.run(["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=connect", sys.executable, "-c", code], check=True)
    assert "AF_INET" in trace.read_text()
