"""What surrounds a manifest that is run, and what is believed of what it says; without Guix."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from guix_build_service.jail import answer
from guix_build_service.jail.evaluate import walls
from guix_build_service.jail.evaluation import Evaluation, account_for
from guix_build_service.jail.plan import Bounds, EvaluatingGuix, Jail, limits, plan
from guix_build_service.manifest.canonical import Entry, Kind, Named
from guix_environment.container import Mount, Network, order
from guix_environment.errors import EvaluationFailed, InvalidInput, PackagesDefined, SessionFailure
from guix_environment.guix_command import GuixCommand
from guix_environment.processes import Account
from guix_environment.repository_url import RepositoryUrl
from guix_environment.system_call_filter import ALONE, compiled, rules
from tests.containers import ACCOUNT

JAIL_HOME = Path("/nowhere")
JAIL = Jail(EvaluatingGuix("/usr/bin/guix", mounts=(Mount("/usr", "/usr"),)), Account(70000, 70000))


def test_the_plan_has_guix_and_the_repository_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    container = plan(JAIL, {"a/manifest.scm": b"(manifest '())", "b.scm": b""}, "a/manifest.scm", {"MARK": "one"}, b"")
    assert container.network is Network.OWN
    assert container.store_items == ()
    assert [mount.source for mount in container.mounts] == ["/usr"]
    assert not any(mount.writable for mount in container.mounts)
    assert container.secrets == {}
    assert set(container.variables) == {
        *("PATH", "HOME", "XDG_CACHE_HOME", "LC_ALL", "NO_COLOR", "TERM", "GUILE_AUTO_COMPILE", "GC_MARKERS", "MARK")
    }
    placed = {file.target: file.mode for file in container.files}
    programs = ["/evaluation/evaluate.scm", "/evaluation/meanings.scm"]
    assert placed == dict.fromkeys([*programs, "/repository/a/manifest.scm", "/repository/b.scm"], 0o444)
    assert container.command[0] == "/usr/bin/guix"
    assert container.command[-1] == "/repository/a/manifest.scm"
    assert b"secret" not in order(container)


def test_everything_that_could_grow_is_bounded() -> None:
    container = plan(JAIL, {}, "manifest.scm", {}, b"")
    assert container.shared_memory is not None
    assert all(folder.size is not None for folder in container.temporary_folders)
    assert all(most >= 0 for most in limits(Bounds()).values())


def test_the_filter_leaves_one_process_without_sockets() -> None:
    alone = rules(alone=True)
    assert {rule.call for rule in alone if not rule.conditions} >= ALONE
    assert len([rule for rule in alone if rule.call == "socket"]) == 1
    assert [rule for rule in alone if rule.call == "clone" and rule.conditions[0].second == 0]
    assert {rule.call for rule in rules()} & ALONE == {"socket"}
    assert compiled(alone=True) != compiled()


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ('("sed" "4.9" "out" specification)', Entry("sed@4.9", merged=False)),
        ('("git" "2.5" "send-email" specification)', Entry("git@2.5", output="send-email", merged=False)),
        (
            '("gcc" "14" "lib" (gnu packages gcc) gcc-14)',
            Entry("gcc-14", named=Named.VARIABLE, module=("gnu", "packages", "gcc"), output="lib", merged=False),
        ),
        ('("hello" "2.12" development specification)', Entry("hello@2.12", kind=Kind.DEVELOPMENT)),
    ],
)
def test_packages_are_read_from_the_answer(printed: str, expected: Entry) -> None:
    found = answer.packages(f"noise \x1e(packages) more\n\x1e(packages {printed})\n".encode())
    assert found.entries == (expected,)


@pytest.mark.parametrize(
    "printed",
    [
        "", "noise", "\x1e", "\x1e(", "\x1e(packages", "\x1e(packages . 1)", "\x1epackages", "\x1e(packages) (packages)",
        "\x1e(packages sed)", '\x1e(packages ("sed" "1"))', '\x1e(packages ("sed" 1 "out" specification))',
        "\x1e(no-manifest)",
        '\x1e(packages ("sed" "1" "out" specification . x))', "\x1e" + "(" * 5000, "\x1e#.(system \"id\")",
        "\x1e(packages " + '("s" "1" "out" specification)' * 2001 + ")",
    ],
)  # fmt: skip
def test_any_other_answer_is_refused(printed: str) -> None:
    with pytest.raises(EvaluationFailed):
        answer.packages(printed.encode())


@pytest.mark.parametrize(
    "means",
    [
        "own", "specification specification", "(guix build) sed", "(gnu packages base) |a b|", "(gnu packages \"x\") sed",
        "(gnu ..) sed", "()  sed", "(gnu packages . base) sed", "sed", '"specification"', "", "(system) (id)",
    ],
)  # fmt: skip
def test_what_no_name_of_guixs_stands_for_is_not_built(means: str) -> None:
    with pytest.raises((PackagesDefined, EvaluationFailed)):
        answer.packages(f'\x1e(packages ("sed" "4.9" "out" {means}))'.encode())


@pytest.mark.parametrize("name", ['sed\\" (evil', "a b", "-sed", "sed:out", "a@b@c", "", "\\x1b[31m"])
def test_names_of_another_form_go_nowhere(name: str) -> None:
    with pytest.raises((PackagesDefined, EvaluationFailed)) as caught:
        answer.packages(f'\x1e(packages ("{name}" "4.9" "out" specification))'.encode())
    assert "\x1b" not in caught.value.message


def test_what_a_manifest_says_when_it_fails_is_shown_in_one_harmless_line() -> None:
    with pytest.raises(EvaluationFailed, match=r"could not be run: manifest.scm:1: foo: unbound \[31mvariable\.$"):
        answer.packages(b"manifest.scm:1: foo: unbound\n\x1b[31mvariable\n")


@pytest.mark.parametrize(
    ("pattern", "address", "allowed"),
    [
        ("codeberg.org", "https://codeberg.org/a/b", True),
        ("codeberg.org", "https://codeberg.org.evil.org/a/b", False),
        ("codeberg.org", "https://evil.org/codeberg.org/b", False),
        ("*.example.edu", "https://git.example.edu/a", True),
        ("https://codeberg.org/ours/*", "https://codeberg.org/ours/b", True),
        ("https://codeberg.org/ours/*", "https://codeberg.org/theirs/ours/b", False),
        ("https://codeberg.org/ours/*", "http://codeberg.org/ours/b", False),
    ],
)
def test_repositories_are_named_by_host_or_address(pattern: str, address: str, *, allowed: bool) -> None:
    evaluation = Evaluation(GuixCommand("guix", JAIL_HOME, "nobody"), (pattern,))
    assert evaluation.allows(RepositoryUrl.parse(address)) is allowed


def test_nothing_is_allowed_by_default() -> None:
    evaluation, url = Evaluation(GuixCommand("guix", JAIL_HOME, "nobody")), RepositoryUrl.parse("https://example.org/a")
    assert not evaluation.allows(url, {"lab"})
    assert not evaluation.builds(url, {"lab"})


def test_whose_packages_are_built_have_their_manifests_run_and_not_the_other_way_round() -> None:
    runs = Evaluation(GuixCommand("guix", JAIL_HOME, "nobody"), ("a.example",), groups=frozenset({"lab"}))
    builds = replace(runs, building_repositories=("b.example",), building_groups=frozenset({"developers"}))
    first, second = (RepositoryUrl.parse(f"https://{host}.example/x") for host in "ab")
    for url, groups, run, built in (
        (first, set[str](), True, False),
        (first, {"developers"}, True, True),
        (second, set[str](), True, True),
        (RepositoryUrl.parse("https://c.example/x"), {"lab"}, True, False),
        (RepositoryUrl.parse("https://c.example/x"), {"developers"}, True, True),
        (RepositoryUrl.parse("https://c.example/x"), {"others"}, False, False),
    ):
        assert (builds.allows(url, groups), builds.builds(url, groups)) == (run, built)
    assert not runs.builds(first, {"lab"})
    assert builds.all_groups == {"lab", "developers"}


def test_no_manifest_is_run_as_root() -> None:
    with pytest.raises(InvalidInput, match="not run as root"):
        account_for("root")
    if os.geteuid() == 0:
        with pytest.raises(InvalidInput, match="not run as root"):
            account_for("")


def test_an_account_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidInput, match="no account no-such-account"):
        account_for("no-such-account")


async def test_walls_are_tried_before_anybody_relies_on_them() -> None:
    await walls(ACCOUNT)
    with pytest.raises(SessionFailure, match="does not let the service put up the walls") as caught:
        await walls(Account(0, 0))
    assert caught.value.details["step"] == "account"
