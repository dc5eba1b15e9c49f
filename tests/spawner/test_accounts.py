"""Names and numbers of people."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guix_environment.errors import SessionFailure
from guixspawner.accounts import Homes, slug

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives people numbers of their own")


@given(st.text(min_size=1, max_size=300))
def test_a_slug_is_an_account_and_one_plain_file_name(name: str) -> None:
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug(name)[0].isalpha()
    assert len(slug(name)) <= 33


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_two_names_share_a_slug(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


def test_plain_names_stay_and_others_stay_recognisable() -> None:
    assert slug("ada") == "ada"
    assert slug("ada-2") == "ada-2"
    assert slug("Ada").startswith("ada--")
    assert slug("ada@example.org").startswith("ada-exampl--")
    assert slug("../../etc").startswith("etc--")
    assert slug("default") != "default"
    # What somebody could call themselves to get another's home.
    assert slug(slug("Ada")) != slug("Ada")


def test_a_home_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "homes", range(70000, 70010))
    ada = homes.person("ada")
    assert ada.home == tmp_path / "homes" / "ada"
    assert ada.home.stat().st_mode & 0o777 == 0o700
    assert ada.home.stat().st_uid == ada.account.uid
    assert homes.person("ada") == ada
    assert [entry.name for entry in (tmp_path / "homes").iterdir() if not entry.name.startswith(".highest-")] == ["ada"]


@as_root
def test_each_person_gets_a_number_and_keeps_it(tmp_path: Path) -> None:
    homes = Homes(tmp_path, range(70000, 70003))
    assert [homes.person(name).account.uid for name in ("ada", "bob", "ada", "cyd")] == [70000, 70001, 70000, 70002]
    with pytest.raises(SessionFailure, match="no room for another person"):
        homes.person("dan")
    assert not (tmp_path / "dan").exists()


@as_root
def test_a_number_is_not_given_again(tmp_path: Path) -> None:
    homes = Homes(tmp_path, range(70000, 70010))
    homes.person("ada")
    bob = homes.person("bob")
    homes.person("ada").home.rmdir()
    assert homes.person("cyd").account.uid == bob.account.uid + 1


@as_root
def test_the_number_of_who_left_last_is_not_given_again(tmp_path: Path) -> None:
    homes = Homes(tmp_path, range(70000, 70010))
    homes.person("ada")
    homes.person("bob").home.rmdir()
    assert homes.person("cyd").account.uid == 70002


@as_root
def test_a_damaged_record_of_numbers_gives_nobody_a_number(tmp_path: Path) -> None:
    homes = Homes(tmp_path, range(70000, 70010))
    homes.person("ada")
    (tmp_path / ".highest-70000.json").write_text("{")
    with pytest.raises(SessionFailure, match="cannot be read"):
        homes.person("bob")
    assert homes.person("ada").account.uid == 70000


@as_root
@pytest.mark.parametrize("owner", [0, 33])
def test_a_home_of_the_system_is_nobodys(tmp_path: Path, owner: int) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    os.chown(home, owner, owner)
    with pytest.raises(SessionFailure, match="belongs to another account"):
        Homes(tmp_path, range(70000, 70010)).person("ada")


@as_root
def test_a_home_that_was_there_before_keeps_its_owner(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    os.chown(home, 1001, 100)
    account = Homes(tmp_path, range(70000, 70010)).person("ada").account
    assert (account.uid, account.gid) == (1001, 100)


def test_a_link_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "ada").symlink_to("/etc")
    with pytest.raises(SessionFailure, match="is not a folder"):
        Homes(tmp_path, range(70000, 70010)).person("ada")
