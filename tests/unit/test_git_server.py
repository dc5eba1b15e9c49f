"""The tests' own Git server is one that a real git can clone from and push to."""

import subprocess
from pathlib import Path

from tests.git_server import IDENTITY, serve_git


def test_git_clones_and_pushes(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with serve_git(tmp_path / "served") as server:
        commit = server.commit("plot", {"README.md": "one"})
        environment = IDENTITY | {"HOME": str(tmp_path)}
        subprocess.run(["git", "clone", "-q", server.url("plot"), "copy"], cwd=tmp_path, env=environment, check=True)
        copy = tmp_path / "copy"
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=copy, env=environment, check=True, capture_output=True, text=True
        )
        assert head.stdout.strip() == commit
        (copy / "README.md").write_text("two")
        subprocess.run(["git", "commit", "-qam", "Two"], cwd=copy, env=environment, check=True)
        subprocess.run(["git", "push", "-q"], cwd=copy, env=environment, check=True)
