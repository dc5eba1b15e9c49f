"""Environments from a command line: listed, shown, added, built, rolled back, deleted."""

import io
import json
import sys

import pytest

from guix_build_service.commands.outcomes import ExitStatus
from guix_environment.records import Visibility
from tests.service.commands.conftest import Terminal, wire
from tests.service.web.conftest import Site

GOOD = "https://git.example/a/good"


async def test_an_environment_is_added_waited_for_listed_and_shown(terminal: Terminal) -> None:
    added = await terminal(
        "add", GOOD, "--ref", "main", "--name", "Plots", "--description", "Draws.", "--visibility", "groups",
        "--group", "lab", "--memory", "4G", "--cpu", "1.5", "--wait",
    )  # fmt: skip
    assert added.status == ExitStatus.DONE
    assert "state:" in added.out
    assert "ready" in added.out
    # Not a terminal: a line for each step, none of which is drawn over.
    assert "building" in added.err
    assert "\r" not in added.err
    listed = await terminal("list", "--text", "plot", "--json")
    environments = listed.json
    assert isinstance(environments, list)
    [environment] = environments
    assert (environment["name"], environment["memory"], environment["cpu"]) == ("Plots", 4 << 30, 1.5)
    assert (environment["visibility"], environment["groups"], environment["ref"]) == ("groups", ["lab"], "main")
    table = (await terminal("list")).out.splitlines()
    assert table[0].split() == ["NAME", "STATE", "COMMIT", "FOR", "OWNER", "ID", "REPOSITORY"]
    assert table[1].split()[:5] == ["Plots", "ready", "7f3a9c1", "groups", "ada"]
    for word in ("Plots", GOOD, environment["id"]):
        shown = await terminal("show", word, "--json")
        assert shown.field("id") == environment["id"]
        assert [version["commit"][:7] for version in shown.field("versions")] == ["7f3a9c1"]  # type: ignore[attr-defined]
    text = (await terminal("show", "Plots")).out
    for expected in ("about:       Draws.", "memory:      4.0 GiB", "cores:       1.5", "kernels:", "BUILT (UTC)"):
        assert expected in text


async def test_what_is_not_waited_for_tells_how_to_follow_it(site: Site, terminal: Terminal) -> None:
    added = await terminal("add", "https://git.example/a/slow")
    assert added.status == ExitStatus.DONE
    assert "guix-build-service log -f " in added.out
    site.pipeline.release.set()


async def test_a_build_that_fails_has_its_own_status_and_says_why(terminal: Terminal) -> None:
    failed = await terminal("add", "https://git.example/a/broken", "--wait")
    assert failed.status == ExitStatus.BUILD_FAILED
    assert "Guix has no package called" in failed.err
    assert "Did you mean" in failed.err
    as_json = await terminal("build", "broken", "--wait", "--json")
    assert as_json.status == ExitStatus.BUILD_FAILED
    assert as_json.field("state") == "failed"


async def test_building_again_finds_what_is_there_unless_it_is_forced(site: Site, terminal: Terminal) -> None:
    first = (await site.ready("good", "ada")).version
    assert first is not None
    known = await terminal("build", "good", "--wait", "--json")
    assert known.field("version")["id"] == first.id  # type: ignore[index]
    forced = await terminal("build", "good", "--force", "--wait", "--json")
    assert forced.field("version")["id"] != first.id  # type: ignore[index]
    by_address = await terminal("build", GOOD, "--force", "--wait", "--json")
    assert by_address.field("id") == forced.field("id")
    assert by_address.field("version")["id"] != forced.field("version")["id"]  # type: ignore[index]
    back = await terminal("rollback", "good", first.id)
    assert back.status == ExitStatus.DONE
    assert first.id in back.out
    no_earlier = await terminal("rollback", "good")
    assert no_earlier.status == ExitStatus.AT_ODDS
    assert "no earlier version" in no_earlier.err


async def test_an_address_that_is_new_is_added_by_building_it(terminal: Terminal) -> None:
    built = await terminal("build", GOOD, "--wait", "--json")
    assert built.status == ExitStatus.DONE
    assert (built.field("owner"), built.field("state")) == ("ada", "ready")


async def test_a_folder_is_one_of_the_services_machine(terminal: Terminal) -> None:
    resolved = await terminal("resolve", "/srv/git/good", "--json")
    assert (resolved.status, resolved.field("repo")) == (ExitStatus.DONE, "file:///srv/git/good")


async def test_resolving_builds_nothing(terminal: Terminal) -> None:
    resolved = await terminal("resolve", GOOD, "--ref", "v1")
    assert "commit:" in resolved.out
    assert "7f3a9c1" in resolved.out
    assert (await terminal("list", "--json")).json == []
    gone = await terminal("resolve", "https://git.example/a/gone", "--json")
    assert gone.status == ExitStatus.REFUSED
    assert gone.field("error")["code"] == "repository-unavailable"  # type: ignore[index]
    assert gone.err == "guix-build-service: No repository answers there.\nCheck the address.\n"


async def test_deleting_asks_first_and_a_script_says_yes(site: Site, terminal: Terminal) -> None:
    await site.ready("good", "ada")
    asked = await terminal("delete", "good")
    assert asked.status == ExitStatus.MISUSED
    assert "--yes" in asked.err
    assert (await terminal("delete", "good", "--yes")).status == ExitStatus.DONE
    again = await terminal("delete", "good", "--yes")
    assert again.status == ExitStatus.NOT_FOUND
    assert "guix-build-service list" in again.err


@pytest.mark.parametrize("words", [["delete", "good"], ["give", "good", "eve"]], ids=" ".join)
async def test_who_is_asked_may_say_no(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    await site.ready("good", "ada")
    for answer in ("\n", "no\n", ""):
        monkeypatch.setattr(sys, "stdin", Keyboard(answer))
        said = await terminal(*words)
        assert (said.status, "[y/N] It stays." in said.err) == (ExitStatus.REFUSED, True)
        assert (await terminal("show", "good", "--json")).field("owner") == "ada"
    monkeypatch.setattr(sys, "stdin", Keyboard("Y\n"))
    assert (await terminal(*words)).status == ExitStatus.DONE
    assert (await terminal("list", "--owner", "ada", "--json")).json == []


async def test_only_the_whole_name_is_one(site: Site, terminal: Terminal) -> None:
    environment = (await site.ready("good", "ada")).environment.id
    for command in ("show", "log"):
        for word in ("goo", "x" * 300, "a\nb"):
            said = await terminal(command, word)
            assert (said.status, "guix-build-service list names them all" in said.err) == (ExitStatus.NOT_FOUND, True)
    refusal = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\n{"error": {}}'
    async with wire(site, refusal) as watched:
        assert (await terminal("show", environment, address=watched.address)).status == ExitStatus.NOT_ALLOWED


async def test_what_is_somebody_elses_is_refused_and_what_is_hidden_does_not_exist(site: Site, terminal: Terminal) -> None:
    public = await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    private = await site.ready("other", "ada")
    refused = await terminal("delete", "good", "--yes", person="eve")
    assert refused.status == ExitStatus.NOT_ALLOWED
    assert "Only the owner" in refused.err
    assert "Ask ada" in refused.err
    for word in ("other", private.environment.id):
        assert (await terminal("show", word, person="eve")).status == ExitStatus.NOT_FOUND
    assert (await terminal("show", public.environment.id, person="eve")).status == ExitStatus.DONE


async def test_a_name_that_stands_for_several_is_refused_with_their_ids(site: Site, terminal: Terminal) -> None:
    ids = [(await site.ready("good", name, visibility=Visibility.EVERYONE)).environment.id for name in ("ada", "eve")]
    refused = await terminal("show", "good", "--json")
    assert refused.status == ExitStatus.REFUSED
    assert refused.field("error")["code"] == "several-such"  # type: ignore[index]
    assert all(each in refused.err for each in ids)


@pytest.mark.parametrize(
    "words",
    [
        ["add", "no address"],
        ["add", GOOD, "--ref", "a..b"],
        ["add", GOOD, "--visibility", "groups"],
        ["add", GOOD, "--name", "two\nlines"],
        ["add", GOOD, "--memory", "1K"],
    ],
)
async def test_what_cannot_be_added_is_said(terminal: Terminal, words: list[str]) -> None:
    refused = await terminal(*words, "--json")
    assert refused.status in {ExitStatus.REFUSED, ExitStatus.MISUSED}
    assert refused.field("error")["message"]  # type: ignore[index]
    assert (await terminal("list", "--json")).json == []


async def test_long_lists_are_whole(site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guix_build_service.commands.client.LARGEST_PAGE", 2)
    for number in range(5):
        await site.ready(f"good-{number}", "ada")
    listed = json.loads((await terminal("list", "--json")).out)
    assert [each["name"] for each in listed] == [f"good-{number}" for number in range(5)]
    for _ in range(2):
        await terminal("build", "good-0", "--force", "--wait")
    assert len((await terminal("show", "good-0", "--json")).field("versions")) == 3  # type: ignore[arg-type]


async def test_a_list_that_does_not_end_is_given_up(site: Site, terminal: Terminal) -> None:
    part = b'{"environments": [], "next": "again"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(part), part)
    async with wire(site, answer, answer) as endless:
        said = await terminal("list", address=endless.address)
    assert (said.status, "does not end" in said.err) == (ExitStatus.UNREACHABLE, True)
