"""Private repositories over SSH, from a real server: with the key, and with nothing but the key and a host that is known."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guix_build_service.credentials.envelope import Kind, Secret
from guix_build_service.credentials.keys import GivenKeys, parse_keys
from guix_build_service.credentials.ssh_keys import SshKey
from guix_build_service.git.git import Door, Git
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.git.secure_shell import SecureShell
from guix_build_service.manager.reading_rights import ReadingRights
from guix_build_service.model.environments import Person, Resolved
from guix_build_service.pipeline.resolve import resolve
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.vault import Vault
from guix_environment.errors import (
    CredentialUnusable,
    HostKeyChanged,
    HostKeyUnknown,
    InvalidInput,
    NotFound,
    RepositoryUnanswered,
    RepositoryUnavailable,
    RepositoryWithdrawn,
)
from guix_environment.identifiers import Commit
from guix_environment.processes import run
from guix_environment.repository_access import RepositoryAccess
from guix_environment.repository_url import RepositoryUrl
from tests.ssh_server import SSHD, SshServer, key_of, make_key, serve_ssh

URL = RepositoryUrl.parse("git@git.example:ada/private.git")


KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa-256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa-384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa-521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "rsa-in-pem": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if SSHD is None:
        pytest.skip("there is no sshd here")
    with serve_ssh(tmp_path_factory.mktemp("ssh")) as server:
        server.repositories.commit("private", {"manifest.scm": "()"})
        yield server


@pytest.fixture
def commit(server: SshServer) -> str:
    return server.repositories.commit("private", {"manifest.scm": "()"})


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Vault]:
    store = await Store.open(f"sqlite:///{tmp_path}/service.sqlite")
    yield Vault(CredentialRows(store), GivenKeys(parse_keys("00" * 32)), tmp_path / "loans")
    await store.close()


async def commit_of(
    server: SshServer, vault: Vault, tmp_path: Path, shell: SecureShell | None = None, person: str = "ada"
) -> Commit:
    """Return the newest commit of the server's repository, as PERSON is told it."""
    return await commit_told(server, git_of(vault, tmp_path, shell or SecureShell(server.known_hosts), person))


def git_of(vault: Vault, tmp_path: Path, shell: SecureShell, person: str = "ada") -> Git:
    return Git("git", tmp_path, lender=vault.lend, person=person, secure_shell=shell)


async def commit_told(server: SshServer, git: Git) -> Commit:
    hosts = Hosts([PrivateHost.parse(server.host)], over_ssh=True)
    return (await resolve(git, hosts, RepositoryUrl.parse(server.url("private")), "main")).commit


@pytest.mark.parametrize("kind", KINDS)
async def test_a_private_repository_opens_with_a_key_of_each_kind(
    server: SshServer, commit: str, vault: Vault, tmp_path: Path, kind: str
) -> None:
    key = key_of(tmp_path / "made", *KINDS[kind])
    server.admit(tmp_path / "made/key")
    git = replace(git_of(vault, tmp_path, SecureShell(server.known_hosts)), door=Door())
    kept = await vault.put("ada", server.host, key)
    assert await commit_told(server, git) == commit
    assert git.door is not None
    assert git.door.closed
    [after] = await vault.credentials("ada")
    assert (after.place, after.fingerprint) == (kept.place, key.fingerprint)
    assert after.used is not None
    assert after.refused is None
    listed = await run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "made/key.pub")], environment={"PATH": os.environ["PATH"]}, timeout=60
    )
    assert key.fingerprint.encode() in listed.output
    assert not list((tmp_path / "loans").iterdir())
    assert not list((tmp_path / "passages").iterdir())


async def test_another_key_and_none_open_nothing(server: SshServer, commit: str, vault: Vault, tmp_path: Path) -> None:
    key_of(tmp_path / "admitted")
    server.admit(tmp_path / "admitted/key")
    with pytest.raises(RepositoryUnavailable, match="you keep none for it"):
        await commit_of(server, vault, tmp_path)
    await vault.put("ada", server.host, Secret("ada", "a token is no key"))
    with pytest.raises(RepositoryUnavailable, match="you keep none for it"):
        await commit_of(server, vault, tmp_path)
    await vault.put("ada", server.host, key_of(tmp_path / "other"))
    with pytest.raises(RepositoryUnavailable, match="does not accept the SSH key"):
        await commit_of(server, vault, tmp_path)
    [_, refused] = await vault.credentials("ada")
    assert refused.place.kind is Kind.SSH_KEY
    assert refused.refused is not None
    with pytest.raises(RepositoryUnavailable, match="you keep none for it"):
        await commit_of(server, vault, tmp_path, person="eve")
    await vault.put("ada", server.host, SshKey.parse((tmp_path / "admitted/key").read_text()))
    assert await commit_of(server, vault, tmp_path) == commit
    await vault.remove("ada", server.host, Kind.SSH_KEY)
    with pytest.raises(NotFound):
        await vault.remove("ada", server.host, Kind.SSH_KEY)
    assert [each.place.kind for each in await vault.credentials("ada")] == [Kind.PASSWORD]


async def test_a_host_is_asked_only_as_long_as_it_shows_the_key_by_which_it_is_known(vault: Vault, tmp_path: Path) -> None:
    if SSHD is None:
        pytest.skip("there is no sshd here")
    key = key_of(tmp_path / "made")
    await vault.put("ada", "127.0.0.1", key)  # of SSH's own port: not this one's
    with serve_ssh(tmp_path / "ssh") as server:
        await vault.put("ada", server.host, key)
        server.repositories.commit("private", {"manifest.scm": "()"})
        server.admit(tmp_path / "made/key")
        none, learned = tmp_path / "none", tmp_path / "learned"
        none.touch()
        with pytest.raises(HostKeyUnknown) as unknown:
            await commit_of(server, vault, tmp_path, shell=SecureShell(none))
        assert "known_hosts" in unknown.value.hint
        assert await commit_of(server, vault, tmp_path, shell=SecureShell(none, learned))
        assert learned.read_text().startswith(f"[127.0.0.1]:{server.port} ssh-ed25519 ")
        assert none.read_text() == ""
        before = server.said()
    with serve_ssh(tmp_path / "ssh", port=server.port) as server:  # with another key of its own
        for shell in (SecureShell(server.known_hosts), SecureShell(none, learned)):
            with pytest.raises(HostKeyChanged) as changed:
                await commit_of(server, vault, tmp_path, shell=shell)
            assert "administrator" in changed.value.hint
        assert "publickey" not in server.said().removeprefix(before), "nothing was signed for it"
        assert "Accepted" not in server.said().removeprefix(before)
    with pytest.raises(RepositoryUnanswered):
        await commit_of(server, vault, tmp_path)
    [*_, last] = await vault.credentials("ada")
    assert last.refused is None


async def test_a_list_of_hosts_may_have_every_form_that_ssh_knows(vault: Vault, tmp_path: Path) -> None:
    if SSHD is None:
        pytest.skip("there is no sshd here")
    key, authority, other = (key_of(tmp_path / "made"), *(make_key(tmp_path / name) for name in ("authority", "other")))
    with serve_ssh(tmp_path / "ssh", authority=authority) as server:
        commit = server.repositories.commit("private", {"manifest.scm": "()"})
        server.admit(tmp_path / "made/key")
        await vault.put("ada", server.host, key)
        name, known, listed = f"[127.0.0.1]:{server.port}", tmp_path / "known", server.known_hosts.read_text()

        async def told(*lines: str) -> str:
            known.write_text("".join(f"{line.strip()}\n" for line in lines))
            return await commit_of(server, vault, tmp_path, shell=SecureShell(known))

        assert await told(f"@cert-authority {name} {authority.with_suffix('.pub').read_text()}") == commit
        with pytest.raises(HostKeyUnknown):
            await told(f"@cert-authority {name} {other.with_suffix('.pub').read_text()}")
        with pytest.raises(HostKeyChanged):
            await told(f"@revoked {name} {listed.split(' ', 1)[1]}", listed)
        known.write_text(listed)
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
        assert await told(hashed := known.read_text()) == commit
        assert "127.0.0.1" not in hashed


async def test_what_does_not_speak_ssh_is_said_not_to_answer(vault: Vault, tmp_path: Path, server: SshServer) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    await vault.put("ada", host, key_of(tmp_path / "made"))
    git = Git("git", tmp_path, lender=vault.lend, person="ada", secure_shell=SecureShell(server.known_hosts))
    with pytest.raises(RepositoryUnanswered):
        await resolve(
            git, Hosts([PrivateHost.parse(host)], over_ssh=True), RepositoryUrl.parse(f"ssh://git@{host}/a"), "main"
        )
    listening.close()


async def test_a_key_opens_no_address_of_https_and_a_token_none_of_ssh(vault: Vault, tmp_path: Path) -> None:
    https = RepositoryUrl.parse("https://git.example/ada/private.git")
    key = key_of(tmp_path)
    await vault.put("ada", "git.example:22", key)
    assert [kept.place.host for kept in await vault.credentials("ada")] == ["git.example"]
    assert await vault.has("ada", URL)
    assert not await vault.has("ada", https)
    async with vault.lend("ada", https) as loan:
        assert loan is None
    assert await vault.to_keep_out("ada", URL) == ()
    for url, opener in ((https, key), (URL, Secret("ada", "a-token"))):
        with pytest.raises(InvalidInput, match="An SSH key opens addresses"):
            async with vault.trying("ada", url, opener):
                pass


async def test_a_row_made_that_of_another_kind_opens_nothing(vault: Vault, tmp_path: Path) -> None:
    await vault.put("ada", "git.example", Secret("ada", "a-token"))
    with sqlite3.connect(tmp_path / "service.sqlite") as database:
        database.execute("UPDATE credentials SET kind = 'ssh-key'")
    database.close()
    with pytest.raises(CredentialUnusable):
        async with vault.lend("ada", URL):
            pass


class Noted:
    """What is known of who may read a repository, in the place of a queue and its holdings."""

    def __init__(self, known: RepositoryAccess | None) -> None:
        self.holdings = self
        self.known = known

    async def access(self, _environment: str) -> RepositoryAccess | None:
        return self.known

    async def note_access(self, _environment: str, access: RepositoryAccess | None) -> None:
        self.known = access


async def test_whether_somebody_may_still_read_it_is_asked_with_their_key(
    server: SshServer, commit: str, vault: Vault, tmp_path: Path
) -> None:
    key = key_of(tmp_path / "made")
    server.admit(tmp_path / "made/key")
    await vault.put("ada", server.host, key)
    url, shell = RepositoryUrl.parse(server.url("private")), SecureShell(server.known_hosts)

    async def resolved(_url: RepositoryUrl, _ref: str, _person: str) -> Resolved:
        git = replace(git_of(vault, tmp_path, shell), door=Door())
        assert await commit_told(server, git) == commit
        assert git.door is not None
        return Resolved(url, "main", Commit(commit), private=git.door.closed)

    noted = Noted(None)
    rights = ReadingRights(cast("Any", noted), vault, resolved)
    environment = cast("Any", SimpleNamespace(id="eabcdefghijk", repository=url, ref="main", owner="ada"))
    await rights.check(environment, Person("bob"))
    assert noted.known is not None
    assert noted.known.read is not None
    server.admit()
    with pytest.raises(RepositoryWithdrawn):
        await rights.check(environment, Person("bob"))
    assert noted.known.refused
    server.admit(tmp_path / "made/key")
    (tmp_path / "none").touch()
    shell = SecureShell(tmp_path / "none")
    before = noted.known
    await rights.check(environment, Person("bob"))  # who the host is, is not known: that says nothing of ada's right
    assert noted.known == before
