"""What opens private repositories, at a command line: it is typed or sent, never an argument, and never printed."""

import io
import sys
from pathlib import Path

import pytest

from guix_build_service.commands import program
from guix_build_service.commands.outcomes import ExitStatus
from guix_build_service.credentials.ssh_keys import SshKey
from tests.service.commands.conftest import Terminal
from tests.service.web.conftest import Site
from tests.ssh_server import make_key

SECRET = "the-secret-of-the-test"


async def test_a_token_is_kept_listed_and_forgotten(site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "You keep nothing" in (await terminal("credentials", "list")).err
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\nanother line\n"))
    kept = await terminal("credentials", "add", "git.example:3000", "--user", "ada-there")
    assert (kept.status, kept.out) == (ExitStatus.DONE, "Kept for git.example:3000.\n")
    listed = await terminal("credentials", "list")
    assert listed.out.splitlines()[1].split()[0] == "git.example:3000"
    assert "not tried yet" in listed.out
    for said in (kept, listed, await terminal("credentials", "list", "--json")):
        assert SECRET not in said.out + said.err
    [row] = await site.manager.vault.credentials("ada")
    assert row.place.host == "git.example:3000"
    gone = await terminal("credentials", "delete", "git.example:3000", "--json")
    assert gone.json == {"deleted": "git.example:3000"}
    assert (await terminal("credentials", "delete", "git.example:3000")).status == ExitStatus.NOT_FOUND


async def test_at_a_terminal_it_is_asked_for_and_not_shown(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return SECRET

    monkeypatch.setattr(sys, "stdin", Keyboard())
    monkeypatch.setattr(program, "getpass", typed)
    said = await terminal("credentials", "add", "codeberg.org")
    assert said.status == ExitStatus.DONE
    assert asked == ["Token or password for codeberg.org: "]
    assert SECRET not in said.out + said.err
    assert [each.place.host for each in await site.manager.vault.credentials("ada")] == ["codeberg.org"]

    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr(program, "getpass", ended)
    nothing = await terminal("credentials", "add", "git.example")
    assert (nothing.status, "No token or password was given" in nothing.err) == (ExitStatus.MISUSED, True)


async def test_nothing_is_kept_where_nothing_was_given_or_it_cannot_be(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert (await terminal("credentials", "add", "codeberg.org")).status == ExitStatus.MISUSED
    for words in (["credentials", "add", "codeberg.org"], ["credentials", "add", "codeberg.org", "--ssh-key", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8"))
        no_text = await terminal(*words)
        assert (no_text.status, "is no text" in no_text.err) == (ExitStatus.MISUSED, True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))
    refused = await terminal("credentials", "add", "no host")
    assert refused.status not in {ExitStatus.DONE}
    assert SECRET not in refused.out + refused.err
    assert (await terminal("credentials", "add", "codeberg.org", SECRET)).status == ExitStatus.MISUSED
    assert await site.manager.vault.credentials("ada") == []


async def test_a_key_is_taken_from_a_file_or_the_input_and_forgotten_alone(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = make_key(tmp_path / "key")
    fingerprint = SshKey.parse(file.read_text()).fingerprint
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))
    assert (await terminal("credentials", "add", "codeberg.org")).status == ExitStatus.DONE
    kept = await terminal("credentials", "add", "codeberg.org", "--ssh-key", str(file))
    assert (kept.status, kept.out) == (ExitStatus.DONE, f"Kept for codeberg.org: {fingerprint}\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(file.read_text()))
    assert (await terminal("credentials", "add", "git.example:2222", "--ssh-key", "-")).status == ExitStatus.DONE
    listed = await terminal("credentials", "list")
    assert f"ssh-key {fingerprint}" in listed.out
    for said in (kept, listed, await terminal("credentials", "list", "--json")):
        assert file.read_text().splitlines()[1] not in said.out + said.err
    assert (await terminal("credentials", "delete", "codeberg.org", "--kind", "ssh-key")).status == ExitStatus.DONE
    assert (await terminal("credentials", "delete", "codeberg.org", "--kind", "ssh-key")).status == ExitStatus.NOT_FOUND
    assert (await terminal("credentials", "add", "codeberg.org", "--ssh-key", str(tmp_path))).status == ExitStatus.MISUSED
    both = await terminal("credentials", "add", "codeberg.org", "--ssh-key", str(file), "--user", "ada")
    assert both.status == ExitStatus.MISUSED
    assert len(await site.manager.vault.credentials("ada")) == 2
