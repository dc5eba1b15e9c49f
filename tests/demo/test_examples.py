"""The example repositories are the same everywhere and never made over."""

import json
import os
import subprocess
from pathlib import Path

from demo.examples import FOLDERS, TITLES, make_examples

OWN = (os.geteuid(), os.getegid())


def head(repository: Path) -> str:
    command = ["git", "--git-dir", str(repository), "rev-parse", "main"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_example_has_the_same_commit_everywhere(tmp_path: Path) -> None:
    one, two = make_examples(tmp_path / "one", OWN), make_examples(tmp_path / "two", OWN)
    assert [path.name for path in one] == list(TITLES)
    assert [head(path) for path in one] == [head(path) for path in two]


def test_what_somebody_pushed_to_an_example_stays(tmp_path: Path) -> None:
    repository = make_examples(tmp_path, OWN)[0]
    (repository / "refs/heads/mine").write_text(head(repository) + "\n")
    assert make_examples(tmp_path, OWN)[0] == repository
    assert (repository / "refs/heads/mine").exists()


def test_the_notebooks_are_whole_and_name_their_kernels() -> None:
    kernels = {}
    for name in TITLES:
        notebook = json.loads((FOLDERS / name / "index.ipynb").read_text())
        assert notebook["nbformat"] == 4
        assert not any(cell.get("outputs") for cell in notebook["cells"])
        kernels[name] = notebook["metadata"]["kernelspec"]["name"]
    assert kernels == {"python-plot": "python3", "r-plot": "ir", "broken-manifest": "python3"}
