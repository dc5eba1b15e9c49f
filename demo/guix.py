"""Find this machine's Guix, or give this folder one of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.settings import CHECKOUT, UnsuitableGround
from guixlab.holes import known_holes
from guixlab.machine import socket_answers

DAEMON_SOCKET = Path("/var/guix/daemon-socket/socket")
"""Where Guix's own installer has its daemon listen."""


def has_guix() -> bool:
    """Tell whether this machine, or the namespace we were put into, has a Guix with a daemon that answers.

    Raises `UnsuitableGround` for a Guix without such a daemon: to put another beside it would hide what is wrong.
    """
    if shutil.which("guix") is None:
        return False
    if not socket_answers(DAEMON_SOCKET):
        raise UnsuitableGround(
            "This machine has Guix, but its daemon does not answer; start it, as with `systemctl start guix-daemon`."
        )
    return True


def warn_of_holes() -> None:
    """Tell the person when this machine's Guix is a release with published vulnerabilities."""
    told = subprocess.run(["guix", "--version"], check=False, capture_output=True, text=True, timeout=60).stdout
    # "guix (GNU Guix) 1.5.0"; a Guix that was pulled tells its commit there.
    if warning := known_holes(told.partition("\n")[0].rpartition(" ")[2]):
        print(warning, file=sys.stderr, flush=True)


class FolderGuix:
    """A Guix in FOLDER, for machines that have none; see ``guixlab/README.md``."""

    def __init__(self, folder: Path, contents: str) -> None:
        self.folder = folder
        self.contents = contents

    def provide(self) -> None:
        """Fetch Guix and start its daemon, where that was not done yet.  Raises `UnsuitableGround`."""
        for action in (["provision"], ["up", "--substitutes", self.contents]):
            self._run(action)

    def end(self) -> None:
        """End the daemons."""
        self._run(["down"])

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs COMMAND where this Guix is the machine's.

        The folder beside which Guix lies can be entered by every account there, as sessions of people need.
        """
        enter = ["enter", "--substitutes", self.contents, "--reachable", os.fspath(self.folder.parent)]
        return [*self._command(enter), "--", *command]

    def _run(self, action: Sequence[str]) -> None:
        status = subprocess.run(self._command(action), check=False, cwd=CHECKOUT, stdin=subprocess.DEVNULL).returncode
        if status:
            # What is wrong was said by guixlab itself, on the line above.
            raise UnsuitableGround(f"No Guix could be provided in {self.folder}.")

    def _command(self, action: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "guixlab", "--folder", os.fspath(self.folder), *action]
