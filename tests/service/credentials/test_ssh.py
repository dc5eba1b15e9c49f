"""Private repositories over SSH, from a real server: with the key, and with nothing but the key and a host that is known."""

import asyncio
import os
import sqlite3
import stat
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guix_build_service.credentials.agent import offered
from guix_build_service.credentials.envelope import Kind, Secret
from guix_build_service.credentials.keys import GivenKeys, parse_keys
from guix_build_service.credentials.ssh_keys import SshKey
from guix_build_service.git.git import Door, Git
from guix_build_service.git.hosts import Choice, Hosts, PrivateHost
from guix_build_service.git.secure_shell import SecureShell
from guix_build_service.manager.reading_rights import ReadingRights
from guix_build_service.model.environments import Person, Resolved
from guix_build_service.pipeline.resolve import resolve
from guix_build_service.settings.ssh import SshHosts
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.vault import Vault
from guix_environment.errors import (
    CredentialUnusable,
    HostKeyChanged,
    HostKeyUnknown,
    HostRefused,
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
from tests.ssh_server import SSHD, SshServer, make_key, serve_ssh

URL = RepositoryUrl.parse("git@git.example:ada/private.git")
KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa-256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa-384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa-521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "rsa-in-pem": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
}


def key_of(folder: Path, *words: str, passphrase: str = "") -> SshKey:
    return SshKey.parse(make_key(folder / "key", *words, passphrase=passphrase).read_text())


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


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("git@127.0.0.1:a/b", "not on the public internet"),
        ("ssh://git@localhost/a/b", "not on the public internet"),
        ("ssh://git@10.0.0.1:2222/a", "not on the public internet"),
        ("ssh://git@8.8.8.8:25/a", "port 25"),
        ("ssh://git@8.8.8.8:80/a", "port 80"),
        ("ssh://git@8.8.8.8:6667/a", "port 6667"),
        ("https://8.8.8.8:22/a", "port 22"),
    ],
)
async def test_ssh_leads_nowhere_where_https_does_not(address: str, told: str) -> None:
    with pytest.raises(HostRefused, match=told):
        await Hosts(over_ssh=True).check(RepositoryUrl.parse(address))


async def test_forges_are_reached_at_the_ports_that_they_take_ssh_at() -> None:
    for address in ("git@8.8.8.8:a/b", "ssh://git@8.8.8.8:443/a", "ssh://git@8.8.8.8:2222/a"):
        reached = await Hosts(over_ssh=True).check(RepositoryUrl.parse(address))
        assert reached.addresses == ("8.8.8.8",)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "a token",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "A" * 20_000,
    ],
)
def test_what_is_no_key_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SshKey.parse(wrong)
    assert "ssh-keygen" in refused.value.hint


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-t", "rsa", "-b", "1024"), "fewer than 2048 bits"),
        (("-t", "rsa", "-b", "1024", "-m", "PEM"), "fewer than 2048 bits"),
    ],
)
def test_a_key_that_can_be_broken_is_refused(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        key_of(tmp_path, *words)


@pytest.mark.parametrize(
    "words", [("-t", "ed25519"), ("-t", "rsa", "-b", "2048", "-m", "PEM"), ("-t", "ecdsa", "-m", "PKCS8")]
)
def test_a_key_with_a_passphrase_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="passphrase"):
        key_of(tmp_path, *words, passphrase="a passphrase")


def test_the_public_key_in_the_place_of_the_private_one_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="public one"):
        SshKey.parse(make_key(tmp_path / "key").with_suffix(".pub").read_text())


def test_a_key_is_not_shown_and_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    text = make_key(tmp_path / "key").read_text()
    key = SshKey.parse(text.replace("\n", "\r\n"))  # as a browser sends it
    assert repr(key) == "SshKey()"
    again = SshKey.from_plain(key.plain())
    assert (again.public, again.fingerprint) == (key.public, key.fingerprint)


async def ask(path: str, *messages: bytes) -> list[bytes]:
    """Return what the agent at PATH answers to MESSAGES."""
    reader, writer = await asyncio.open_unix_connection(path)
    answers = []
    for message in messages:
        writer.write(struct.pack(">I", len(message)) + message)
        answers.append(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))
    writer.close()
    return answers


def text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def login(key: SshKey, *, user: bytes = b"git", service: bytes = b"ssh-connection", method: bytes = b"publickey") -> bytes:
    """Return what is signed to log in."""
    said = text(b"connection") + b"\x32" + text(user) + text(service) + text(method) + b"\x01"
    return said + text(b"ssh-ed25519") + text(key.public)


async def test_the_agent_signs_one_login_and_nothing_else(tmp_path: Path) -> None:
    key, other = key_of(tmp_path / "one"), key_of(tmp_path / "other")

    def to_sign(data: bytes, of: SshKey = key) -> bytes:
        return b"\x0d" + text(of.public) + text(data) + bytes(4)

    async with offered(key, URL, tmp_path / "loans") as loan:
        before = loan.asked
        assert stat.S_IMODE(Path(loan.agent).parent.stat().st_mode) == 0o700
        refused = [
            to_sign(b"anything"),
            to_sign(b"SSHSIG" + text(b"git")),
            to_sign(login(key, user=b"root")),
            to_sign(login(key, service=b"other")),
            to_sign(login(key, method=b"hostbased")),
            to_sign(login(other)),
            to_sign(login(key), other),
            b"\x0d",
            b"\x11",  # add a key
            b"\x12" + text(key.public),  # remove it
            b"\x1b" + text(b"session-bind@openssh.com"),
            b"",
        ]
        assert await ask(loan.agent, *refused) == [b"\x05"] * len(refused)
        assert loan.asked is before
        listed, signed, again = await ask(loan.agent, b"\x0b", to_sign(login(key)), to_sign(login(key)))
        assert listed == b"\x0c" + struct.pack(">I", 1) + text(key.public) + text(b"")
        assert signed[:1] == b"\x0e"
        assert again == b"\x05", "once"
        assert loan.asked
    assert not loan.refused
    assert not list((tmp_path / "loans").iterdir())


async def test_rsa_signs_with_no_hash_that_was_broken(tmp_path: Path) -> None:
    key = key_of(tmp_path, "-t", "rsa", "-b", "2048")
    async with offered(key, URL, tmp_path / "loans") as loan:
        message = b"\x0d" + text(key.public) + text(login(key))
        assert await ask(loan.agent, message + bytes(4)) == [b"\x05"]
        [signed] = await ask(loan.agent, message + struct.pack(">I", 4))
        assert b"rsa-sha2-512" in signed


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


@pytest.mark.parametrize(
    ("address", "banned"),
    [
        ("git@forge.example:one/Miner.git", "https://forge.example/one/miner"),
        ("ssh://git@forge.example:443/one/miner", "https://forge.example/one/*"),
        ("ssh://ada@forge.example/one/miner", "forge.example"),
        ("https://forge.example/one/miner", "ssh://git@forge.example/one/miner.git"),
    ],
)
async def test_what_is_banned_is_so_over_ssh_too(address: str, banned: str) -> None:
    with pytest.raises(HostRefused, match="not used on this hub"):
        await Hosts(choice=Choice(banned=(banned,)), over_ssh=True).check(RepositoryUrl.parse(address))


@pytest.mark.parametrize(
    ("allowed", "used"),
    [
        ("8.8.8.8", True),
        ("ssh://git@8.8.8.8/lab/*", True),
        ("https://8.8.8.8/lab/*", False),
        ("ssh://git@8.8.8.8/la", False),
        ("ssh://git@8.8.8.8", False),
        ("ssh://ada@8.8.8.8/lab/*", False),
        ("8.8.8", False),
    ],
)
async def test_an_address_of_ssh_is_allowed_as_a_whole(allowed: str, used: bool) -> None:
    hosts, url = Hosts(choice=Choice(allowed=(allowed,)), over_ssh=True), RepositoryUrl.parse("git@8.8.8.8:lab/plots.git")
    if used:
        assert (await hosts.check(url)).addresses == ("8.8.8.8",)
    else:
        with pytest.raises(HostRefused, match="not used on this hub"):
            await hosts.check(url)


async def test_without_a_known_host_ssh_is_not_used_at_all() -> None:
    with pytest.raises(HostRefused) as refused:
        await Hosts().check(URL)
    assert "Try https://git.example/ada/private.git." in refused.value.hint
    assert "keep a token for git.example" in refused.value.hint


def test_of_the_account_s_and_the_machine_s_ssh_nothing_is_used() -> None:
    command = SecureShell(Path("/etc/known 100%")).command("/run/agent", "/run/passage")
    assert command.startswith("ssh -F none -a -x ")
    for option in (
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        "-oGlobalKnownHostsFile=none",
        "-oIdentityFile=none",
        "-oForwardAgent=no",
        "-oPermitLocalCommand=no",
        "-oPreferredAuthentications=publickey",
        "-oProxyUseFdpass=yes",
    ):
        assert option in command.split()
    assert """'-oUserKnownHostsFile="/etc/known 100%%"'""" in command
    assert """'-oIdentityAgent="/run/agent"'""" in command


def test_failures_of_ssh_have_codes_of_their_own() -> None:
    assert [kind.code for kind in (HostKeyUnknown, HostKeyChanged)] == ["host-key-unknown", "host-key-changed"]
    # Which would be that somebody may no longer read it.
    assert not any(issubclass(kind, RepositoryUnavailable) for kind in (HostKeyUnknown, HostKeyChanged))


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


def test_a_file_of_hosts_that_cannot_be_read_and_a_machine_without_ssh_are_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    SshHosts().check("/nonexistent")  # nothing is used over SSH
    SshHosts(known_hosts=str(tmp_path / "known")).check(os.environ["PATH"])
    with pytest.raises(ValueError, match="cannot be read"):
        SshHosts(known_hosts=str(tmp_path / "other")).check(os.environ["PATH"])
    with pytest.raises(ValueError, match="not installed"):
        SshHosts(trust_new_hosts=True).check("/nonexistent")
    assert not SshHosts().secure_shell(tmp_path).is_used
    assert SshHosts(trust_new_hosts=True).secure_shell(tmp_path) == SecureShell(None, tmp_path / "learned-hosts")
