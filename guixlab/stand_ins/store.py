"""The farm's store: which items are valid, and how new ones become so."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from guixlab.folder import Folder, remove_tree
from guixlab.machine import run_guile
from guixlab.stand_ins.lines import STORE

REFERENCE = re.compile(rb"/gnu/store/([0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+)")


def valid_paths(folder: Folder) -> set[str]:
    """The store paths that the farm's database holds."""
    database = folder.farm.state / "db/db.sqlite"
    if not database.exists():
        return set()
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        return {path for (path,) in connection.execute("SELECT path FROM ValidPaths")}
    finally:
        connection.close()


def find_references(tree: Path, known: Iterable[str]) -> list[str]:
    """Which of the KNOWN store paths files and links below TREE mention."""
    bases = {Path(path).name.encode(): path for path in known}
    found: set[bytes] = set()
    for directory, directories, names in os.walk(tree):
        for name in (*names, *directories):
            file = Path(directory, name)
            if file.is_symlink():
                found.update(REFERENCE.findall(os.fsencode(file.readlink())))
            elif name in names:
                found.update(REFERENCE.findall(file.read_bytes()))
    return sorted(bases[base] for base in found if base in bases)


def normalise(tree: Path) -> None:
    """Permissions and times as Guix's daemon gives them to everything in a store."""
    for directory, directories, names in os.walk(tree, topdown=False):
        for name in (*names, *directories):
            _normalise_one(Path(directory, name))
    _normalise_one(tree)


def _normalise_one(file: Path) -> None:
    if not file.is_symlink():
        mode = file.stat().st_mode
        file.chmod(0o555 if file.is_dir() or mode & 0o111 else 0o444)
    os.utime(file, (1, 1), follow_symlinks=False)


def put(folder: Folder, trees: dict[str, Path], referable: set[str]) -> None:
    """Move TREES to their store paths in the farm and make them valid."""
    lines = []
    for path, tree in trees.items():
        target = folder.farm.store / path.removeprefix(STORE)
        remove_tree(target)
        normalise(tree)
        # A directory without write permission cannot be moved; the daemon's mode is restored at once.
        tree.chmod(0o755)
        tree.rename(target)
        target.chmod(0o555)
        os.utime(target, (1, 1))
        references = find_references(target, referable | set(trees))
        lines.append(" ".join([path, *references]))
    listing = folder.items / "registrations"
    listing.write_text("\n".join(lines))
    run_guile(folder, folder.farm, "register.scm", str(listing))
    listing.unlink()
