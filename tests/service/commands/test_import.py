"""A gallery is imported as often as one likes; what cannot be used is told with its line before anything is done."""

import os
from pathlib import Path

import pytest

from guix_build_service.commands.gallery_file import GalleryUnusable, read_gallery
from guix_build_service.commands.outcomes import ExitStatus
from guix_environment.records import Visibility
from tests.service.commands.conftest import Said, Terminal
from tests.service.web.conftest import Site

GALLERY = """\
# What everybody may start
defaults:
  visibility: everyone
environments:
  - repo: https://git.example/a/good
    ref: main
    name: Plots
    description: |
      Draws plots.
      Slowly.
    memory: 4G
    cpu: 2
  - repo: https://git.example/a/another
    visibility: groups
    groups: [lab, "room 1"]
"""


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "gallery.yaml"
    file.write_text(text)
    return str(file)


def outcomes(said: Said) -> list[tuple[object, object, object]]:
    assert isinstance(said.json, list)
    return [(each["line"], each["outcome"], each["changes"]) for each in said.json]


async def test_a_gallery_is_added_and_then_left_as_it_is(terminal: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path, GALLERY)
    dry = await terminal("import", file, "--dry-run")
    assert dry.out == "line 5: Plots would be added\nline 13: https://git.example/a/another would be added\n"
    assert (await terminal("list", "--json")).json == []
    first = await terminal("import", file, "--wait", "--json")
    assert (first.status, outcomes(first)) == (ExitStatus.DONE, [(5, "added", []), (13, "added", [])])
    plots, another = (each["environment"] for each in first.json)  # type: ignore[attr-defined]
    assert (plots["name"], plots["memory"], plots["cpu"], plots["visibility"]) == ("Plots", 4 << 30, 2.0, "everyone")
    assert plots["description"] == "Draws plots.\nSlowly."
    assert (another["visibility"], another["groups"], another["state"]) == ("groups", ["lab", "room 1"], "ready")
    again = await terminal("import", file, "--json")
    assert outcomes(again) == [(5, "unchanged", []), (13, "unchanged", [])]
    assert [each["environment"]["version"] for each in again.json] == [plots["version"], another["version"]]  # type: ignore[attr-defined]
    assert len((await terminal("list", "--json")).json) == 2  # type: ignore[arg-type]
    in_another_order = write(tmp_path, GALLERY.replace('lab, "room 1"', '"room 1", lab'))
    assert outcomes(await terminal("import", in_another_order, "--json", "--dry-run")) == outcomes(again)
    at_another_ref = write(tmp_path, GALLERY.replace("ref: main", "ref: v1"))
    assert outcomes(await terminal("import", at_another_ref, "--json", "--dry-run"))[0] == (5, "added", [])


async def test_only_what_is_different_is_changed_and_what_is_not_listed_stays(terminal: Terminal, tmp_path: Path) -> None:
    await terminal("import", write(tmp_path, GALLERY), "--wait")
    file = write(tmp_path, GALLERY.partition("  - repo: https://git.example/a/another")[0].replace("Plots", "Graphs"))
    dry = await terminal("import", file, "--dry-run", "--json")
    assert outcomes(dry) == [(5, "changed", ["name"])]
    changed = await terminal("import", file)
    assert changed.out.endswith(" changed: name, ready\n")
    assert [each["name"] for each in (await terminal("list", "--json")).json] == ["another", "Graphs"]  # type: ignore[attr-defined]


async def test_an_administrators_own_are_meant_and_nobody_elses(site: Site, terminal: Terminal, tmp_path: Path) -> None:
    await site.ready("good", "ada", visibility=Visibility.EVERYONE)
    file = write(tmp_path, "environments:\n- repo: https://git.example/a/good\n  description: The hub's own\n")
    for words in (["--dry-run"], ["--wait"]):
        assert outcomes(await terminal("import", file, "--json", *words, person="root")) == [(2, "added", [])]
    owners = [(each["owner"], each["description"]) for each in (await terminal("list", "--json")).json]  # type: ignore[attr-defined]
    assert sorted(owners) == [("ada", "")]  # root's is private
    assert outcomes(await terminal("import", file, "--json", person="root")) == [(2, "unchanged", [])]


async def test_one_that_is_refused_does_not_keep_the_others_away(terminal: Terminal, tmp_path: Path) -> None:
    text = "environments:\n" + "".join(f"- repo: https://git.example/a/{name}\n" for name in ("gone", "broken", "good"))
    said = await terminal("import", write(tmp_path, text), "--wait")
    assert said.status == ExitStatus.REFUSED
    lines = said.out.splitlines()
    assert lines[0] == "line 2: https://git.example/a/gone refused: No repository answers there. Check the address."
    assert [line.split(" (")[0] for line in lines[1:]] == ["line 3: broken", "line 4: good"]
    assert "line 3: broken\nguix-build-service: The build is failed. Guix has no package" in said.err


async def test_the_name_tells_which_of_several_is_meant(site: Site, terminal: Terminal, tmp_path: Path) -> None:
    await site.ready("good", "ada")
    given = (await site.ready("good", "eve")).environment.id
    await terminal("give", given, "ada", "--yes", person="eve")
    file = write(tmp_path, "environments:\n- repo: https://git.example/a/good\n- repo: https://git.example/a/other\n")
    said = await terminal("import", file, "--json")
    assert (said.status, outcomes(said)) == (ExitStatus.REFUSED, [(2, "refused", []), (3, "added", [])])
    assert "several environments" in said.out


async def test_a_build_that_fails_is_told_by_the_exit_status(terminal: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path, "environments:\n- repo: https://git.example/a/broken\n")
    assert (await terminal("import", file, "--wait")).status == ExitStatus.BUILD_FAILED


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file must have lines such as"),
        ("- repo: x", 1, "the file must have lines such as"),
        ("defaults: {}", 1, "must have environments"),
        ("environments: x", 1, "must be a list"),
        ("environments:\n- x", 2, "an entry must have lines such as"),
        ("environments:\n- ref: main", 2, "repo: Field required"),
        ("environments:\n- repo: https://git.example/a\n  colour: red", 3, "has no 'colour'"),
        ("environments:\n- repo: https://git.example/a\n  ref: 1.10", 3, 'write it in quotation marks, "1.10"'),
        ("environments:\n- repo: https://git.example/a\n  name: 2026-01-01", 3, "quotation marks"),
        ("environments:\n- repo: https://git.example/a\n  name: no", 3, "quotation marks"),
        ("environments:\n- repo: https://git.example/a\n  name:\n", 3, "quotation marks"),
        ("environments:\n- repo: https://git.example/a\n  name: [a]", 3, "must be one value"),
        ("environments:\n- repo: https://git.example/a\n  groups: lab", 3, "groups"),
        ("environments:\n- repo: https://git.example/a\n  groups: [[lab]]", 3, "list of names"),
        ("environments:\n- repo: https://git.example/a\n  visibility: all", 3, "visibility"),
        ("environments:\n- repo: https://git.example/a\n  memory: much", 3, "bytes such as 4G"),
        ("environments:\n- repo: https://git.example/a\n  cpu: nan", 3, "cpu"),
        ("environments:\n- repo: https://git.example/a\n  ref: main\n  ref: other", 4, "ref is there twice"),
        ("environments:\n- repo: https://git.example/a\n  ref: a..b", 2, "branch"),
        ("environments:\n- repo: no address", 2, "address"),
        ("environments:\n- repo: https://github.com/a/b/tree/main/c", 2, "own address"),
        ("environments:\n- repo: https://git.example/a\n- repo: https://GIT.example/a/", 3, "as in line 2"),
        ("defaults: {name: x}\nenvironments: []", 1, "defaults has no 'name'"),
        ("environments:\n- repo: 'https://git.example/a\n", 3, "this is not YAML"),
        ("environments:\n- !!python/object/apply:os.system [id]", 2, "an entry must have lines such as"),
        ("environments: &all\n- *all", 1, "this is not YAML|an entry must have lines"),
        ("environments: " + "[" * 3000, 1, "this is not YAML"),
        ("environments: \x00", 1, "this is not YAML"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(GalleryUnusable, match=said) as refused:
        read_gallery(text, "gallery.yaml")
    problems = refused.value.details["problems"]
    assert isinstance(problems, list)
    assert problems[0]["line"] == line
    assert refused.value.exit_status == ExitStatus.MISUSED


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = "environments:\n- repo: no address\n- repo: https://git.example/a\n  memory: much\n  colour: red\n"
    with pytest.raises(GalleryUnusable) as refused:
        read_gallery(text, "gallery.yaml")
    assert [each["line"] for each in refused.value.details["problems"]] == [2, 4, 5]  # type: ignore[attr-defined]


def test_an_alias_is_the_entry_that_it_stands_for() -> None:
    text = "environments:\n- &one {repo: 'https://git.example/a', memory: 1073741824, cpu: 1}\n- *one\n"
    with pytest.raises(GalleryUnusable, match="the same repository, ref and folder"):
        read_gallery(text, "gallery.yaml")


async def test_nothing_is_asked_for_before_all_of_it_can_be_used(terminal: Terminal, tmp_path: Path) -> None:
    file = write(tmp_path, GALLERY + "  - repo: no address\n")
    refused = await terminal("import", file, "--json")
    assert refused.status == ExitStatus.MISUSED
    assert refused.field("error")["code"] == "gallery-unusable"  # type: ignore[index]
    assert (await terminal("list", "--json")).json == []


@pytest.mark.parametrize("kind", ["missing", "folder", "binary", "large"])
async def test_what_is_no_file_of_text_is_told(terminal: Terminal, tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind
    if kind == "folder":
        place.mkdir()
    elif kind == "binary":
        place.write_bytes(b"\xff\xfe")
    elif kind == "large":
        place.touch()
        os.truncate(place, 2 << 20)
    refused = await terminal("import", str(place))
    assert refused.status == ExitStatus.MISUSED
    assert str(place) in refused.err
    assert ("larger than any gallery" in refused.err) == (kind == "large")
