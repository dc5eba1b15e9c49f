"""The plans of the namespaces: which path shows what."""

from pathlib import Path

import pytest

from guixlab.folder import Contents, Folder
from guixlab.namespace import (
    Bind,
    Directory,
    Entry,
    Kind,
    Link,
    Step,
    list_directory,
    plan_entered,
    plan_machine,
    plan_root,
)

FOLDER = Folder(Path("/srv/lab"))
HOST = {
    "/": [
        Entry("bin", Kind.LINK, "usr/bin"),
        Entry("etc", Kind.DIRECTORY),
        Entry("gnu", Kind.DIRECTORY),
        Entry("home", Kind.DIRECTORY),
        Entry("swapfile", Kind.FILE),
        Entry("usr", Kind.DIRECTORY),
        Entry("var", Kind.DIRECTORY),
    ],
    "/etc": [
        Entry("group", Kind.FILE),
        Entry("guix", Kind.DIRECTORY),
        Entry("hosts", Kind.FILE),
        Entry("passwd", Kind.FILE),
        Entry("resolv.conf", Kind.LINK, "../run/resolv.conf"),
        Entry("ssl", Kind.DIRECTORY),
    ],
    "/var": [
        Entry("guix", Kind.DIRECTORY),
        Entry("lib", Kind.DIRECTORY),
        Entry("log", Kind.DIRECTORY),
        Entry("run", Kind.LINK, "/run"),
    ],
    "/var/log": [Entry("guix", Kind.DIRECTORY), Entry("syslog", Kind.FILE)],
}
ROOT_ENTRIES = [Entry("bin", Kind.LINK, "usr/bin"), Entry("etc", Kind.DIRECTORY), Entry("home", Kind.DIRECTORY)]
ROOT_ENTRIES += [Entry("usr", Kind.DIRECTORY)]


def same(*paths: str) -> list[Step]:
    return [Bind(path, path) for path in paths]


def test_the_entered_view_is_the_host_with_the_folders_guix() -> None:
    plan = plan_entered(HOST, FOLDER, FOLDER.hub(Contents.STAND_INS), Path("/src/guixlab"))
    assert list(plan) == [
        Link("/bin", "usr/bin"),
        *same("/home", "/swapfile", "/usr"),
        Directory("/etc"),
        Bind("/etc", "/.host/etc"),
        Link("/etc/hosts", "/.host/etc/hosts"),
        Link("/etc/resolv.conf", "../run/resolv.conf"),
        Link("/etc/ssl", "/.host/etc/ssl"),
        Bind("/srv/lab/accounts/passwd", "/etc/passwd"),
        Bind("/srv/lab/accounts/group", "/etc/group"),
        Bind("/srv/lab/hub/etc", "/etc/guix"),
        Directory("/var"),
        *same("/var/lib"),
        Link("/var/run", "/run"),
        Directory("/var/log"),
        Bind("/var/log", "/.host/var/log"),
        Link("/var/log/syslog", "/.host/var/log/syslog"),
        Bind("/srv/lab/hub/gnu", "/gnu"),
        Bind("/srv/lab/hub/var", "/var/guix"),
        Bind("/srv/lab/hub/log", "/var/log/guix"),
        Bind("/srv/lab/guix", "/.guix/root"),
        Bind("/srv/lab/bin", "/.guix/bin"),
        Bind("/src/guixlab", "/.guix/python/guixlab"),
        Directory("/.guix/mount"),
    ]


def test_guix_sees_its_own_programs_and_everything_else_of_the_caller() -> None:
    plan = plan_root(HOST, Path("/.guix/root"), ROOT_ENTRIES, {"hosts": "/etc/hosts"})
    assert list(plan) == [
        *same("/gnu", "/home", "/swapfile", "/var"),
        Link("/bin", "usr/bin"),
        Bind("/.guix/root/etc", "/etc"),
        Bind("/.guix/root/usr", "/usr"),
        Bind("/etc/hosts", "/etc/hosts"),
    ]


def test_a_machine_has_its_own_store_and_state() -> None:
    plan = plan_machine(HOST, FOLDER.guix_root, ROOT_ENTRIES, {}, FOLDER.farm)
    assert [step for step in plan if step.target.startswith(("/gnu", "/var", "/etc"))] == [
        Bind("/srv/lab/guix/etc", "/etc"),
        Bind("/srv/lab/farm/etc", "/etc/guix"),
        Directory("/var"),
        *same("/var/lib"),
        Link("/var/run", "/run"),
        Directory("/var/log"),
        Bind("/srv/lab/farm/gnu", "/gnu"),
        Bind("/srv/lab/farm/var", "/var/guix"),
        Bind("/srv/lab/farm/log", "/var/log/guix"),
    ]


def test_official_contents_never_share_a_store_with_stand_ins() -> None:
    assert FOLDER.hub(Contents.OFFICIAL).store != FOLDER.hub(Contents.STAND_INS).store


def test_a_directory_is_listed_with_what_its_links_hold(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("")
    (tmp_path / "c").symlink_to("nowhere")
    assert list_directory(tmp_path) == (
        Entry("a", Kind.FILE),
        Entry("b", Kind.DIRECTORY),
        Entry("c", Kind.LINK, "nowhere"),
    )


@pytest.mark.parametrize("missing", ["none", "none/deeper"])
def test_a_directory_that_is_not_there_has_no_entries(tmp_path: Path, missing: str) -> None:
    assert list_directory(tmp_path / missing) == ()
