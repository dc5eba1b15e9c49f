"""Which folders of the machine whose sessions see, and which nobody's ever do."""

from pathlib import Path

import pytest
from traitlets import TraitError
from traitlets.config import Config

from guix_environment.container import Mount
from guix_environment.errors import InvalidInput
from guixspawner.folders import SessionFolders, SharedFolder, checked, checked_target, folders_for, mounts, present


def folder(**changes: object) -> SharedFolder:
    return SharedFolder.parse({"source": "/srv/data", "target": "/data", **changes})


@pytest.mark.parametrize("target", ["/data", "/data/2026", "/mnt/big-disk", "/srv/x_y.z", "/opt/models"])
def test_a_folder_can_be_beside_the_sessions_own(target: str) -> None:
    assert checked_target(target) == target


@pytest.mark.parametrize(
    "target",
    [
        *("/gnu", "/gnu/store", "/run", "/run/guix-environment", "/proc", "/proc/self", "/sys", "/dev", "/dev/shm", "/etc"),
        *("/etc/passwd", "/bin", "/bin/sh", "/usr", "/usr/bin", "/tmp", "/var", "/lib", "/lib64", "/sbin", "/root"),
        *("/home", "/home/ada", "/home/ada/data"),
        *("/", "", "data", "//data", "/data/", "/data/../etc", "/../etc", "/.hidden", "/data/.x", "/a b", "/a\n", "/$HOME"),
        *("/x" * 20, "/" + "x" * 200, None, 7, ["/data"]),
    ],
)
def test_a_folder_cannot_be_where_something_else_is(target: object) -> None:
    with pytest.raises(InvalidInput, match="A folder cannot be"):
        checked_target(target)


@pytest.mark.parametrize(
    "source", ["/", "/etc", "/etc/ssl", "/proc", "/proc/1/root", "/sys", "/dev", "/root", "/run", "/boot"]
)
def test_no_session_sees_the_machines_own_folders(source: str) -> None:
    with pytest.raises(InvalidInput, match=r"machine's own|cannot be reached"):
        folder(source=source)


def test_no_session_sees_them_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(InvalidInput, match="machine's own"):
        folder(source=str(tmp_path / "link"))


@pytest.mark.parametrize(
    "value",
    [
        "text",
        {},
        {"source": "/srv/data"},
        {"target": "/data"},
        {"source": "/srv/data", "target": "/data", "readonly": True},
        {"source": "srv/data", "target": "/data"},
        {"source": "/srv/data", "target": "/data", "writable": "yes"},
        {"source": "/srv/data", "target": "/data", "people": "ada"},
        {"source": "/srv/data", "target": "/data", "groups": [""]},
        {"source": "/srv/data", "target": "/data", "groups": [7]},
    ],
)
def test_what_is_no_folder_is_refused_when_the_hub_reads_it(value: object) -> None:
    with pytest.raises(InvalidInput):
        SharedFolder.parse(value)
    with pytest.raises(TraitError):
        SessionFolders(config=Config(SessionFolders={"folders": [value]}))


def test_a_folder_inside_of_another_is_refused() -> None:
    values = [{"source": "/srv/a", "target": "/data"}, {"source": "/srv/b", "target": "/data/b"}]
    with pytest.raises(InvalidInput, match="inside of the folder /data"):
        checked(values)
    checked([values[0], {"source": "/srv/b", "target": "/data-b"}])


def test_a_folder_for_nobody_in_particular_is_for_everybody() -> None:
    assert folder().is_for("ada", [])


def test_a_folder_is_for_its_people_and_its_groups_alone() -> None:
    shared = folder(people=["ada"], groups=["lab"])
    assert [shared.is_for(*one) for one in (("ada", []), ("bob", ["lab"]), ("bob", ["course"]), ("bob", []))] == [
        True,
        True,
        False,
        False,
    ]


def test_the_later_folder_of_one_place_counts() -> None:
    everybody, lab = folder(source="/srv/public"), folder(source="/srv/lab", groups=["lab"])
    assert folders_for([everybody, lab], "ada", ["lab"]) == (lab,)
    assert folders_for([everybody, lab], "bob", []) == (everybody,)


def test_folders_are_read_only_unless_said_otherwise() -> None:
    shared = folder(source="/srv/lab", target="/lab", writable=True)
    assert mounts([folder(), shared]) == (Mount("/srv/data", "/data"), Mount("/srv/lab", "/lab", writable=True))


def test_a_folder_that_is_not_there_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    folders = [folder(source=str(tmp_path / name), target=f"/{name}") for name in ("there", "gone", "file")]
    there, missing = present(folders)
    assert [one.target for one in there] == ["/there"]
    assert missing == tuple(
        f"The shared folder {tmp_path}/{name} is not there; the session starts without /{name}." for name in ("gone", "file")
    )


def test_a_link_is_followed_when_the_hub_reads_its_configuration_and_never_later(tmp_path: Path) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "link"
    first.mkdir()
    second.mkdir()
    link.symlink_to(first)
    value = {"source": str(link), "target": "/data"}
    settings = SessionFolders(config=Config(SessionFolders={"folders": [value]}))
    assert settings.for_session("ada", []) == ((Mount(str(first), "/data"),), ())
    link.unlink()
    link.symlink_to(second)
    assert settings.for_session("ada", []) == ((Mount(str(first), "/data"),), ())
    # And a link that takes the place of the folder itself is not followed either.
    first.rename(tmp_path / "moved")
    first.symlink_to(second)
    found, missing = settings.for_session("ada", [])
    assert (found, len(missing)) == ((), 1)
