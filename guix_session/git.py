"""Git, as it looks at a person's working copy and changes it: without hooks, network, or anything to ask."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guix_session.processes import Completed, run

_CONFIGURATION = Path(__file__).with_name("git.config")
# Before what a repository's own settings say (git(1), "-c"): its settings belong to whoever may write to it.
_SETTINGS = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.version=2")


@dataclass(frozen=True, slots=True)
class Git:
    """Git in one working copy.  Every call blocks until Git has ended."""

    program: str
    folder: Path
    variables: Mapping[str, str]

    @classmethod
    def at(cls, folder: Path, tools: str, home: str) -> "Git":
        """Return the Git of TOOLS, a search path, in FOLDER, a folder of HOME."""
        return cls(
            "git",
            folder,
            {
                "PATH": tools,
                "HOME": home,
                "LANG": "C.UTF-8",
                "GIT_CONFIG_GLOBAL": str(_CONFIGURATION),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
                "GIT_OPTIONAL_LOCKS": "0",
                # No name of the person's is known; reflogs want one.
                **{f"GIT_COMMITTER_{what}": "guix-environment" for what in ("NAME", "EMAIL")},
            },
        )

    def with_variables(self, **variables: str) -> "Git":
        """Return the same with VARIABLES besides."""
        return Git(self.program, self.folder, {**self.variables, **variables})

    def run(self, *arguments: str, text: bytes = b"") -> Completed:
        """Run Git with ARGUMENTS and TEXT as its input."""
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        return run([self.program, *settings, *arguments], self.variables, folder=self.folder, text=text)

    def says(self, *arguments: str) -> str:
        """Return the one line that Git prints, or nothing when it fails."""
        done = self.run(*arguments)
        return done.output.decode(errors="surrogateescape").strip() if done.succeeded else ""

    def paths(self, *arguments: str) -> list[str]:
        """Return the paths that Git prints, with NUL after each (``-z``)."""
        done = self.run(*arguments)
        return [part.decode(errors="surrogateescape") for part in done.output.split(b"\0") if part] if done.succeeded else []
