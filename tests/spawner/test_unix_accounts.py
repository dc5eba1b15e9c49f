"""Which Unix accounts sessions run as, and all those that they never do."""

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from traitlets.config import Config

from guix_environment.errors import SessionFailure
from guix_environment.processes import Account
from guixspawner.accounts import SessionAccounts
from guixspawner.accounts.settings import Kind, resolved
from guixspawner.accounts.unix import account_name, command_for, home_of, look_up, may_run, ordinary_groups
from tests.spawner.private_etc import as_root, private_etc, run_python


def entry(uid: int = 4242, gid: int = 4242, home: str = "/home/ada", name: str = "ada") -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", home, "/bin/bash"))


def test_an_account_is_found_by_exactly_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory service may find it however it is written; two people must not get to one account that way."""
    found = entry(name="ada")
    monkeypatch.setattr(pwd, "getpwnam", {"ada": found, "ADA": found, "ada@example.org": found}.__getitem__)
    assert look_up("ada") == found
    assert look_up("ADA") is None
    assert look_up("ada@example.org") is None
    assert look_up("bob") is None


def group(name: str, gid: int) -> grp.struct_group:
    return grp.struct_group((name, "x", gid, []))


@pytest.mark.parametrize("name", ["ada", "ada-2", "_x", "a" * 32, "ada_l"])
def test_an_ordinary_name_is_an_accounts(name: str) -> None:
    assert account_name("{name}", name) == name


def test_the_template_goes_around_the_name() -> None:
    assert account_name("jupyter-{name}", "ada") == "jupyter-ada"
    assert account_name("jupyter-{name}", "root") == "jupyter-root"


@pytest.mark.parametrize(
    "name",
    ["", "-rf", "--help", "Ada", "a b", "a:b", "a/b", "../ada", "ada\n", "ada\0", "ünal", "1000", "a" * 33, "{name}", "$x"],
)
def test_an_odd_name_is_refused(name: str) -> None:
    with pytest.raises(SessionFailure, match="cannot be that of an account"):
        account_name("{name}", name)


@pytest.mark.parametrize("template", ["", "shared", "{Name}"])
def test_a_template_that_would_give_everybody_one_account_is_refused(template: str) -> None:
    with pytest.raises(SessionFailure):
        account_name(template, "ada")


@pytest.mark.parametrize("uid", [0, 1, 33, 999, 5000])
def test_root_the_system_and_the_hub_itself_are_refused(uid: int) -> None:
    with pytest.raises(SessionFailure, match="own accounts"):
        may_run(entry(uid), group("users", 100), own=5000)


@pytest.mark.parametrize(("gid", "name"), [(0, "root"), (0, "people"), (1001, "docker"), (27, "sudo"), (2000, "wheel")])
def test_an_account_whose_own_group_is_privileged_is_refused(gid: int, name: str) -> None:
    with pytest.raises(SessionFailure, match="group that sessions may not have"):
        may_run(entry(gid=gid), group(name, gid), own=0)


def test_an_ordinary_account_is_not_refused() -> None:
    may_run(entry(), group("ada", 4242), own=0)
    may_run(entry(gid=100), group("users", 100), own=0)
    may_run(entry(), None, own=0)


def test_only_ordinary_groups_are_kept() -> None:
    groups = [("ada", 4242), ("lab", 5000), ("sudo", 27), ("docker", 1001), ("video", 44), ("root", 0), ("course", 1500)]
    assert ordinary_groups([group(*one) for one in groups], 4242) == (1500, 5000)


def test_the_administrators_command_gets_the_account() -> None:
    words = ["useradd", "--comment={name}", "{account}"]
    assert command_for(words, "jupyter-ada", "ada") == ["useradd", "--comment=ada", "jupyter-ada"]


@as_root
def test_a_home_must_be_there_and_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(SessionFailure, match="no home folder"):
        home_of(entry(home=str(home)))
    home.mkdir()
    with pytest.raises(SessionFailure, match="not its own"):
        home_of(entry(home=str(home)))
    os.chown(home, 4242, 4242)
    assert home_of(entry(home=str(home))) == home
    (tmp_path / "link").symlink_to(home)
    assert home_of(entry(home=str(tmp_path / "link"))) == home
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SessionFailure, match="no home folder"):
        home_of(entry(home=str(tmp_path / "loop")))
    (home / "file").touch()
    os.chown(home / "file", 4242, 4242)
    with pytest.raises(SessionFailure, match="not its own"):
        home_of(entry(home=str(home / "file")))


@pytest.mark.parametrize(
    ("kind", "root", "then"),
    [
        (Kind.AUTO, True, Kind.NUMBERS),
        (Kind.AUTO, False, Kind.HUB),
        (Kind.UNIX, True, Kind.UNIX),
        (Kind.NUMBERS, True, Kind.NUMBERS),
        (Kind.SUBORDINATE, False, Kind.SUBORDINATE),
        (Kind.HUB, False, Kind.HUB),
    ],
)
def test_each_choice_fits_a_hub(kind: Kind, root: bool, then: Kind) -> None:
    assert resolved(kind, root=root) is then


@pytest.mark.parametrize(
    ("kind", "root", "words"),
    [
        (Kind.UNIX, False, "not the rights"),
        (Kind.NUMBERS, False, "not the rights"),
        (Kind.SUBORDINATE, True, "sessions never do"),
        (Kind.HUB, True, "sessions never do"),
    ],
)
def test_a_choice_that_does_not_fit_the_hub_is_refused(kind: Kind, root: bool, words: str) -> None:
    with pytest.raises(SessionFailure, match=words):
        resolved(kind, root=root)


def settings(**traits: object) -> SessionAccounts:
    return SessionAccounts(config=Config(SessionAccounts={"accounts": "unix", **traits}))


PROGRAM = """
import asyncio, os, subprocess
from pathlib import Path
from traitlets.config import Config
from guix_environment import processes
from guixspawner.accounts import SessionAccounts

folder = Path(os.environ["FOLDER"])

def person(name, **traits):
    settings = SessionAccounts(config=Config(SessionAccounts={"accounts": "unix", **traits}))
    return asyncio.run(settings.person(name, folder / "homes"))

def run(*command):
    subprocess.run(command, check=True)

run("groupadd", "--gid=61999", "lab-of-tests")
run("groupadd", "--force", "docker")
run("groupadd", "--gid=61998", "ada-of-tests")
groups = ("--gid=61998", "--groups=lab-of-tests,docker")
run("useradd", "--create-home", "--home-dir", folder / "ada", "--uid=61998", *groups, "ada-of-tests")
"""
"""Begins where there is an account of an ordinary group and a privileged one."""


@pytest.fixture
def world() -> Iterator[Path]:
    with private_etc("accounts") as world:
        yield world


def printed(world: Path, program: str) -> list[str]:
    done = run_python(world, PROGRAM + program)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@as_root
def test_a_session_runs_as_the_persons_account_in_its_home(world: Path) -> None:
    program = """
ada = person("ada-of-tests")
print(ada.account_name, ada.home, ada.account.uid, ada.account.groups)
"""
    assert printed(world, program) == [f"ada-of-tests {world}/ada 61998 ()"]
    assert not (world / "homes").exists()


@as_root
def test_further_groups_are_only_the_ordinary_ones(world: Path) -> None:
    program = """
account = person("ada-of-tests", supplementary_groups=True).account
print(account.groups)
print(asyncio.run(processes.run(["id", "--groups"], environment={}, timeout=20, account=account)).output.decode())
"""
    groups, shown, _ = printed(world, program)
    assert groups == "(61999,)"
    assert set(shown.split()) == {"61998", "61999"}


@as_root
def test_the_administrators_command_makes_a_missing_account(world: Path) -> None:
    program = """
command = ["useradd", "--create-home", "--home-dir", f"{folder}/new", "--uid", "61997", "{account}"]
made = person("new", account_template="jupyter-{name}", account_command=command)
print(made.account_name, made.account.uid, made == person("new", account_template="jupyter-{name}"))
"""
    assert printed(world, program) == ["jupyter-new 61997 True"]


@as_root
async def test_without_an_account_there_is_no_session(tmp_path: Path) -> None:
    with pytest.raises(SessionFailure, match="no account on this machine"):
        await settings().person("nobody-of-that-name", tmp_path)
    with pytest.raises(SessionFailure, match="own accounts"):
        await settings().person("root", tmp_path)


@as_root
@pytest.mark.parametrize("command", [["false"], ["/nowhere/useradd", "{account}"]])
async def test_a_command_that_fails_is_told(command: list[str], tmp_path: Path) -> None:
    with pytest.raises(SessionFailure, match="No account could be made"):
        await settings(account_command=command).person("nobody-of-that-name", tmp_path)


@as_root
async def test_a_command_that_makes_nothing_gives_no_session(tmp_path: Path) -> None:
    with pytest.raises(SessionFailure, match="no account on this machine"):
        await settings(account_command=["true"]).person("nobody-of-that-name", tmp_path)


FORBIDDEN_GROUPS = """
import asyncio, sys
from guix_environment import processes
from guix_environment.processes import Account

try:
    done = asyncio.run(processes.run(["id"], environment={}, timeout=20, account=Account(1, 0, ())))
except OSError as error:
    sys.exit(f"refused: {error}")
sys.exit(f"ran: {done.output}")
"""


@as_root
def test_nothing_runs_where_groups_cannot_be_given_up() -> None:
    # Root without the right to setgroups(2), as a hub in somebody's container may be.
    command = ["setpriv", "--bounding-set=-setgid", "--inh-caps=-setgid", sys.executable, "-c", FORBIDDEN_GROUPS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.startswith("refused:"), done.stderr


def test_an_account_without_further_groups_is_in_none() -> None:
    assert Account(1, 1).groups == ()
