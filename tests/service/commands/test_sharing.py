"""Sharing and giving away from a command line."""

from guix_build_service.commands.outcomes import ExitStatus
from tests.service.commands.conftest import Terminal
from tests.service.web.conftest import Site


async def test_an_environment_is_shared_shown_and_taken_back(site: Site, terminal: Terminal) -> None:
    await site.ready("good", "ada")
    nobody = await terminal("share", "good")
    assert nobody.status == ExitStatus.DONE
    assert "with nobody by name" in nobody.err
    assert (await terminal("show", "good", person="eve")).status == ExitStatus.NOT_FOUND
    shared = await terminal("share", "good", "--user", "eve")
    assert shared.out.split() == ["KIND", "NAME", "ROLE", "user", "eve", "viewer"]
    as_json = await terminal("share", "good", "--group", "the lab", "--role", "editor", "--json")
    assert as_json.field("members") == [
        {"kind": "user", "name": "eve", "role": "viewer"},
        {"kind": "group", "name": "the lab", "role": "editor"},
    ]
    refused = await terminal("build", "good", "--force", person="eve")
    assert refused.status == ExitStatus.NOT_ALLOWED
    assert "make you an editor" in refused.err
    assert (await terminal("unshare", "good", "--group", "the lab")).status == ExitStatus.DONE
    assert (await terminal("unshare", "good", "--group", "the lab")).status == ExitStatus.NOT_FOUND
    left = await terminal("unshare", "good", "--user", "eve", person="eve")
    assert left.status == ExitStatus.DONE
    assert (await terminal("unshare", "good")).status == ExitStatus.MISUSED
    assert (await terminal("share", "good", "--user", "a", "--group", "b")).status == ExitStatus.MISUSED


async def test_an_environment_is_given_away_once_that_is_meant(site: Site, terminal: Terminal) -> None:
    await site.ready("good", "ada")
    assert (await terminal("give", "good", "eve")).status == ExitStatus.MISUSED  # nobody answers
    given = await terminal("give", "good", "eve", "--yes")
    assert given.status == ExitStatus.DONE
    assert "belongs to eve now" in given.out
    assert (await terminal("delete", "good", "--yes")).status == ExitStatus.NOT_ALLOWED
    assert (await terminal("delete", "good", "--yes", person="eve")).status == ExitStatus.DONE
