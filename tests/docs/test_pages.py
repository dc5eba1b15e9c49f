"""The documentation as a whole: it can be built, its links lead somewhere, and the changelog can be made."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
TEXTS = (
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "guixlab/README.md")),
    *(CHECKOUT / "share/guix").rglob("README.md"),
    *(path for path in (CHECKOUT / "docs").rglob("*.md") if "_build" not in path.parts),
)
FRAGMENTS = sorted((CHECKOUT / "changelog.d").glob("*.md"))

_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_TARGET = re.compile(r"(?:^ *|`)make ([a-z][a-z-]*)", re.MULTILINE)


def run(module: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)


def build(source: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    # As `make docs` does it; nothing of an earlier build is used.
    return run("sphinx", "--fail-on-warning", "--quiet", "--fresh-env", str(source), str(target))


def test_it_is_built_without_a_warning_and_every_page_can_be_found(tmp_path: Path) -> None:
    ended = build(CHECKOUT / "docs", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "architecture.html").read_text().count('class="mermaid"') == 1


def test_a_page_that_nothing_leads_to_is_found(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text((CHECKOUT / "docs/conf.py").read_text())
    (source / "index.md").write_text("# Index\n")
    (source / "lost.md").write_text("# Lost\n")
    ended = build(source, tmp_path / "target")
    assert ended.returncode != 0
    assert "lost.md" in ended.stderr


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(text: Path) -> None:
    missing = [link for link in _LINK.findall(text.read_text()) if not (text.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_what_make_is_told_to_do_it_can_do(text: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(_TARGET.findall(text.read_text()))
    assert named <= targets


def test_the_changelog_can_be_made_and_has_every_fragment() -> None:
    before = (CHECKOUT / "CHANGELOG.md").read_text()
    ended = run("towncrier", "build", "--draft")
    assert ended.returncode == 0, ended.stderr
    assert FRAGMENTS
    for fragment in FRAGMENTS:
        assert " ".join(fragment.read_text().split()) in " ".join(ended.stdout.split())
    assert (CHECKOUT / "CHANGELOG.md").read_text() == before


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["towncrier"]
    assert (CHECKOUT / settings["filename"]).read_text().count(settings["start_string"]) == 1
    kinds = {re.fullmatch(r"[^.]+\.(\w+)\.md", fragment.name)[1] for fragment in FRAGMENTS}  # type: ignore[index] # else fails
    assert kinds <= settings["fragment"].keys()
