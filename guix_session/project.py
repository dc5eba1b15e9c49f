"""The person's working copy: how it stands to the version that was started, and bringing it there.

Everything happens between the working copy and the repository of the environment's versions, which is in the session
(`guix_session.surroundings`): neither network nor credentials are needed.  That repository has the versions' commits without
their history, so which of two versions is newer is told by what history there is and, where there is none, by the commits'
dates.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guix_session.git import Git
from guix_session.standing import Facts, Order, Standing, State, judge
from guix_session.surroundings import Project
from guix_session.update import Journal, Update, UpdateFailed

MOST_COMMITS = 10000
"""How far back a working copy's history is looked through."""

_UNDERWAY = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisection",
}


@dataclass(frozen=True, slots=True)
class Projects:
    """The working copy of PROJECT.  Every call blocks while Git works."""

    project: Project
    home: str = ""
    tools: str = ""

    def standing(self) -> Standing:
        """Return how the working copy stands to the version; nothing is changed."""
        git = self._git()
        if git is None:
            return Standing(State.NONE)
        journal = Journal.of(git)
        if journal and journal.read():
            return Standing(
                State.UNFINISHED,
                f"An update of {self.project.folder} was ended in the middle. It can be brought to its end.",
                target=self.project.commit,
            )
        facts = self._facts(git)
        return judge(facts, self.project.folder) if facts else Standing(State.NONE)

    def update(self) -> Standing:
        """Bring the working copy to the version if that touches nothing of the person's, and return how it then stands."""
        git = self._git()
        journal = Journal.of(git) if git else None
        if git is None or journal is None:
            return Standing(State.NONE)
        with _alone(journal.folder) as alone:
            if not alone:
                return Standing(State.BLOCKED, "Another session of yours is updating this working copy.")
            try:
                return self._update(git, journal)
            except UpdateFailed as error:
                return Standing(State.BLOCKED, f"The working copy could not be updated: {error}", error.reasons)

    def _update(self, git: Git, journal: Journal) -> Standing:
        begun = journal.read()
        if begun:
            begun.finish(git, journal)
        facts = self._facts(git)
        if facts is None:
            return Standing(State.NONE)
        standing = judge(facts, self.project.folder)
        if standing.state is State.UPDATE:
            Update(facts.head, facts.target, facts.branch).carry_out(git, journal, self.project.source)
        elif not begun:
            return standing
        message = (
            f"{self.project.folder} is now at the version {facts.target[:7]}. Files that are open may have to be reloaded."
        )
        return Standing(State.DONE, message, target=facts.target, head=facts.target)

    def _git(self) -> Git | None:
        folder = Path(self.home or os.environ["HOME"], self.project.folder)
        if not self.project.folder or not self.project.commit or not (folder / ".git").exists():
            return None
        return Git.at(folder, self.tools or os.environ["PATH"], str(folder.parent))

    def _facts(self, git: Git) -> Facts | None:
        """Return what there is to know, or None when Git does not understand the folder."""
        # Commits of the versions can be looked at without being in the working copy's own repository yet.
        seeing = git.with_variables(GIT_ALTERNATE_OBJECT_DIRECTORIES=str(Path(self.project.source, "objects")))
        head = git.says("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        target = seeing.says("rev-parse", "--verify", "--quiet", f"{self.project.commit}^{{commit}}")
        if not head or not target:
            return None
        order, own = self._order(seeing, head, target)
        folder = Path(git.says("rev-parse", "--absolute-git-dir"))
        return Facts(
            head=head,
            branch=git.says("symbolic-ref", "--quiet", "--short", "HEAD"),
            follows=git.says("config", "--get", "guix-environment.branch"),
            target=target,
            order=order,
            own=own,
            changed=tuple(_changed(git)),
            in_the_way=tuple(_in_the_way(seeing, head, target)) if order is Order.BEHIND else (),
            underway=next((word for name, word in _UNDERWAY.items() if (folder / name).exists()), ""),
        )

    def _order(self, git: Git, head: str, target: str) -> tuple[Order, int]:
        """Return how TARGET stands to the version that HEAD is based on, and how many commits HEAD has beyond that."""
        if head == target:
            return Order.SAME, 0
        names = ("for-each-ref", "--format=%(objectname)", "refs/versions", "refs/heads")
        versions = set(git.run(f"--git-dir={self.project.source}", *names).output.decode().split())
        history = git.says("rev-list", f"--max-count={MOST_COMMITS}", head).split()
        own = next((count for count, commit in enumerate(history) if commit in versions), None)
        if target in history or _is_ancestor(git, target, head):
            return Order.AHEAD, own or 0
        if _is_ancestor(git, head, target):
            return Order.BEHIND, 0
        if own is None:
            return (Order.UNKNOWN if _date(git, head) < _date(git, target) else Order.AHEAD), 0
        base = history[own]
        newer = _is_ancestor(git, base, target) or _date(git, base) < _date(git, target)
        return (Order.BEHIND if newer else Order.AHEAD), own


def _is_ancestor(git: Git, older: str, newer: str) -> bool:
    """Tell whether OLDER is known to be in the history of NEWER; it is not known where commits between them are not here."""
    return git.run("merge-base", "--is-ancestor", older, newer).succeeded


def _date(git: Git, commit: str) -> int:
    """Return when COMMIT was made, in seconds since 1970.  Read from the commit itself: its parents may not be here."""
    head = git.run("cat-file", "commit", commit).output.partition(b"\n\n")[0]
    found = re.search(rb"^committer .* (\d+) [+-]\d+$", head, re.MULTILINE)
    return int(found[1]) if found else 0


def _changed(git: Git) -> Iterator[str]:
    """Yield the tracked files that differ from what was committed."""
    entries = iter(git.paths("status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames"))
    for entry in entries:
        yield entry[3:]


def _in_the_way(git: Git, head: str, target: str) -> Iterator[str]:
    """Yield the files that TARGET has and HEAD has not, and that are there all the same, ignored ones too."""
    for path in git.paths("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", head, target):
        place = git.folder / path
        above = [parent for parent in place.parents if parent.is_relative_to(git.folder) and parent != git.folder]
        if place.is_symlink() or place.exists():
            yield path
        for parent in above:
            tracked = parent.is_symlink() or (parent.exists() and not parent.is_dir())
            if tracked and not git.paths("ls-files", "-z", "--", str(parent.relative_to(git.folder))):
                yield str(parent.relative_to(git.folder))


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep other sessions of the same person from updating meanwhile; gives False when one does."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
