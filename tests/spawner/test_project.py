"""The script that gives a person their working copy, in a real shell with a real Git."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "guixspawner" / "session"
ADDRESS = "https://git.example/somebody/analysis"


class Home:
    """A home, and the repository of an environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home"
        self.folder.mkdir()
        self.source = folder / "source"
        self.bare = folder / "repository.git"
        self.git("init", "--quiet", "--initial-branch", "trunk", self.source, at=folder)
        self.commit = self.commit_file("index.ipynb", "one")

    def git(self, *arguments: str | Path, at: Path | None = None) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        command = ["git", "-C", at or self.source, *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    def commit_file(self, name: str, content: str) -> str:
        (self.source / name).write_text(content)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", content)
        shutil.rmtree(self.bare, ignore_errors=True)
        self.git("clone", "--quiet", "--bare", self.source, self.bare)
        return self.git("rev-parse", "HEAD")

    def environment(self, **changes: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GUIX_PROJECT_SOURCE": str(self.bare),
            "GUIX_PROJECT_NAME": "analysis",
            "GUIX_PROJECT_OTHER_NAME": "analysis-41c409",
            "GUIX_PROJECT_ADDRESS": ADDRESS,
            "GUIX_PROJECT_COMMIT": self.commit,
            "GUIX_PROJECT_REF": "",
            **changes,
        }

    def prepare(self, **changes: str) -> tuple[str, str]:
        """Return the working copy's name, and what the script said."""
        (name, _, _), said = self.prepare_and_look(**changes)
        return name, said

    def prepare_and_look(self, **changes: str) -> tuple[list[str], str]:
        """Return the working copy's name, what has its names, and other copies; and what the script said."""
        ended = subprocess.run(
            ["bash", "-c", f""". {SCRIPTS}/project.sh; printf '%s\\0%s\\0%s' "$project" "$taken" "$others\""""],
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            check=True,
        )
        return ended.stdout.split("\0"), ended.stderr

    def files(self, name: str) -> dict[str, bytes]:
        """Return each file in the folder NAME with its content."""
        folder = self.folder / name
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_new_copy_is_on_a_branch_that_follows_the_origin(home: Home) -> None:
    name, said = home.prepare()
    copy = home.folder / name
    assert (name, said) == ("analysis", "")
    assert (copy / "index.ipynb").read_text() == "one"
    assert home.git("rev-parse", "HEAD", at=copy) == home.commit
    assert home.git("rev-parse", "--abbrev-ref", "HEAD@{upstream}", at=copy) == "origin/trunk"
    assert home.git("remote", "get-url", "origin", at=copy) == ADDRESS
    assert home.git("status", "--porcelain", at=copy) == ""
    assert list((home.folder / ".cache/guix-environment/projects").iterdir()) == []


def test_a_copy_of_what_an_archive_keeps_has_nowhere_to_push_to_and_says_so(home: Home) -> None:
    address = "https://zenodo.org/records/7"
    name, said = home.prepare(GUIX_PROJECT_ADDRESS=address, GUIX_PROJECT_ARCHIVED="yes")
    copy = home.folder / name
    assert (copy / "index.ipynb").read_text() == "one"
    assert f"a copy of what {address} keeps" in said
    assert home.git("remote", at=copy) == ""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        home.git("push", at=copy)
    assert "No configured push destination" in failed.value.stderr
    assert home.prepare(GUIX_PROJECT_ADDRESS=address, GUIX_PROJECT_ARCHIVED="yes") == (name, "")


def test_an_older_commit_and_another_branch_can_be_had(home: Home) -> None:
    home.git("checkout", "--quiet", "-b", "feature/x")
    home.commit_file("other", "two")
    name, _ = home.prepare(GUIX_PROJECT_REF="feature/x")
    assert home.git("rev-parse", "HEAD", at=home.folder / name) == home.commit
    assert home.git("rev-parse", "--abbrev-ref", "HEAD@{upstream}", at=home.folder / name) == "origin/feature/x"


def test_a_shallow_repository_is_copied_as_it_is(home: Home) -> None:
    home.commit = home.commit_file("other", "two")
    shutil.rmtree(home.bare)
    home.git("clone", "--quiet", "--bare", "--depth=1", f"file://{home.source}", home.bare)
    name, said = home.prepare()
    assert (name, said) == ("analysis", "")
    assert home.git("log", "--format=%s", at=home.folder / name) == "two"


def test_what_a_person_made_stays_as_it_is(home: Home) -> None:
    home.prepare()
    copy = home.folder / "analysis"
    (copy / "index.ipynb").write_text("mine")
    (copy / "new").write_text("mine too")
    home.git("remote", "set-url", "origin", "https://git.example/me/fork", at=copy)
    before = home.git("rev-parse", "HEAD", at=copy)
    home.commit = home.commit_file("index.ipynb", "two")
    assert home.prepare() == ("analysis", "")
    assert (copy / "index.ipynb").read_text() == "mine"
    assert (copy / "new").read_text() == "mine too"
    assert home.git("rev-parse", "HEAD", at=copy) == before


def test_a_copy_that_the_person_cloned_is_the_project(home: Home) -> None:
    home.git("clone", "--quiet", home.source, home.folder / "analysis")
    home.git("remote", "add", "upstream", f"{ADDRESS}.git", at=home.folder / "analysis")
    assert home.prepare() == ("analysis", "")
    assert [entry.name for entry in home.folder.iterdir()] == ["analysis"]


@pytest.mark.parametrize("kind", ["file", "folder", "other repository", "dangling link"])
def test_something_else_of_that_name_is_left_alone(home: Home, kind: str) -> None:
    other = home.folder / "analysis"
    if kind == "file":
        other.write_text("mine")
    elif kind == "folder":
        other.mkdir()
        (other / "mine").write_text("mine")
    elif kind == "other repository":
        home.git("init", "--quiet", other)
        home.git("remote", "add", "origin", "https://git.example/somebody/else", at=other)
    else:
        other.symlink_to("nowhere")
    before = sorted(str(path) for path in other.rglob("*"))
    assert home.prepare() == ("analysis-41c409", "")
    assert sorted(str(path) for path in other.rglob("*")) == before
    assert home.prepare() == ("analysis-41c409", "")


def test_a_copy_without_its_git_folder_is_left_alone_and_spoken_of_once(home: Home) -> None:
    home.prepare()
    copy = home.folder / "analysis"
    (copy / "index.ipynb").write_text("mine")
    (copy / "new").write_text("mine too")
    shutil.rmtree(copy / ".git")
    assert home.prepare_and_look() == (["analysis-41c409", "analysis", ""], "")
    assert home.files("analysis") == {"index.ipynb": b"mine", "new": b"mine too"}
    assert home.prepare_and_look() == (["analysis-41c409", "", ""], "")
    # What people are told to do.
    (home.folder / "analysis-41c409/.git").rename(copy / ".git")
    assert home.prepare_and_look() == (["analysis", "", ""], "")
    assert home.git("status", "--porcelain", at=copy).splitlines() == ["M index.ipynb", "?? new"]


@pytest.mark.parametrize("name", ["mine", "my old analysis", "analysis-trunk"])
def test_a_copy_with_another_name_is_left_alone_and_spoken_of_once(home: Home, name: str) -> None:
    home.prepare()
    copy = home.folder / "analysis"
    (copy / "new").write_text("mine")
    before = home.files("analysis")
    copy.rename(home.folder / name)
    assert home.prepare_and_look() == (["analysis", "", name], "")
    assert home.files(name) == before
    assert home.prepare_and_look() == (["analysis", "", ""], "")
    # What people are told to do.
    copy.rename(home.folder / "newer")
    (home.folder / name).rename(copy)
    assert home.prepare_and_look() == (["analysis", "", ""], "")
    assert home.files("analysis") == before


def test_copies_of_other_branches_and_other_repositories_are_not_spoken_of(home: Home) -> None:
    home.git("branch", "--quiet", "other")
    home.commit_file("index.ipynb", "one again")
    assert home.prepare_and_look(GUIX_PROJECT_REF="other")[0] == ["analysis", "", ""]
    assert home.prepare_and_look()[0] == ["analysis-trunk", "", ""]
    address = "https://git.example/somebody/else"
    assert home.prepare_and_look(GUIX_PROJECT_ADDRESS=address, GUIX_PROJECT_NAME="else")[0] == ["else", "", ""]


def test_what_is_no_configuration_of_gits_is_not_waited_for(home: Home) -> None:
    (home.folder / "strange/.git").mkdir(parents=True)
    os.mkfifo(home.folder / "strange/.git/config")
    assert home.prepare_and_look() == (["analysis", "", ""], "")


def test_both_names_taken_is_told_and_nothing_is_touched(home: Home) -> None:
    for name in ("analysis", "analysis-41c409"):
        (home.folder / name).write_text(name)
    (project, taken, _), said = home.prepare_and_look()
    assert (project, taken.split()) == ("", ["analysis", "analysis-41c409"])
    assert "both analysis and analysis-41c409 are taken" in said
    assert (home.folder / "analysis").read_text() == "analysis"


@pytest.mark.parametrize("fault", ["no such commit", "damaged", "missing"])
def test_a_copy_that_fails_leaves_nothing_and_says_so(home: Home, fault: str) -> None:
    if fault == "no such commit":
        home.commit = "f" * 40
    elif fault == "damaged":
        shutil.rmtree(home.bare / "objects")
        (home.bare / "objects").mkdir()
    else:
        shutil.rmtree(home.bare)
    project, said = home.prepare()
    assert project == ""
    assert "the session starts without it" in said
    assert not (home.folder / "analysis").exists()
    assert not list((home.folder).rglob("copy.*"))


def test_a_copy_ended_in_the_middle_is_not_taken_for_one(home: Home, tmp_path: Path) -> None:
    """`reset` never comes to its end: the copy has everything but its files."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").write_text(f'#!/bin/sh\ncase "$*" in *reset*) sleep 60;; esac\nexec {shutil.which("git")} "$@"\n')
    (programs / "git").chmod(0o755)
    environment = home.environment(PATH=f"{programs}:{os.environ['PATH']}")
    process = subprocess.Popen(
        ["bash", "-c", f". {SCRIPTS}/project.sh"], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not list(home.folder.rglob("refs/remotes/origin/trunk")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (home.folder / "analysis").exists()
    assert home.prepare() == ("analysis", "")
    assert (home.folder / "analysis" / "index.ipynb").read_text() == "one"


def test_two_sessions_at_once_make_one_copy(home: Home) -> None:
    command = ["bash", "-c", f'. {SCRIPTS}/project.sh; echo "project:$project"']
    started = [
        subprocess.Popen(command, env=home.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=60) for process in started] == [("project:analysis\n", "")] * 4
    assert sorted(entry.name for entry in home.folder.iterdir()) == [".cache", "analysis"]
    assert home.git("status", "--porcelain", at=home.folder / "analysis") == ""


def test_neither_hooks_nor_the_persons_configuration_run(home: Home) -> None:
    (home.folder / ".gitconfig").write_text("[core]\n\tautocrlf = true\n[init]\n\ttemplateDir = ~/templates\n")
    hooks = home.folder / "templates" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "post-checkout").write_text("#!/bin/sh\ntouch ~/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    assert home.prepare() == ("analysis", "")
    assert not (home.folder / "ran").exists()
    assert not (home.folder / "analysis" / ".git" / "hooks").exists()


def test_environments_of_two_branches_have_copies_of_their_own(home: Home) -> None:
    home.git("checkout", "--quiet", "-b", "feature/x")
    home.commit = home.commit_file("index.ipynb", "x")
    assert home.prepare(GUIX_PROJECT_REF="feature/x") == ("analysis", "")
    home.git("checkout", "--quiet", "trunk")
    home.commit = home.commit_file("index.ipynb", "trunk")
    assert home.prepare(GUIX_PROJECT_REF="trunk") == ("analysis-trunk", "")
    assert home.prepare(GUIX_PROJECT_REF="feature/x") == ("analysis", "")
    assert home.prepare(GUIX_PROJECT_REF="trunk") == ("analysis-trunk", "")
    assert (home.folder / "analysis/index.ipynb").read_text() == "x"
    assert (home.folder / "analysis-trunk/index.ipynb").read_text() == "trunk"


def test_a_branch_is_no_path(home: Home) -> None:
    home.prepare()
    home.git("checkout", "--quiet", "-b", "a/dots/bé")
    home.commit = home.commit_file("index.ipynb", "x")
    name, _ = home.prepare(GUIX_PROJECT_REF="a/dots/bé")
    assert name.startswith("analysis-a-dots-b")
    assert (home.folder / name / "index.ipynb").read_text() == "x"


def test_the_copy_for_another_branch_goes_elsewhere_when_its_name_is_taken(home: Home) -> None:
    home.prepare()
    (home.folder / "analysis-dev").write_text("mine")
    home.git("checkout", "--quiet", "-b", "dev")
    home.commit = home.commit_file("index.ipynb", "x")
    assert home.prepare(GUIX_PROJECT_REF="dev") == ("analysis-41c409", "")
    assert (home.folder / "analysis-dev").read_text() == "mine"
