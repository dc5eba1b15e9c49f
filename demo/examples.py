"""The example repositories: real Git repositories, made from the folders in ``examples/``."""

import os
import shutil
import subprocess
from pathlib import Path

from demo.settings import CHECKOUT

FOLDERS = CHECKOUT / "examples"

TITLES = {
    "python-plot": "A plot in Python",
    "r-plot": "A plot in R",
    "broken-manifest": "Mistyped packages",
}
"""The folders that are examples, and what their environments are called."""

_IDENTITY = {
    "GIT_AUTHOR_NAME": "GuixSpawner",
    "GIT_AUTHOR_EMAIL": "examples@localhost",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "GuixSpawner",
    "GIT_COMMITTER_EMAIL": "examples@localhost",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}
"""Fixed, so that an example has the same commit everywhere and its environment is built once."""


def make_examples(target: Path, owner: tuple[int, int]) -> list[Path]:
    """Make a bare repository below TARGET for each example that has none there yet, and return all of them.

    They belong to OWNER, a user and a group number: Git serves nobody a repository that belongs to somebody else.
    """
    return [_make(FOLDERS / name, target / name, owner) for name in TITLES]


def _make(folder: Path, repository: Path, owner: tuple[int, int]) -> Path:
    if not repository.exists():
        unfinished = repository.with_name(f".{repository.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(unfinished), "GIT_DIR": str(unfinished), **_IDENTITY}

        def git(*words: str) -> None:
            subprocess.run(["git", *words], env=environment, cwd=folder, check=True, capture_output=True)

        git("init", "--quiet", "--bare", "--template=", "--initial-branch=main")
        git("--work-tree=.", "add", "--all")
        git("--work-tree=.", "commit", "--quiet", f"--message=Example: {folder.name}")
        (unfinished / "index").unlink()
        for path in [unfinished, *unfinished.rglob("*")]:
            os.chown(path, *owner, follow_symlinks=False)
        unfinished.rename(repository)
    return repository
