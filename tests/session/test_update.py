"""Working copies and newer versions, with a real Git: what is brought up to date, what is left alone, what is said of it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from guix_session.project import Projects
from guix_session.standing import Standing, State
from guix_session.surroundings import Project

CHECKOUT = Path(__file__).parents[2]
PREPARE = CHECKOUT / "guixspawner/session/project.sh"
ADDRESS = "https://git.example/somebody/analysis"


class Place:
    """Somebody's repository, the environment of it with its versions, and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source, self.versions, self.home = folder / "source", folder / "versions.git", folder / "home"
        self.home.mkdir()
        self.clock = 1_700_000_000
        self.git("init", "--quiet", "--initial-branch", "main", self.source, at=folder)
        self.git("init", "--quiet", "--bare", "--template=", self.versions, at=folder)

    @property
    def copy(self) -> Path:
        return self.home / "analysis"

    def git(self, *arguments: str | Path, at: Path | None = None) -> str:
        who = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {f"GIT_{who}_DATE": f"{self.clock} +0000" for who in ("AUTHOR", "COMMITTER")}
        variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **who, **dates}
        command = ["git", "-C", at or self.source, *arguments]
        return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files: dict[str, str | None]) -> str:
        """Commit FILES upstream, an hour after the last commit; None removes one."""
        self.clock += 3600
        for name, content in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(content)
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"at {self.clock}")
        return self.git("rev-parse", "HEAD")

    def version(self, files: dict[str, str | None]) -> Projects:
        """Have a version built of a new commit with FILES, as the build service does it: without history."""
        commit = self.commit(files)
        words = ("fetch", "--quiet", "--depth=1", f"file://{self.source}", f"+{commit}:refs/versions/{commit}")
        self.git(*words, at=self.versions)
        self.git("update-ref", "refs/heads/main", commit, at=self.versions)
        self.git("symbolic-ref", "HEAD", "refs/heads/main", at=self.versions)
        project = Project(source=str(self.versions), address=ADDRESS, commit=commit, ref="main", folder="analysis")
        return Projects(project, home=str(self.home), tools=os.environ["PATH"])

    def start(self, projects: Projects) -> None:
        """Make the working copy as the first session of PROJECTS' version does."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GUIX_PROJECT_SOURCE": str(self.versions),
            "GUIX_PROJECT_NAME": "analysis",
            "GUIX_PROJECT_OTHER_NAME": "analysis-41c409",
            "GUIX_PROJECT_ADDRESS": ADDRESS,
            "GUIX_PROJECT_COMMIT": projects.project.commit,
            "GUIX_PROJECT_REF": "main",
        }
        subprocess.run(["bash", "-c", f". {PREPARE}"], env=variables, check=True)

    def head(self) -> str:
        return self.git("rev-parse", "HEAD", at=self.copy)

    def status(self) -> list[str]:
        return self.git("status", "--porcelain", at=self.copy).splitlines()

    def own_commit(self, name: str, content: str) -> str:
        (self.copy / name).write_text(content)
        self.git("add", name, at=self.copy)
        self.git("commit", "--quiet", "--message", "mine", at=self.copy)
        return self.head()

    def everything(self) -> dict[str, str]:
        """Return each file of the working copy with its content, Git's own state left out, and where its branches are."""
        files = {
            str(path.relative_to(self.copy)): path.read_text()
            for path in sorted(self.copy.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(self.copy).parts
        }
        return {**files, "refs": self.git("show-ref", at=self.copy), "HEAD": self.head()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def second(place: Place) -> Projects:
    """The second version, while the working copy is at the first."""
    place.start(place.version({"index.ipynb": "one", "old": "old", "data/a": "a"}))
    return place.version({"index.ipynb": "two", "new": "new", "old": None, "data/b": "b"})


def test_nothing_is_said_at_the_version_itself(place: Place) -> None:
    first = place.version({"index.ipynb": "one"})
    place.start(first)
    assert first.standing().state is State.NONE
    assert first.update().state is State.NONE


def test_a_copy_with_nothing_of_its_own_is_brought_to_the_version(place: Place, second: Projects) -> None:
    (place.copy / "mine").write_text("mine")
    standing = second.standing()
    assert standing.state is State.UPDATE
    assert standing.reasons == ()
    assert second.update().state is State.DONE
    assert place.head() == second.project.commit
    assert place.status() == ["?? mine"]
    assert {path.name for path in place.copy.rglob("*") if path.is_file() and ".git" not in path.parts} == {
        *("index.ipynb", "new", "a", "b", "mine")
    }
    assert (place.copy / "index.ipynb").read_text() == "two"
    assert place.git("rev-parse", "--abbrev-ref", "HEAD", at=place.copy) == "main"
    assert place.git("rev-parse", "origin/main", at=place.copy) == second.project.commit
    assert place.git("fsck", at=place.copy) == ""
    assert second.standing().state is State.NONE
    # The way back is written down, as after any move of Git's.
    assert "environment's version" in place.git("reflog", at=place.copy)


def test_the_next_version_follows_the_same_way(place: Place, second: Projects) -> None:
    second.update()
    third = place.version({"index.ipynb": "three"})
    assert third.update().state is State.DONE
    assert (place.copy / "index.ipynb").read_text() == "three"
    assert place.git("fsck", at=place.copy) == ""


def test_a_version_that_skips_commits_follows_by_its_date(place: Place, second: Projects) -> None:
    place.commit({"between": "not built"})
    third = place.version({"index.ipynb": "three"})
    assert third.standing().state is State.UPDATE
    assert third.update().state is State.DONE
    assert place.head() == third.project.commit
    assert place.git("fsck", at=place.copy) == ""
    assert second.standing().state is State.NONE


def test_an_older_version_offers_nothing(place: Place) -> None:
    first = place.version({"index.ipynb": "one"})
    place.start(place.version({"index.ipynb": "two"}))
    before = place.everything()
    assert first.standing().state is State.NONE
    assert first.update().state is State.NONE
    assert place.everything() == before


def test_history_that_the_person_fetched_is_kept(place: Place, second: Projects) -> None:
    place.git("fetch", "--quiet", "--unshallow", f"file://{place.source}", "main", at=place.copy)
    assert second.update().state is State.DONE
    assert len(place.git("log", "--format=%H", at=place.copy).splitlines()) == 2
    assert not (place.copy / ".git/shallow").exists()


def blocked(place: Place, projects: Projects) -> Standing:
    """Check that PROJECTS changes nothing, and return what is said."""
    before = place.everything()
    standing = projects.standing()
    assert standing.state is State.BLOCKED
    assert projects.update() == standing
    assert place.everything() == before
    assert not (place.copy / ".git/index.lock").exists()
    return standing


def test_changed_files_are_named_and_left_alone(place: Place, second: Projects) -> None:
    (place.copy / "index.ipynb").write_text("mine")
    place.git("rm", "--quiet", "--cached", "data/a", at=place.copy)
    (reason,) = blocked(place, second).reasons
    assert reason == "changed files: data/a, index.ipynb"


def test_own_commits_are_counted_and_left_alone(place: Place, second: Projects) -> None:
    place.own_commit("mine", "1")
    assert blocked(place, second).reasons == ("a commit of your own",)
    place.own_commit("mine", "2")
    assert blocked(place, second).reasons == ("2 commits of your own",)


def test_own_commits_on_the_version_itself_are_nothing_to_speak_of(place: Place) -> None:
    first = place.version({"index.ipynb": "one"})
    place.start(first)
    place.own_commit("mine", "1")
    assert first.standing().state is State.NONE


@pytest.mark.parametrize("ignored", [False, True])
def test_files_in_the_way_are_named_and_never_written_over(place: Place, second: Projects, ignored: bool) -> None:
    (place.copy / "new").write_text("mine")
    (place.copy / "data/b").symlink_to("nowhere")
    if ignored:
        (place.copy / ".git/info").mkdir(exist_ok=True)
        (place.copy / ".git/info/exclude").write_text("new\n")
    (reason,) = blocked(place, second).reasons
    assert reason == "files that were never committed, and that the version has, too: data/b, new"


@pytest.mark.usefixtures("second")
def test_a_file_where_the_version_has_a_folder_is_in_the_way(place: Place) -> None:
    (place.copy / "more").write_text("mine")
    third = place.version({"more/of/it": "theirs"})
    assert "more" in " ".join(blocked(place, third).reasons)


def test_another_branch_is_left_alone(place: Place, second: Projects) -> None:
    place.git("switch", "--quiet", "--create", "mine", at=place.copy)
    assert blocked(place, second).reasons == ("the branch mine is checked out, and the version is of main",)
    place.git("switch", "--quiet", "--detach", at=place.copy)
    assert blocked(place, second).reasons == ("no branch is checked out, but a single commit",)


def test_a_merge_under_way_is_left_alone(place: Place, second: Projects) -> None:
    (place.copy / ".git/MERGE_HEAD").write_text(f"{place.head()}\n")
    assert blocked(place, second).reasons == ("a merge was begun and not finished",)


def test_what_has_no_history_in_common_is_left_alone(place: Place, second: Projects) -> None:
    place.clock -= 10_000_000
    place.git("checkout", "--quiet", "--orphan", "other", at=place.copy)
    place.git("commit", "--quiet", "--message", "mine", at=place.copy)
    place.git("branch", "--quiet", "--move", "--force", "main", at=place.copy)
    (reason,) = blocked(place, second).reasons
    assert "history is not known" in reason


@pytest.mark.parametrize("hook", ["post-checkout", "post-merge", "post-index-change", "reference-transaction", "fsmonitor"])
def test_neither_hooks_nor_programs_of_the_repository_run(place: Place, second: Projects, hook: str) -> None:
    ran = place.folder / "ran"
    program = place.copy / ".git/hooks" / hook
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    place.git("config", "core.hooksPath", str(program.parent), at=place.copy)
    if hook == "fsmonitor":
        place.git("config", "core.fsmonitor", str(program), at=place.copy)
    ran.unlink(missing_ok=True)
    assert second.standing().state is State.UPDATE
    assert second.update().state is State.DONE
    assert not ran.exists()


def test_no_secret_of_the_server_reaches_git(place: Place, second: Projects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that the person set up runs, as with their own Git, and sees nothing of the server's."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t0p-s3cr3t")
    seen = place.folder / "seen"
    place.git("config", "filter.look.smudge", f"env >{seen}; cat", at=place.copy)
    (place.copy / ".git/info").mkdir(exist_ok=True)
    (place.copy / ".git/info/attributes").write_text("new filter=look\n")
    assert second.update().state is State.DONE
    assert "t0p-s3cr3t" not in seen.read_text()


def test_two_sessions_at_once(place: Place, second: Projects) -> None:
    program = (
        "import sys; from guix_session.project import Projects; from guix_session.surroundings import Project;"
        f"print(Projects(Project(source={str(place.versions)!r}, commit={second.project.commit!r}, folder='analysis'),"
        f" {str(place.home)!r}, {os.environ['PATH']!r}).update().state)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = [process.communicate()[0].strip() for process in started]
    assert answers.count("done") == 1
    assert set(answers) <= {"done", "none", "blocked"}
    assert place.head() == second.project.commit
    assert place.status() == []


def slow_git(folder: Path, words: str) -> Path:
    """Return a folder with a Git that stands still, forever, once it has done what has WORDS in its command."""
    real = shutil.which("git")
    (folder / "git").write_text(
        f'#!/bin/sh\ncase "$*" in *"{words}"*) "{real}" "$@"; touch {folder}/done; sleep 600;; esac\nexec "{real}" "$@"\n'
    )
    (folder / "git").chmod(0o755)
    return folder


@pytest.mark.parametrize("words", ["read-tree -m -u", "update-ref -m", "read-tree -i -m", "update-ref refs/remotes"])
def test_an_update_that_is_killed_can_be_finished(place: Place, second: Projects, tmp_path: Path, words: str) -> None:
    kill_after(place, second, tmp_path, words)
    assert second.standing().state is State.UNFINISHED
    assert not (place.copy / ".git/index.lock").exists()
    assert second.update().state is State.DONE
    assert place.head() == second.project.commit
    assert place.status() == []
    assert (place.copy / "index.ipynb").read_text() == "two"
    assert second.standing().state is State.NONE


def kill_after(place: Place, projects: Projects, tmp_path: Path, words: str) -> None:
    """Kill an update, as a session is killed, right after Git did what has WORDS in its command."""
    programs = tmp_path / "programs"
    programs.mkdir()
    path = f"{slow_git(programs, words)}:{os.environ['PATH']}"
    program = (
        "from guix_session.project import Projects; from guix_session.surroundings import Project;"
        f"Projects(Project(source={str(place.versions)!r}, commit={projects.project.commit!r}, folder='analysis'),"
        f" {str(place.home)!r}, {path!r}).update()"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, start_new_session=True)
    while not (programs / "done").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_file_that_git_had_begun_to_write_is_finished(place: Place, second: Projects, tmp_path: Path) -> None:
    kill_after(place, second, tmp_path, "read-tree -m -u")
    (place.copy / "index.ipynb").write_text("tw")
    (place.copy / "new").unlink()
    (place.copy / "old").write_text("old")
    assert second.update().state is State.DONE
    assert place.status() == []
    assert (place.copy / "index.ipynb").read_text() == "two"


def test_what_was_changed_after_a_kill_is_left_alone(place: Place, second: Projects, tmp_path: Path) -> None:
    kill_after(place, second, tmp_path, "read-tree -m -u")
    (place.copy / "new").write_text("mine")
    before = place.everything()
    standing = second.update()
    assert standing.state is State.BLOCKED
    assert standing.reasons == ("new",)
    assert place.everything() == before


def test_another_git_at_work_is_waited_for_by_the_person(place: Place, second: Projects) -> None:
    (place.copy / ".git/index.lock").touch()
    standing = second.update()
    assert standing.state is State.BLOCKED
    assert "another Git" in standing.message
    (place.copy / ".git/index.lock").unlink()
    assert second.update().state is State.DONE
    assert place.status() == []


@pytest.mark.parametrize("damage", ["no working copy", "no versions", "no such commit", "an empty repository"])
def test_what_cannot_be_told_is_not_told(place: Place, second: Projects, damage: str) -> None:
    if damage == "no working copy":
        shutil.rmtree(place.copy)
    elif damage == "no versions":
        shutil.rmtree(place.versions)
    elif damage == "no such commit":
        second = replace(second, project=replace(second.project, commit="f" * 40))
    else:
        shutil.rmtree(place.copy)
        place.git("init", "--quiet", place.copy, at=place.home)
    assert second.standing().state is State.NONE
    assert second.update().state is State.NONE
