"""The one place of the session's own code that starts processes.

They get the variables that are named and nothing of the server's: its environment holds the token by which it speaks to the
hub.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Completed:
    """How a process ended."""

    status: int
    output: bytes
    errors: str

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was asked."""
        return self.status == 0


def run(command: Sequence[str], variables: Mapping[str, str], *, folder: Path | None = None, text: bytes = b"") -> Completed:
    """Run COMMAND with VARIABLES alone and TEXT as its input, and return how it ended.  Blocks until then."""
    ended = subprocess.run(command, env=variables, cwd=folder, input=text, capture_output=True, check=False)  # noqa: S603
    return Completed(ended.returncode, ended.stdout, ended.stderr.decode(errors="replace"))


class Answer:
    """A process under way whose output is wanted later; what it says besides goes where the server's own log goes."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )

    def wait(self) -> bytes:
        """Return what it printed, once it has ended.  Blocks until then."""
        output, _ = self._process.communicate()
        return output
