"""The one way in which the service runs Git: nothing of a repository, and nothing of the machine's settings, steers it.

The environment is made here from nothing; configuration comes through ``GIT_CONFIG_*`` variables so that no word of a
person's stands before ``--`` on a command line; no hook, filter, submodule, redirect or other protocol than the checked
address's own is used; the only way to a host is the proxy that leads to it; and no file of a repository is ever checked out.
The recipe was tried against hostile addresses and servers with Git 2.39; each setting is explained in git-config(1).
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from guix_build_service.git.hosts import Reached
from guix_build_service.git.secure_shell import SecureShell
from guix_environment.errors import GuixSpawnerError, RepositoryUnavailable
from guix_environment.identifiers import Commit
from guix_environment.processes import Completed, run
from guix_environment.repository_url import RepositoryUrl

LISTING_SECONDS = 30.0
FETCH_SECONDS = 300.0
LOCAL_SECONDS = 60.0

LARGEST_PACK = 1024 * 1024 * 1024
"""Bytes that one file of a fetched repository may have, and that may be transferred for it."""

LARGEST_LISTING = 64 * 1024 * 1024
"""Bytes that may be transferred to learn what a repository's branches are: half a million of them, from a server that cannot
be asked for single ones."""

LARGEST_MEMORY = 2 * 1024 * 1024 * 1024
"""Bytes of address space of one Git process."""

PROCESSOR_SECONDS = 120

PASSAGES = "passages"
"""The folder below the home in which there is a socket while SSH needs one."""

OLDEST = (2, 31)
"""The first Git that takes settings from its environment; an older one would follow none of those below."""

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
    # One pack, with the limit of a file, and not as many files as there are objects.
    "fetch.unpackLimit": "1",
    "fetch.writeCommitGraph": "false",
    # So that memory stays small whatever a pack holds: large files go through in pieces, and one thread does it.
    "core.bigFileThreshold": "16m",
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "pack.threads": "1",
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


class Lent(Protocol):
    """What lends a credential to one command."""

    @property
    def helper(self) -> str:
        """A value of ``credential.helper``; empty for a key."""

    @property
    def agent(self) -> str:
        """The socket of an agent of SSH; empty for a password."""

    @property
    def asked(self) -> bool:
        """Whether the host wanted it."""


Lender = Callable[[str, RepositoryUrl], AbstractAsyncContextManager[Lent | None]]
"""From a person and the address that Git will talk to, to what lends their credential for it as long as the context lasts;
None where they have none."""


@dataclass(slots=True)
class Door:
    """Whether a repository is closed to strangers, as far as commands that talked to its host found out."""

    closed: bool = False
    """Whether the host wanted a credential, and opened with it."""


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
    certificates: Path | None = None
    """A file of the authorities that hosts' certificates are checked against, in the place of the machine's own."""
    lender: Lender | None = None
    """Who lends credentials, if anybody does."""
    person: str = ""
    """Whose credentials are lent; nobody's when empty."""
    door: Door | None = None
    """Who wants to know whether one was needed."""
    secure_shell: SecureShell = field(default_factory=SecureShell)
    """How hosts are reached over SSH."""

    def command(
        self, *words: str, folder: Path | None = None, reached: Reached | None = None, helper: str = "", agent: str = ""
    ) -> GitCommand:
        """Return the command ``git WORDS`` on the bare repository FOLDER, able to talk to REACHED alone.

        HELPER is the program that is asked for a password when a host wants one, and AGENT the socket of what signs with a
        key; nobody is without them.
        """
        size = (f"--fsize={LARGEST_PACK}", f"--as={LARGEST_MEMORY}")
        limits = ("prlimit", *size, f"--cpu={PROCESSOR_SECONDS}", "--")
        place = (f"--git-dir={folder}",) if folder else ()
        return GitCommand((*limits, self.program, *place, *words), self.environment(reached, helper, agent))

    def environment(self, reached: Reached | None, helper: str = "", agent: str = "") -> dict[str, str]:
        """Return all the variables that a Git command sees."""
        scheme = _spoken(reached)
        by_ssh = {}
        if reached is not None and scheme == "ssh":
            # So that Git knows SSH's options without trying some.
            by_ssh = {"GIT_SSH_COMMAND": self.secure_shell.command(agent, reached.proxy), "GIT_SSH_VARIANT": "ssh"}
        return {
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
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            **by_ssh,
            **(self.marks or {}),
            **_as_variables(self._settings(reached, helper)),
        }

    def _settings(self, reached: Reached | None, helper: str) -> list[tuple[str, str]]:
        """Return Git's settings, of which later ones count beside or over earlier ones."""
        settings = dict(_CONFIGURATION)
        if scheme := _spoken(reached):
            settings[f"protocol.{scheme}.allow"] = "always"
        if reached is not None and reached.proxy and scheme != "ssh":
            settings |= {"http.proxy": reached.proxy, "http.proxyAuthMethod": "basic"}
        if self.certificates:
            settings["http.sslCAInfo"] = str(self.certificates)
        # The empty helper of the settings forgets those of the machine; this one comes after it.
        return [*settings.items(), *([("credential.helper", helper)] if helper else [])]

    async def run(
        self,
        *words: str,
        folder: Path | None = None,
        reached: Reached | None = None,
        timeout: float = LOCAL_SECONDS,  # noqa: ASYNC109 - it ends the process, see processes.run
        limit: int = 1024 * 1024,
        given: bytes | BinaryIO = b"",
    ) -> Completed:
        """Run ``git WORDS`` and return how it ended; see `command` and `guix_environment.processes.run`.

        Raises `RepositoryUnavailable` where only a key opens what is REACHED, and there is none.
        """
        async with self._lent(reached) as lent:
            if reached is not None and reached.url.scheme == "ssh" and not (lent and lent.agent):
                raise RepositoryUnavailable(
                    f"Over SSH, {reached.url.authority} opens with a key, and you keep none for it.",
                    hint="Keep one on the page of credentials, or give the address that starts with https://",
                )
            opening = (lent.helper, lent.agent) if lent else ("", "")
            command = self.command(*words, folder=folder, reached=reached, helper=opening[0], agent=opening[1])
            done = await run(command.words, environment=command.environment, timeout=timeout, limit=limit, given=given)
            if self.door is not None and lent is not None and lent.asked and done.succeeded:
                self.door.closed = True
            return done

    def _lent(self, reached: Reached | None) -> AbstractAsyncContextManager[Lent | None]:
        if self.lender is None or reached is None or not self.person:
            return nullcontext(None)
        return self.lender(self.person, reached.url)


def _spoken(reached: Reached | None) -> str:
    """Return the protocol that a command may speak to what is REACHED; none where no way leads there."""
    return reached.url.scheme if reached is not None and (reached.proxy or reached.url.scheme == "file") else ""


def _as_variables(settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return SETTINGS as Git takes them from its environment (git-config(1), ``GIT_CONFIG_COUNT``)."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


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


async def check(git: Git) -> None:
    """Return if GIT can be run and is new enough to be held to its settings, else raise `GuixSpawnerError`."""
    try:
        done = await git.run("version")
    except OSError:
        raise GuixSpawnerError("Git is not installed.", hint="Install git, such as with `apt-get install git`.") from None
    found = re.search(rb"git version (\d+)\.(\d+)", done.output)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(str(number) for number in OLDEST)
        raise GuixSpawnerError(f"This Git is older than {oldest}.", hint="Install a newer one.")
