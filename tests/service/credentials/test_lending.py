"""Git gets a credential for the repository it is about, once, and from nobody else."""

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guix_build_service.credentials.envelope import Secret
from guix_build_service.credentials.keys import GivenKeys, parse_keys
from guix_build_service.credentials.loans import lent
from guix_build_service.git.git import Git, listing
from guix_build_service.git.hosts import Hosts, PrivateHost
from guix_build_service.pipeline.resolve import resolve
from guix_build_service.settings.credentials import CredentialKeys
from guix_build_service.store import Store
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.vault import MOST_CREDENTIALS, Vault
from guix_environment.errors import CredentialUnusable, InvalidInput, NotFound, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.processes import run
from guix_environment.repository_url import RepositoryUrl
from tests.git_server import GitServer, serve_git

OLD, NEW = "00" * 32, "ff" * 32
URL = RepositoryUrl.parse("https://git.example/ada/private.git")
SECRET = Secret("ada", "a-token-of-the-test")
ABOUT = "protocol=https\nhost=git.example\npath=ada/private.git\n"


async def ask(helper: str, operation: str, about: str) -> str:
    """Run HELPER as Git does, and return its answer."""
    command = ["/bin/sh", "-c", f"{helper} {operation}"]
    done = await run(command, environment={"PATH": os.environ["PATH"]}, timeout=60, given=about.encode())
    assert done.succeeded, done.errors
    return done.output.decode()


async def test_the_secret_is_given_once_and_only_for_its_repository(tmp_path: Path) -> None:
    async with lent(SECRET, URL, tmp_path / "loans") as loan:
        assert "a-token" not in loan.helper
        for other in (
            ABOUT.replace("https", "http"),
            ABOUT.replace("git.example", "git.example.evil"),
            ABOUT.replace("git.example", "git.example:8443"),
            ABOUT.replace("private", "other"),
            ABOUT.replace("path=ada/private.git\n", ""),
            "",
        ):
            assert await ask(loan.helper, "get", other + "\n") == "quit=1\n"
        assert not loan.asked
        said = ABOUT + "username=ada\npassword=whatever\ncapability[]=authtype\n\n"
        assert await ask(loan.helper, "get", said) == "username=ada\npassword=a-token-of-the-test\n"
        assert await ask(loan.helper, "get", ABOUT + "\n") == "quit=1\n"
        assert (loan.asked, loan.refused) == (True, False)
        assert await ask(loan.helper, "store", said) == ""
        assert (loan.asked, loan.refused) == (True, False)
        assert await ask(loan.helper, "erase", said) == ""
        assert (loan.asked, loan.refused) == (True, True)
        [folder] = (tmp_path / "loans").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((tmp_path / "loans").iterdir()) == []


async def test_a_long_folder_is_no_obstacle_and_a_silent_visitor_no_delay(tmp_path: Path) -> None:
    async with lent(SECRET, URL, tmp_path / ("x" * 100)) as loan:
        path = loan.helper.rpartition(" ")[2]
        _, silent = await asyncio.open_unix_connection(path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"get\n" + b"x" * 200_000 + b"\n\n")
        assert await reader.read() == b""
        writer.close()
        assert await ask(loan.helper, "get", ABOUT + "\n") != "quit=1\n"
    silent.close()
    assert not Path(path).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
async def test_another_account_gets_nothing_even_where_it_could_reach_the_socket() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await _ask_as_another(Path(folder))


async def _ask_as_another(folder: Path) -> None:
    async with lent(SECRET, URL, folder) as loan:
        path = Path(loan.helper.rpartition(" ")[2])
        for open_to_all in (path, path.parent, folder):
            open_to_all.chmod(0o777)
        program = f"""
import os, socket
os.setgid(12345); os.setuid(12345)
with socket.socket(socket.AF_UNIX) as s:
    s.connect({str(path)!r})
    try:
        s.sendall(b"get\\n" + {ABOUT.encode()!r} + b"\\n")
        print(len(s.recv(1000)))
    except (BrokenPipeError, ConnectionResetError):
        print(0)
"""
        done = await run(["python3", "-c", program], environment={"PATH": os.environ["PATH"]}, timeout=60)
        assert done.output == b"0\n", done.errors
        assert not loan.asked


@pytest.fixture
def passwords() -> dict[str, str]:
    return {"ada": "a-token-of-the-test"}


@pytest.fixture
def server(tmp_path: Path, passwords: dict[str, str]) -> Iterator[GitServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    with serve_git(folder, passwords=passwords) as server:
        yield server


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/service.sqlite")
    yield store
    await store.close()


@pytest.fixture
def vault(store: Store, tmp_path: Path) -> Vault:
    return Vault(CredentialRows(store), GivenKeys(parse_keys(OLD)), tmp_path / "loans")


def git_of(vault: Vault, person: str, tmp_path: Path) -> Git:
    return Git("git", tmp_path, lender=vault.lend, person=person)


async def commit_of(server: GitServer, vault: Vault, person: str, tmp_path: Path) -> Commit:
    hosts = Hosts([PrivateHost.parse(server.host)])
    resolved = await resolve(git_of(vault, person, tmp_path), hosts, RepositoryUrl.parse(server.url("private")), "main")
    return resolved.commit


async def test_a_private_repository_opens_for_whoever_has_its_credential(
    server: GitServer, vault: Vault, tmp_path: Path, passwords: dict[str, str]
) -> None:
    commit = server.commit("private", {"manifest.scm": "()"})
    with pytest.raises(RepositoryUnavailable, match="private"):
        await commit_of(server, vault, "ada", tmp_path)
    await vault.put("ada", server.host, SECRET)
    assert await commit_of(server, vault, "ada", tmp_path) == commit
    [kept] = await vault.credentials("ada")
    assert kept.used is not None
    assert kept.refused is None
    for other in ("eve", ""):
        with pytest.raises(RepositoryUnavailable, match="private"):
            await commit_of(server, vault, other, tmp_path)
    passwords["ada"] = "changed"
    with pytest.raises(RepositoryUnavailable, match="private"):
        await commit_of(server, vault, "ada", tmp_path)
    [kept] = await vault.credentials("ada")
    assert kept.refused is not None
    await vault.put("ada", server.host, Secret("ada", "changed"))
    assert await commit_of(server, vault, "ada", tmp_path) == commit
    await vault.remove("ada", server.host)
    with pytest.raises(RepositoryUnavailable, match="private"):
        await commit_of(server, vault, "ada", tmp_path)
    with pytest.raises(NotFound):
        await vault.remove("ada", server.host)


async def test_a_repository_whose_address_has_a_space_opens_as_any(server: GitServer, vault: Vault, tmp_path: Path) -> None:
    commit = server.commit("My Project/private", {"manifest.scm": "()"})
    url = RepositoryUrl.parse(server.url("My%20Project/private"))
    await vault.put("ada", server.host, SECRET)
    hosts = Hosts([PrivateHost.parse(server.host)])
    assert (await resolve(git_of(vault, "ada", tmp_path), hosts, url, "main")).commit == commit


async def test_a_repository_that_is_public_is_given_no_credential(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    with serve_git(tmp_path / "public") as server:
        commit = server.commit("private", {"manifest.scm": "()"})
        await vault.put("ada", server.host, SECRET)
        assert await commit_of(server, vault, "ada", tmp_path) == commit
        [kept] = await vault.credentials("ada")
        assert kept.used is None


async def test_the_keys_change_while_the_service_runs(store: Store, tmp_path: Path) -> None:
    class Source:
        text = OLD

        def keys(self) -> list[object]:
            return list(parse_keys(self.text))

    source = Source()
    rows = CredentialRows(store)
    vault = Vault(rows, source, tmp_path / "loans")  # type: ignore[arg-type] # a source of keys
    for number in range(20):
        await vault.put(f"person-{number}", "git.example", SECRET)
    source.text = f"{NEW};{OLD}"
    async with vault.lend("person-3", URL) as loan:
        assert loan
    assert await rows.sealed_otherwise(parse_keys(NEW)[0].identifier) == []
    source.text = NEW
    async with vault.lend("person-4", URL) as loan:
        assert loan
        assert await ask(loan.helper, "get", ABOUT + "\n") == "username=ada\npassword=a-token-of-the-test\n"
    source.text = OLD  # the wrong one: nothing opens, and nothing is lost
    with pytest.raises(CredentialUnusable) as refused:
        async with vault.lend("person-4", URL):
            pass
    assert "Set it again" in refused.value.hint
    source.text = f"{OLD};{NEW}"
    await Vault(rows, source, tmp_path / "loans").begin()  # type: ignore[arg-type] # as above
    source.text = OLD
    async with Vault(rows, source, tmp_path / "loans").lend("person-4", URL) as loan:  # type: ignore[arg-type] # as above
        assert loan
    source.text = "no key"
    with pytest.raises(CredentialUnusable):
        await vault.put("ada", "git.example", SECRET)
    await vault.begin()


async def test_what_the_first_key_of_its_own_sealed_opens_once_the_service_is_given_another(
    store: Store, tmp_path: Path
) -> None:
    rows, settings, variables = CredentialRows(store), CredentialKeys(), {"JUPYTERHUB_CRYPT_KEY": NEW}
    await Vault(rows, settings.source(tmp_path, {}), tmp_path / "loans").put("ada", "git.example", SECRET)
    await Vault(rows, settings.source(tmp_path, variables), tmp_path / "loans").begin()
    (tmp_path / "credential-keys").unlink()
    async with Vault(rows, settings.source(tmp_path, variables), tmp_path / "loans").lend("ada", URL) as loan:
        assert loan
        assert "a-token-of-the-test" in await ask(loan.helper, "get", ABOUT + "\n")


async def test_a_row_that_was_moved_opens_nothing(vault: Vault, tmp_path: Path) -> None:
    await vault.put("ada", "git.example", SECRET)
    await vault.put("eve", "git.example", Secret("eve", "eves-own"))
    with sqlite3.connect(tmp_path / "service.sqlite") as database:
        columns = "key, nonce, content"
        adas = f"SELECT {columns} FROM credentials WHERE owner = 'ada'"
        database.execute(f"UPDATE credentials SET ({columns}) = ({adas}) WHERE owner = 'eve'")
    database.close()
    with pytest.raises(CredentialUnusable):
        async with vault.lend("eve", URL):
            pass


async def test_nobody_is_lent_anything_for_another_host_or_more_hosts_than_there_may_be(vault: Vault) -> None:
    await vault.put("ada", "GIT.example:443", SECRET)
    assert [kept.place.host for kept in await vault.credentials("ada")] == ["git.example"]
    for address in ("https://other.example/ada/private", "https://git.example:8443/ada/private", "file:///ada/private"):
        async with vault.lend("ada", RepositoryUrl.parse(address)) as loan:
            assert loan is None
    for host in ("", "a/b", "ada@git.example", "git.example/", " git.example", "a b", "[::1", "git.example:0", "*"):
        with pytest.raises(InvalidInput):
            await vault.put("ada", host, SECRET)
        with pytest.raises(NotFound):
            await vault.remove("ada", host)
    for number in range(MOST_CREDENTIALS - 1):
        await vault.put("ada", f"host-{number}.example", SECRET)
    with pytest.raises(InvalidInput, match="already"):
        await vault.put("ada", "one-more.example", SECRET)
    await vault.put("ada", "git.example", SECRET)


async def test_what_is_tried_before_it_is_kept_opens_its_own_host_alone(vault: Vault) -> None:
    elsewhere = ("https://other.example/ada/private.git", "https://git.example:8443/ada/private.git")
    async with vault.trying("ada", URL, SECRET) as borrower:
        for address in elsewhere:
            async with vault.lend(borrower, RepositoryUrl.parse(address)) as loan:
                assert loan is None
        async with vault.lend("ada", URL) as loan:
            assert loan is None, "nothing is kept yet"
        async with vault.lend(borrower, URL) as loan:
            assert loan
    async with vault.lend(borrower, URL) as loan:
        assert loan is None, "whoever tried it is nobody after"


def test_git_is_told_of_the_helper_after_all_others_were_forgotten(tmp_path: Path) -> None:
    command = Git("git", tmp_path).command(*listing(str(URL), ["HEAD"]), helper="/helper socket")
    variables = command.environment
    number = int(variables["GIT_CONFIG_COUNT"])
    pairs = [(variables[f"GIT_CONFIG_KEY_{each}"], variables[f"GIT_CONFIG_VALUE_{each}"]) for each in range(number)]
    assert [value for key, value in pairs if key == "credential.helper"] == ["", "/helper socket"]
    assert ("credential.useHttpPath", "true") in pairs
