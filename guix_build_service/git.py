"""The one way in which the service runs Git: nothing of a repository, and nothing of the machine's settings, steers it.

The environment is made here from nothing; configuration comes through ``GIT_CONFIG_*`` variables so that no word of a
person's stands before ``--`` on a command line; no hook, filter, submodule, redirect or other protocol than the checked
address's own is used; and no file of a repository is ever checked out.  The recipe was tried against hostile addresses and
servers with Git 2.39; each setting is explained in git-config(1).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.hosts import Reached
from guix_environment.identifiers import Commit
from guix_environment.processes import Completed, run

LISTING_SECONDS = 30.0
FETCH_SECONDS = 300.0
LOCAL_SECONDS = 60.0

LARGEST_PACK = 1024 * 1024 * 1024
"""Bytes that one file of a fetched repository may have."""

PROCESSOR_SECONDS = 120

_FOR_FOLDERS = Path(__file__).with_name("folders.gitconfig")

_CONFIGURATION: Mapping[str, str] = {
    "protocol.allow": "never",
    "http.followRedirects": "false",
    "http.sslVerify": "true",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "20",
    "credential.helper": "",
    "credential.useHttpPath": "true",
    "transfer.credentialsInUrl": "die",
    "transfer.fsckObjects": "true",
    # Faults of old Git programs, harmless and common.
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "transfer.bundleURI": "false",
    "core.hooksPath": "/dev/null",
    "core.symlinks": "false",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    # The records are read by the hub and by sessions, which run as others.
    "core.sharedRepository": "0644",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "safe.bareRepository": "explicit",
    "safe.directory": "*",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
}


@dataclass(frozen=True, slots=True)
class GitCommand:
    """A Git command line and the whole environment it runs in."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Git:
    """Git as the service runs it."""

    program: str
    home: Path
    """An empty folder of the service's own."""
    search_path: str = "/usr/local/bin:/usr/bin:/bin"
    marks: Mapping[str, str] | None = None
    """Variables by which the processes of one build are told from others."""

    def command(self, *words: str, folder: Path | None = None, reached: Reached | None = None) -> GitCommand:
        """Return the command ``git WORDS`` on the bare repository FOLDER, able to talk to REACHED alone."""
        limits = ("prlimit", f"--fsize={LARGEST_PACK}", f"--cpu={PROCESSOR_SECONDS}", "--core=0", "--")
        place = (f"--git-dir={folder}",) if folder else ()
        return GitCommand((*limits, self.program, *place, *words), self.environment(reached))

    def environment(self, reached: Reached | None) -> dict[str, str]:
        """Return all the variables that a Git command sees."""
        scheme = reached.url.scheme if reached else ""
        settings = dict(_CONFIGURATION)
        if reached is not None:
            settings[f"protocol.{scheme}.allow"] = "always"
        if reached is not None and reached.addresses:
            settings["http.curloptResolve"] = _pinned(reached)
        variables = {
            "PATH": self.search_path,
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(_FOR_FOLDERS) if scheme == "file" else "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": scheme or "none",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_CONFIG_COUNT": str(len(settings)),
            **(self.marks or {}),
        }
        for number, (key, value) in enumerate(settings.items()):
            variables[f"GIT_CONFIG_KEY_{number}"] = key
            variables[f"GIT_CONFIG_VALUE_{number}"] = value
        return variables

    async def run(
        self,
        *words: str,
        folder: Path | None = None,
        reached: Reached | None = None,
        timeout: float = LOCAL_SECONDS,  # noqa: ASYNC109 - it ends the process, see processes.run
        limit: int = 1024 * 1024,
        given: bytes = b"",
    ) -> Completed:
        """Run ``git WORDS`` and return how it ended; see `command` and `guix_environment.processes.run`."""
        command = self.command(*words, folder=folder, reached=reached)
        return await run(command.words, environment=command.environment, timeout=timeout, limit=limit, given=given)


def _pinned(reached: Reached) -> str:
    """Return the value of ``http.curloptResolve`` (git-config(1)) that has Git connect to the checked addresses alone."""
    port = reached.url.port or (443 if reached.url.scheme == "https" else 80)
    addresses = ",".join(f"[{address}]" if ":" in address else address for address in reached.addresses)
    return f"{reached.url.host}:{port}:{addresses}"


def listing(url: str, references: Sequence[str]) -> tuple[str, ...]:
    """Return the words that ask the repository at URL what REFERENCES (full names) are."""
    return ("ls-remote", "--symref", "--", url, *references)


def fetching(url: str, wanted: str, kept_as: str) -> tuple[str, ...]:
    """Return the words that fetch WANTED, a commit or a full name, from URL, without its history, as the name KEPT_AS."""
    options = ("--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance", "--no-write-fetch-head")
    return ("fetch", "--quiet", *options, "--", url, f"+{wanted}:{kept_as}")


def version_reference(commit: Commit) -> str:
    """Return the name under which an environment's repository keeps COMMIT for as long as a version needs it."""
    return f"refs/versions/{commit}"


def find_git(search_path: str) -> str:
    """Return the program to run: Git on SEARCH_PATH, or just its name where there is none."""
    return shutil.which("git", path=search_path) or "git"
