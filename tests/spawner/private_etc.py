"""Programs that see accounts of the tests' own in ``/etc``, and change nothing of the machine's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import guixspawner

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

_PREPARATION = """
set -eu
mount --make-rprivate /
# Over the folder, not over the files: the machine's may be links, which programs for accounts do not follow.
mount --types overlay --options "lowerdir=/etc,upperdir=$FOLDER/upper,workdir=$FOLDER/work" overlay /etc
for name in passwd group shadow gshadow subuid subgid; do
    [ ! -e "/etc/$name" ] || cat "/etc/$name" > "$FOLDER/$name"
    touch "$FOLDER/$name"
    [ ! -e "$FOLDER/$name.more" ] || cat "$FOLDER/$name.more" >> "$FOLDER/$name"
    cp --remove-destination "$FOLDER/$name" "/etc/$name"
    rm "$FOLDER/$name"
done
exec "$@"
"""


@contextmanager
def private_etc(name: str) -> Iterator[Path]:
    """Yield a folder for `run_python`, made anew with NAME in its own and open to every account."""
    folder = Path("/tmp") / f"guix-{name}-{os.getpid()}"
    for below in ("upper", "work"):
        (folder / below).mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def entering() -> list[str]:
    """Return the command that runs what follows it there; the folder is its variable ``FOLDER``."""
    return ["unshare", "--mount", "sh", "-c", _PREPARATION, "sh"]


def run_python(
    folder: Path, program: str, variables: Mapping[str, str] | None = None, become: Sequence[str] = ()
) -> "subprocess.CompletedProcess[str]":
    """Run the Python PROGRAM where ``/etc`` also has the lines of FOLDER's ``passwd.more``, ``subuid.more`` and so on.

    BECOME is a command before it, such as ``setpriv``.
    """
    (folder / "program.py").write_text(program)
    given = {
        **os.environ,
        **(variables or {}),
        "FOLDER": str(folder),
        "PYTHONPATH": str(Path(guixspawner.__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [*entering(), *become, sys.executable, str(folder / "program.py")]
    return subprocess.run(command, capture_output=True, text=True, env=given)
