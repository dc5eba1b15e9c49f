"""A folder below somebody's closed home can be reached by the accounts that sessions run under, and nothing else of it."""

from pathlib import Path

from guixlab.namespace import Bind, Directory, Entry, Kind, Link, list_way, plan_entered

HOST = {
    "/": (Entry("etc", Kind.DIRECTORY), Entry("home", Kind.DIRECTORY), Entry("usr", Kind.DIRECTORY)),
    "/etc": (),
    "/var": (),
    "/var/log": (),
}


def test_only_what_is_closed_is_opened(tmp_path: Path) -> None:
    (tmp_path / "closed" / "state").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    assert list_way(tmp_path / "closed" / "state") == {}
    (tmp_path / "closed").chmod(0o700)
    way = list_way(tmp_path / "closed" / "state")
    assert list(way)[-1] == str(tmp_path / "closed")
    assert way[str(tmp_path / "closed")] == (Entry("state", Kind.DIRECTORY),)


def test_the_way_is_open_and_its_neighbours_are_as_closed_as_before() -> None:
    from guixlab.folder import Contents, Folder

    folder = Folder(Path("/srv/guix"))
    way = {
        "/home": (Entry("ada", Kind.DIRECTORY), Entry("bob", Kind.DIRECTORY)),
        "/home/ada": (Entry("hub", Kind.DIRECTORY), Entry(".ssh", Kind.DIRECTORY)),
    }
    plan = plan_entered(
        HOST, folder, folder.hub(Contents.STAND_INS), Path("/package"), reachable=Path("/home/ada/hub/state"), way=way
    )
    assert Bind("/home", "/home") not in plan
    assert Bind("/usr", "/usr") in plan
    opened = plan[1 : plan.index(Bind("/home/ada/hub", "/home/ada/hub")) + 1]
    assert opened == (
        Directory("/home"),
        Bind("/home", "/.host/home"),
        Link("/home/bob", "/.host/home/bob"),
        Directory("/home/ada"),
        Bind("/home/ada", "/.host/home/ada"),
        Link("/home/ada/.ssh", "/.host/home/ada/.ssh"),
        Bind("/home/ada/hub", "/home/ada/hub"),
    )
