"""What is kept, at a command line: letting go, pinning, building again, exporting."""

import subprocess
import sys
from pathlib import Path

import pytest

from guix_build_service.commands.outcomes import ExitStatus
from tests.service.commands.conftest import Terminal
from tests.service.web.conftest import Site
from tests.service.web.real_hub import CHECKOUT
from tests.service.web.test_retention import ADA, two_versions

SOON = ("--unused-days", "0.00000001")


async def test_an_administrator_sees_what_would_go_and_lets_it_go(site: Site, terminal: Terminal) -> None:
    detail, old = await two_versions(site)
    nothing = await terminal("gc", "--dry-run", person="root")
    assert (nothing.status, nothing.out) == (ExitStatus.DONE, "")
    assert "nothing to let go of" in nothing.err
    dry = await terminal("gc", "--dry-run", *SOON, person="root")
    assert dry.status == ExitStatus.DONE
    head, row = dry.out.splitlines()
    assert head.split() == ["FREES", "USED", "(UTC)", "OWNER", "ENVIRONMENT", "COMMIT", "WHY"]
    assert "It was not used for 0 days." in row
    assert (await terminal("gc", *SOON, person="root")).status == ExitStatus.MISUSED, "nobody is there to answer"
    assert (await site.manager.version(old.environment, old.id, ADA)).let_go is None
    done = await terminal("gc", *SOON, "--yes", "--json", person="root")
    assert done.status == ExitStatus.DONE
    assert done.field("kept") == {"pinned": 0, "in-session": 0, "current": 1, "used": 0}
    shown = await terminal("show", detail.environment.id)
    assert ["gone" in line.split() for line in shown.out.splitlines() if old.id in line] == [True]
    again = await terminal("build", detail.environment.id, "--version", old.id, "--wait")
    assert again.status == ExitStatus.DONE


async def test_what_could_not_be_decided_is_told_by_the_exit_status_too(
    site: Site, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_versions(site)
    retainer = site.manager.retainer
    assert retainer is not None
    monkeypatch.setattr(retainer._belief, "look", lambda: "The clock is not believed.")
    for words in (["--dry-run"], ["--yes"]):
        said = await terminal("gc", *words, person="root")
        assert (said.status, "not believed" in said.err) == (ExitStatus.REFUSED, True)


async def test_who_is_no_administrator_is_refused(site: Site, terminal: Terminal) -> None:
    assert site.manager.retainer is not None
    said = await terminal("gc", "--dry-run")
    assert said.status == ExitStatus.NOT_ALLOWED
    assert "Only administrators" in said.err
    for days in ("-1", "36501", "nan"):
        assert (await terminal("gc", "--unused-days", days, person="root")).status == ExitStatus.MISUSED


async def test_a_version_is_pinned_and_unpinned(site: Site, terminal: Terminal) -> None:
    detail, old = await two_versions(site)
    assert "is always kept" in (await terminal("pin", detail.environment.id, old.id)).out
    assert (await site.manager.version(old.environment, old.id, ADA)).pinned
    assert detail.version is not None
    said = await terminal("pin", detail.environment.id, "--json")
    assert (said.field("id"), said.field("pinned")) == (detail.version.id, True)
    assert "as long as others" in (await terminal("unpin", detail.environment.id, old.id)).out
    assert (await terminal("pin", detail.environment.id, "vaaaaaaaaaaa")).status == ExitStatus.NOT_FOUND
    assert (await terminal("pin", detail.environment.id, person="eve")).status == ExitStatus.NOT_FOUND


async def test_what_makes_a_version_again_is_written_and_overwrites_nothing(
    site: Site, terminal: Terminal, tmp_path: Path
) -> None:
    detail = await site.ready("good", "ada")
    folder = tmp_path / "exported"
    said = await terminal("export", detail.environment.id, "--into", str(folder))
    assert said.status == ExitStatus.DONE
    assert said.out.startswith("guix time-machine -C channels.scm -- shell")
    assert (folder / "manifest.scm").read_text() == '(specifications->manifest (list "python"))'
    (folder / "manifest.scm").write_text("mine")
    (folder / "channels.scm").unlink()
    again = await terminal("export", detail.environment.id, "--into", str(folder))
    assert again.status == ExitStatus.MISUSED
    assert "not overwritten" in again.err
    assert [path.read_text() for path in folder.iterdir()] == ["mine"]
    (folder / "manifest.scm").unlink()
    (folder / "channels.scm").symlink_to("nowhere")
    assert (await terminal("export", detail.environment.id, "--into", str(folder))).status == ExitStatus.MISUSED
    assert not (folder / "manifest.scm").exists()
    await terminal("add", "https://git.example/a/slow")
    none_yet = await terminal("export", "slow")
    assert (none_yet.status, "no version yet" in none_yet.err) == (ExitStatus.NOT_FOUND, True)
    site.pipeline.release.set()
    printed = await terminal("export", detail.environment.id, "--json")
    assert printed.field("channels") == "(list)"
    assert list(Path.cwd().glob("*.scm")) == []


def test_what_is_written_is_read_by_guix_in_whatever_language_the_terminal_is(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from guix_build_service.commands import keeping as it; "
    program += "it._write(Path(sys.argv[1]), {'channels.scm': '; Gr\\xf6\\xdfe'})"
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(CHECKOUT)}
    subprocess.run([sys.executable, "-c", program, tmp_path], env=variables, check=True)
    assert (tmp_path / "channels.scm").read_text(encoding="utf-8") == "; Größe"
