"""What opens private repositories, at a command line: it is typed or sent, never an argument, and never printed."""

import io
import sys

import pytest

from guix_build_service.commands import program
from guix_build_service.commands.outcomes import ExitStatus
from tests.service.commands.conftest import Terminal
from tests.service.web.conftest import Site

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


async def test_nothing_is_kept_where_nothing_was_given_or_it_cannot_be(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert (await terminal("credentials", "add", "codeberg.org")).status == ExitStatus.MISUSED
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))
    refused = await terminal("credentials", "add", "no host")
    assert refused.status not in {ExitStatus.DONE}
    assert SECRET not in refused.out + refused.err
    assert (await terminal("credentials", "add", "codeberg.org", SECRET)).status == ExitStatus.MISUSED
    assert await site.manager.vault.credentials("ada") == []
