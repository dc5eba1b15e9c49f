"""Bringing a working copy from one commit to another, so that it can be ended at any moment and nothing is lost.

Git itself puts the files there (``git read-tree -m -u``), which changes nothing at all when one of them has been changed or
is in the way.  It is given an index of its own to work on: should it be ended in the middle, neither its lock nor half an
index is left where the person's Git would stumble over them.  A journal tells the next one what was begun.
"""

import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from guix_session.git import Git

_LINK = "120000"
_SUBMODULE = "160000"


class UpdateFailed(Exception):
    """Git refused, in its own words; `reasons` has what it said besides."""

    def __init__(self, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Journal:
    """Where it is written down that an update has begun: a folder in the working copy's repository."""

    folder: Path

    @classmethod
    def of(cls, git: Git) -> Self | None:
        """Return the journal of GIT's working copy; None where Git sees none."""
        folder = git.says("rev-parse", "--absolute-git-dir")
        return cls(Path(folder, "guix-environment")) if folder else None

    @property
    def index(self) -> Path:
        """The index that an update works on."""
        return self.folder / "index"

    def read(self) -> "Update | None":
        """Return the update that was begun and not finished."""
        try:
            value = json.loads((self.folder / "update.json").read_text())
            return Update(str(value["from"]), str(value["to"]), str(value["branch"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, update: "Update") -> None:
        """Write down that UPDATE begins."""
        new = self.folder / "update.json.new"
        new.write_text(json.dumps({"from": update.old, "to": update.new, "branch": update.branch}))
        new.replace(self.folder / "update.json")

    def end(self) -> None:
        """Forget the update."""
        (self.folder / "update.json").unlink(missing_ok=True)
        for file in (self.index, self.index.with_name("index.lock")):
            file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Change:
    """A file in which two commits differ."""

    path: str
    old: str
    """What it was: a blob's name, of zeros where it was not there."""
    new: str
    new_mode: str


@dataclass(frozen=True, slots=True)
class Update:
    """The way of one branch from one commit to another."""

    old: str
    new: str
    branch: str

    def carry_out(self, git: Git, journal: Journal, source: str) -> None:
        """Go it, with commits from the repository SOURCE.  Raises `UpdateFailed`; then nothing has changed."""
        fetch(git, source, self.new)
        own = git.with_variables(GIT_INDEX_FILE=str(journal.index))
        shutil.copyfile(git.says("rev-parse", "--path-format=absolute", "--git-path", "index"), journal.index)
        own.run("update-index", "-q", "--refresh")
        journal.begin(self)
        done = own.run("read-tree", "-m", "-u", self.old, self.new)
        if not done.succeeded:
            journal.end()
            first, *others = [line for line in done.errors.splitlines() if line.strip()] or ["Git gave no reason."]
            raise UpdateFailed(first, tuple(others))
        self._move_branch(git, journal)

    def finish(self, git: Git, journal: Journal) -> None:
        """Go the rest of it, after it was ended in the middle.

        Each file must be as one of the two commits has it, or the beginning of the new one, which Git was writing; anything
        else was made by the person since, and then all is left alone.  Raises `UpdateFailed`.
        """
        head = git.says("rev-parse", "HEAD")
        if git.says("symbolic-ref", "--quiet", "--short", "HEAD") != self.branch or head not in {self.old, self.new}:
            # The person went elsewhere in the meantime, by means of Git, which has looked at each file.
            journal.end()
            return
        if head == self.old:
            changes = changes_between(git, self.old, self.new)
            own = [change.path for change in changes if not _accounted_for(git, change)]
            if own:
                journal.end()
                raise UpdateFailed("it was ended in the middle, and files were changed since:", tuple(own))
            self._write(git, journal, changes)
        self._move_branch(git, journal)

    def _write(self, git: Git, journal: Journal, changes: list[Change]) -> None:
        """Put each of CHANGES into the working copy."""
        for file in (journal.index, journal.index.with_name("index.lock")):
            file.unlink(missing_ok=True)
        own = git.with_variables(GIT_INDEX_FILE=str(journal.index))
        own.run("read-tree", self.new)
        for change in changes:
            place = git.folder / change.path
            if not change.new.strip("0") and (place.is_symlink() or place.is_file()):
                place.unlink()
        paths = [change.path for change in changes if change.new.strip("0") and change.new_mode != _SUBMODULE]
        text = b"".join(os.fsencode(path) + b"\0" for path in paths)
        done = own.run("checkout-index", "--force", "-z", "--stdin", text=text)
        if not done.succeeded:
            raise UpdateFailed(done.errors.strip())

    def _move_branch(self, git: Git, journal: Journal) -> None:
        """Have the branch and the index follow the files, and forget the journal; each step can be gone twice."""
        if git.says("rev-parse", "HEAD") == self.old:
            name = f"refs/heads/{self.branch}"
            moved = git.run("update-ref", "-m", "update to the environment's version", name, self.new, self.old)
            if not moved.succeeded:
                raise UpdateFailed("its branch was moved by something else meanwhile.", tuple(moved.errors.splitlines()))
        if not git.run("read-tree", "-i", "-m", self.old, self.new).succeeded and git.says("write-tree") != git.says(
            "rev-parse", f"{self.new}^{{tree}}"
        ):
            raise UpdateFailed("another Git is at work in it. Try again in a moment.")
        git.run("update-index", "-q", "--refresh")
        # Where the origin was when it was last seen; whoever has fetched from it knows better.
        git.run("update-ref", f"refs/remotes/origin/{self.branch}", self.new, self.old)
        journal.end()


def fetch(git: Git, source: str, commit: str) -> None:
    """Have GIT's repository hold COMMIT of the repository SOURCE.  Raises `UpdateFailed`."""
    if git.run("cat-file", "-e", f"{commit}^{{commit}}").succeeded:
        return
    parents = git.run(f"--git-dir={source}", "cat-file", "commit", commit).output.partition(b"\n\n")[0].splitlines()
    names = [line.split()[1].decode() for line in parents if line.startswith(b"parent ")]
    if names and all(git.run("cat-file", "-e", f"{name}^{{commit}}").succeeded for name in names):
        # Its history is here: were it fetched from where it has none, it would be cut off from it here, too.
        words = (f"--git-dir={source}", "pack-objects", "--revs", "--stdout", "-q")
        pack = git.run(*words, text=f"{commit}\n".encode()).output
        done = git.run("unpack-objects", "-q", text=pack)
    else:
        options = ("--quiet", "--no-tags", "--update-shallow", "--no-write-fetch-head", "--no-auto-maintenance")
        done = git.run("fetch", *options, f"file://{source}", commit)
    if not done.succeeded:
        raise UpdateFailed("the version's files could not be read.", tuple(done.errors.splitlines()))


def changes_between(git: Git, old: str, new: str) -> list[Change]:
    """Return the files in which the commits OLD and NEW differ."""
    parts = iter(git.paths("diff-tree", "-r", "-z", "--no-renames", old, new))
    changes = []
    for entry in parts:
        _, mode, before, after, _ = entry.split()
        changes.append(Change(next(parts), before, after, mode))
    return changes


def _accounted_for(git: Git, change: Change) -> bool:
    """Tell whether the file of CHANGE is as one of the two commits has it, or gone, or the beginning of the new one."""
    place = git.folder / change.path
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    if stat.S_ISLNK(found.st_mode):
        name = git.run("hash-object", "--stdin", "--no-filters", text=os.fsencode(place.readlink())).output.decode().strip()
        return name in {change.old, change.new}
    if not stat.S_ISREG(found.st_mode):
        return change.new_mode == _SUBMODULE
    if git.says("hash-object", "--", change.path) in {change.old, change.new}:
        return True
    if not change.new.strip("0") or change.new_mode == _LINK:
        return False
    return git.run("cat-file", "blob", change.new).output.startswith(place.read_bytes())
