"""What is removed, and what never is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guixlab.folder import find_mounts, remove_tree
from guixlab.provision import bootstrap_command

TABLE = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:5 / /srv/lab/guix.new/dev/shm rw - tmpfs tmpfs rw
31 27 0:5 / /srv/lab\\040two/x rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("tree", "found"),
    [
        ("/srv/lab", ["/srv/lab/guix.new/dev/shm"]),
        ("/srv/lab/guix.new/dev/shm", ["/srv/lab/guix.new/dev/shm"]),
        ("/srv/lab two", ["/srv/lab two/x"]),
        ("/srv/la", []),
        ("/srv/lab/guix", []),
    ],
)
def test_mounts_below_a_directory_are_found(tree: str, found: list[str]) -> None:
    assert find_mounts(TABLE, tree) == found


def test_read_only_directories_are_removed_and_links_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("")
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").write_text("")
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree/below").chmod(0o555)
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["kept"]
    assert (tmp_path / "kept/file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_is_mounted_in_a_directory_is_never_removed_with_it(tmp_path: Path) -> None:
    (tmp_path / "tree/mounted").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("")
    code = "import sys; from pathlib import Path; from guixlab.folder import remove_tree; remove_tree(Path(sys.argv[1]))"
    script = 'mount --bind "$1/elsewhere" "$1/tree/mounted" && exec "$2" -c "$3" "$1/tree"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", str(tmp_path), sys.executable, code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
    assert "Something is mounted at" in result.stderr
    assert (tmp_path / "elsewhere/file").exists()
    assert (tmp_path / "tree/mounted").exists()


def test_what_fetches_mounts_where_nobody_else_sees_it() -> None:
    command = bootstrap_command("suite", ["one"], Path("/t"), None, {}, only_files=True)
    assert command[: command.index("mmdebstrap")] == ["unshare", "--mount", "--propagation", "slave"]
