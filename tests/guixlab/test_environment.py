"""What commands and Guix get of the caller's variables."""

from pathlib import Path

import pytest

from guixlab.client import guix_environment
from guixlab.enter import entered_environment
from guixlab.folder import Folder


def test_the_guix_command_comes_first_on_path_and_once() -> None:
    folder = Folder(Path("/srv/lab"))
    once = entered_environment({"PATH": "/usr/bin:/bin", "LANG": "C"}, folder)
    assert once == {"PATH": "/.guix/bin:/usr/bin:/bin", "LANG": "C", "GUIXLAB": "/srv/lab"}
    assert entered_environment(once, folder) == once
    assert entered_environment({}, folder)["PATH"].startswith("/.guix/bin:/")


def test_guix_finds_itself_and_keeps_all_other_variables() -> None:
    given = {"PATH": "/.guix/bin:/usr/bin", "GUIX_BUILD_OPTIONS": "--cores=1", "HOME": "/h", "LANG": "C.UTF-8"}
    assert guix_environment(given) == {**given, "PATH": "/usr/bin"}


@pytest.mark.parametrize(
    ("name", "value", "changed"), [("LANG", "de_DE.UTF-8", True), ("LC_ALL", "C", False), ("LANG", "", False)]
)
def test_guix_gets_a_locale_that_is_there(name: str, value: str, changed: bool) -> None:
    assert ("C.UTF-8" in guix_environment({name: value}).values()) is changed
