"""Links that keep store items."""

import os
from pathlib import Path

import pytest

from guix_environment.errors import InvalidInput
from guix_environment.identifiers import StorePath
from guix_environment.roots import Roots

ONE = StorePath("/gnu/store/" + "a" * 32 + "-one")
OTHER = StorePath("/gnu/store/" + "b" * 32 + "-other")


def test_a_name_holds_one_item_at_a_time_and_then_none(tmp_path: Path) -> None:
    roots = Roots(tmp_path / "leases")
    assert roots.hold("session-1", ONE).readlink() == Path(ONE)
    roots.hold("session-1", OTHER)
    roots.hold("session-2", ONE)
    assert roots.held() == {"session-1": OTHER, "session-2": ONE}
    roots.release("session-1")
    roots.release("session-1")
    assert roots.held() == {"session-2": ONE}
    assert [link.name for link in roots.folder.iterdir()] == ["session-2"]


def test_the_daemon_can_read_the_folder_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = Roots(tmp_path / "new" / "leases").hold("session", ONE).parent
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert folder.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a\nb", "x" * 201])
def test_a_name_is_one_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        Roots(tmp_path).hold(name, ONE)
    with pytest.raises(InvalidInput):
        Roots(tmp_path).release(name)


def test_links_to_anything_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to("/etc/passwd")
    (tmp_path / "file").write_text("")
    assert Roots(tmp_path).held() == {}
    assert Roots(tmp_path / "missing").held() == {}
