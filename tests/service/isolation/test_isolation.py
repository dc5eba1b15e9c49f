"""Levels of isolation: what each needs, what is said where it is lacking, and that less is not taken for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from guix_build_service.isolation.levels import MENDED, Facts, Level, State, check, findings, reached
from guix_build_service.isolation.machine import controllers, daemon_words
from guix_environment.errors import Refused

BEST = Facts(
    root=False,
    containers="",
    controllers=frozenset({"cpu", "memory", "pids"}),
    daemon=("guix-daemon", "--isolate-host-loopback", ""),
    guix="guix (GNU Guix) 1.6.0",
    guix_is_mended=False,
    folder_open=False,
    evaluates=True,
    evaluates_apart=True,
)


def test_a_machine_that_has_everything_is_good_enough_for_anybody() -> None:
    found = findings(BEST)
    assert {finding.state for finding in found} == {State.HELD}
    assert reached(found) is Level.STRANGERS
    check(Level.STRANGERS, found)


@pytest.mark.parametrize(
    ("change", "name", "left", "said"),
    [
        ({"containers": "new namespaces: Operation not permitted"}, "containers", Level.ALONE, "Operation not permitted"),
        ({"daemon": None}, "builds", Level.ALONE, "not seen"),
        (
            {"daemon": ("guix-daemon", "--disable-chroot", "--isolate-host-loopback")},
            "builds",
            Level.ALONE,
            "see the machine",
        ),
        ({"root": True}, "rights", Level.TEAM, "runs as root"),
        ({"controllers": frozenset({"cpu", "memory"})}, "bounds", Level.TEAM, "do not bound pids"),
        ({"folder_open": True}, "folder", Level.TEAM, "may enter"),
        ({"guix": "guix (GNU Guix) 1.5.0"}, "guix", Level.TEAM, "1.5.0 has published holes"),
        ({"guix": "guix (GNU Guix) 1.4.0-rc2"}, "guix", Level.TEAM, "published holes"),
        ({"guix": "guix (GNU Guix) 897832f374dc0a1b"}, "guix", Level.TEAM, "does not tell"),
        ({"guix": "guix (GNU Guix) 1.5.0-3.abcdef0"}, "guix", Level.TEAM, "published holes"),
        ({"guix": ""}, "guix", Level.TEAM, "does not answer"),
        ({"daemon": ("guix-daemon",)}, "downloads", Level.PEOPLE, "can reach services"),
        ({"evaluates_apart": False}, "manifests", Level.PEOPLE, "own account"),
    ],
)
def test_what_is_lacking_is_said_and_not_done_without(change: dict[str, object], name: str, left: Level, said: str) -> None:
    found = findings(replace(BEST, **change))  # type: ignore[arg-type]
    (lacking, *_) = [finding for finding in found if finding.state is not State.HELD]
    assert (lacking.name, reached(found)) == (name, left)
    assert said in lacking.said
    assert lacking.remedy
    check(left, found)
    with pytest.raises(Refused, match=f"isolation {Level(left + 1).word} was asked for") as caught:
        check(Level(left + 1), found)
    assert said in caught.value.hint


def test_the_administrator_may_say_that_guix_is_mended() -> None:
    assert reached(findings(replace(BEST, guix="guix (GNU Guix) 1.5.0", guix_is_mended=True))) is Level.STRANGERS
    (finding,) = (finding for finding in findings(replace(BEST, guix="guix (GNU Guix) 1.5.0")) if finding.name == "guix")
    assert MENDED in finding.remedy


def test_no_manifest_that_is_run_needs_no_account() -> None:
    assert reached(findings(replace(BEST, evaluates=False, evaluates_apart=False))) is Level.STRANGERS


def test_controllers_of_both_versions_are_found(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    (tmp_path / "memory").mkdir()
    table = tmp_path / "cgroups"
    table.write_text("#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t3\t80\t1\nfreezer\t4\t80\t1\nrdma\t0\t1\t0\n")
    assert controllers(tmp_path, table) == {"cpu", "pids", "memory"}
    assert controllers(tmp_path / "none", tmp_path / "none") == frozenset()


def test_the_daemon_is_found_by_its_program(tmp_path: Path) -> None:
    for number, words in {
        "7": ["vi", "/etc/notes", "guix-daemon"],
        "12": ["/usr/bin/guile", "/usr/bin/guix-daemon", "--disable-chroot"],
        "self": ["guix-daemon"],
    }.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    found = daemon_words(tmp_path)
    assert found is not None
    assert "--disable-chroot" in found
    (tmp_path / "12/cmdline").unlink()
    assert daemon_words(tmp_path) is None
