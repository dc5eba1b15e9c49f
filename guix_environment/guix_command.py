"""Command lines of ``guix``, and the environment they run in: pure builders, nothing is started here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GuixCommand:
    """A ``guix`` to run, by an account that may have no home and no environment."""

    program: str
    home: Path
    """Where Guix keeps its caches; must be writable."""
    account: str
    """The name under which the daemon knows the caller: ``/var/guix/profiles/per-user/ACCOUNT``."""
    search_path: str = "/usr/local/bin:/usr/bin:/bin"
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables, such as ``GUIX_DAEMON_SOCKET`` or ``GUIX_LOCPATH``."""
    memory: int | None = None
    """Bytes that one run of it may hold, with all that it starts itself; None for any number."""
    known_as: str = "This hub's Guix"
    """What people are told that it is, at the beginning of a sentence."""

    def environment(self, marks: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return all the variables that ``guix`` sees; MARKS tell the processes of one build from others."""
        return {
            "PATH": self.search_path,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "USER": self.account,
            "LOGNAME": self.account,
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
            **self.variables,
            **(marks or {}),
        }

    def script(self, script: Path, *arguments: str | Path) -> tuple[str, ...]:
        """Return the command that runs one of our own Scheme scripts with this Guix's modules."""
        return (self.program, "repl", "--", str(script), *(str(argument) for argument in arguments))

    def collect(self, free: int) -> tuple[str, ...]:
        """Return the command that has the daemon remove what nothing holds, until FREE bytes are free."""
        return (self.program, "gc", f"--free-space={free}")

    def version(self) -> tuple[str, ...]:
        """Return the command that says which Guix this is."""
        return (self.program, "--version")
