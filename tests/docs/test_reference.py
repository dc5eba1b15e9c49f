"""The pages that are written from the code, and the program that writes them."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from traitlets import HasTraits, Integer, Set, Unicode

import generate
from guix_build_service.commands.outcomes import ExitStatus
from guix_environment import errors
from reference_pages.command_line import command_line_page, commands
from reference_pages.errors import errors_page
from reference_pages.page import Unexplained
from reference_pages.traits import traits_section

CHECKOUT = Path(__file__).parents[2]
PROGRAM = CHECKOUT / "docs/generate.py"


def run(program: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(program), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_pages_say_what_the_code_says() -> None:
    ended = run(PROGRAM, "--check")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_page_that_was_changed_is_found_and_written_anew(tmp_path: Path) -> None:
    program = tmp_path / "generate.py"
    shutil.copy(PROGRAM, program)
    for folder in ("reference", "reference_pages"):
        shutil.copytree(PROGRAM.parent / folder, tmp_path / folder)
    page = tmp_path / "reference/configuration.md"
    right = page.read_text()
    page.write_text(right.replace("`20`", "`30`"))
    (tmp_path / "reference/errors.md").unlink()
    ended = run(program, "--check")
    assert ended.returncode == 1
    assert "configuration.md" in ended.stderr
    assert "errors.md" in ended.stderr
    assert page.read_text() != right, "a check changes nothing"
    assert run(program).returncode == 0
    assert page.read_text() == right
    assert run(program, "--check").returncode == 0


def test_an_unknown_word_is_refused() -> None:
    assert run(PROGRAM, "--chekc").returncode == 2


def test_a_trait_without_help_fails() -> None:
    class Silent(HasTraits):
        folder = Unicode("somewhere").tag(config=True)

    with pytest.raises(Unexplained, match=r"Silent\.folder has no help"):
        traits_section(Silent, {}, "")


def test_a_trait_of_an_unknown_type_or_without_a_default_fails() -> None:
    class Strange(HasTraits):
        members = Set(help="Members.").tag(config=True)

    class Empty(HasTraits):
        folder = Unicode(help="A folder.").tag(config=True)

    with pytest.raises(Unexplained, match="members"):
        traits_section(Strange, {}, "")
    with pytest.raises(Unexplained, match=r"Empty\.folder"):
        traits_section(Empty, {}, "")


def test_what_is_not_configurable_is_left_out() -> None:
    class Partly(HasTraits):
        shown = Integer(3, min=1, help="Shown.").tag(config=True)
        hidden = Integer(4, help="Hidden.")

    section = traits_section(Partly, {("Partly", "shown"): "7"}, "What it is.")
    assert section == (
        "## Partly\n\nWhat it is.\n\n### shown\n\nShown.\n\n"
        "- Type: whole number, 1 or more\n- Default: `3`\n- With `configure`: `7`"
    )


def test_nothing_of_this_machine_is_on_the_pages() -> None:
    for text in generate.pages().values():
        assert "/tmp" not in text
        assert str(CHECKOUT) not in text
        assert "/per-user/root" not in text


def test_every_code_is_on_the_page_once() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GuixSpawnerError)]
    codes = [kind.code for kind in kinds if kind is not errors.GuixSpawnerError]
    page = errors_page()
    assert len(codes) > 20
    assert [page.count(f"`{code}` |") for code in codes] == [1] * len(codes)


def test_every_command_and_every_exit_status_is_on_the_page() -> None:
    page = command_line_page()
    for words in ("list", "add", "log", "import", "sessions start"):
        assert page.count(f"\n## {words}\n") == 1
    assert [f"| {status.value} |" in page for status in ExitStatus] == [True] * len(ExitStatus)


def test_a_command_whose_words_are_not_explained_fails() -> None:
    parser = argparse.ArgumentParser()
    parser.add_subparsers().add_parser("silent").add_argument("--depth")
    with pytest.raises(Unexplained, match=r"program silent does not say what --depth DEPTH is"):
        list(commands(parser, "program"))
