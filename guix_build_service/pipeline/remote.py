"""Talk to a repository elsewhere: one Git command, and what its failures mean to a person."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from guix_build_service.egress import opened
from guix_build_service.git.git import PASSAGES, Git
from guix_build_service.git.hosts import Hosts
from guix_environment.errors import (
    GuixSpawnerError,
    HostKeyChanged,
    HostKeyUnknown,
    LimitReached,
    RepositoryTooLarge,
    RepositoryUnanswered,
    RepositoryUnavailable,
)
from guix_environment.processes import Completed
from guix_environment.repository_url import RepositoryUrl

_REDIRECTED = re.compile(r"returned error: 30[1278]|unable to update url base from redirection")
_UNANSWERED = re.compile(
    r"Could not resolve host|Connection refused|Failed to connect|Connection timed out|timed out|too slow"
    r"|returned error: (?:429|5\d\d)"
)
_CERTIFICATE = re.compile(r"certificate|SSL|TLS")
_DANGEROUS = re.compile(r"fsck error|error: object [0-9a-f]+:")
_DAMAGED = re.compile(
    r"index-pack (?:failed|died|output)|unpack-objects failed|bad pack|corrupt|bad line length|protocol error"
    r"|invalid object|bad (?:object|tree)|inflate|unexpected (?:object|response|disconnect)|did not send all"
    r"|unresolved delta|missing (?:blob|tree|commit|object)|not a valid object"
    r"|expected (?:old|new|flush|shallow|wanted|packfile|sha|acknowledg|object)"
)
_TOO_LARGE = re.compile(
    r"File too large|signal 2[45]|exceeds maximum allowed size|[Oo]ut of memory|mmap failed|[Cc]annot allocate memory"
    # What unpacks was ended by the kernel, and had nothing to say.
    r"|\A(?:fatal: )?fetch-pack: invalid index-pack output"
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_KEY_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY")
_KEY_UNKNOWN = re.compile(r"host key is known for|Host key verification failed")
_KEY_REFUSED = re.compile(r"Permission denied \(|Too many authentication failures")
_BROKEN_OFF = re.compile(r"kex_exchange_identification|Connection (?:reset|closed) by|no matching .{1,40} found")
_OF_SERVER = re.compile(r"remote:|(?:fatal|error): remote error:")
_TOO_LARGE_SIGNALS = frozenset({24, 25})
"""SIGXCPU and SIGXFSZ."""


async def talk(
    git: Git,
    hosts: Hosts,
    url: RepositoryUrl,
    words: Callable[[str], Sequence[str]],
    *,
    most: int,
    timeout: float,  # noqa: ASYNC109 - it ends the process, see processes.run
    folder: Path | None = None,
) -> Completed:
    """Run the Git command that WORDS makes of an address, on URL, and return how it ended.

    Raises `HostRefused`, and what the way there ended it for: `RepositoryTooLarge` beyond MOST bytes,
    `RepositoryUnavailable` where nobody answers.  Redirects are not followed, because they lead past the hosts that were
    checked.  Some forges redirect the address without ``.git`` to the one with it, so that one is tried then, on the same
    host.
    """
    done = await _run(git, hosts, url, words, most, timeout, folder)
    if not done.succeeded and _REDIRECTED.search(_said(done)) and not url.path.endswith(".git"):
        done = await _run(git, hosts, replace(url, path=f"{url.path}.git"), words, most, timeout, folder)
    return done


async def _run(
    git: Git,
    hosts: Hosts,
    url: RepositoryUrl,
    words: Callable[[str], Sequence[str]],
    most: int,
    seconds: float,
    folder: Path | None,
) -> Completed:
    reached = await hosts.check(url)
    async with opened(reached, most, git.home / PASSAGES) as passage:
        done = await git.run(*words(str(url)), reached=passage.reached, timeout=seconds, folder=folder)
    if passage.refusal is not None and not done.succeeded:
        raise passage.refusal
    return done


def failure(done: Completed, url: RepositoryUrl) -> GuixSpawnerError:
    """Return what the failed command DONE means: a `RepositoryFailure` or `LimitReached`.

    Few kinds, and no word of the server's: an answer that told more would let people explore networks with it.
    """
    said = _said(done)
    if url.scheme == "ssh" and (told := _of_ssh(said, url)):
        return told
    if _FULL.search(said):
        return LimitReached("The disk of this hub is full.", hint="Try again later, or tell the administrator.")
    if _TOO_LARGE.search(said) or {-done.status, done.status - 128} & _TOO_LARGE_SIGNALS:
        return RepositoryTooLarge(
            "The repository is larger than this hub fetches.",
            hint="Keep large data elsewhere, and let the notebook download it.",
        )
    if _DANGEROUS.search(said):
        return RepositoryUnavailable(
            "Git refuses what is in this repository: it is damaged, or made to harm whoever checks it out.",
            hint="Run `git fsck` in a clone of it; often it is an address in .gitmodules.",
        )
    if _DAMAGED.search(said):
        return RepositoryUnavailable(
            "What the server sends is damaged, and Git cannot read it.",
            hint="Try again later. If it stays so, run `git fsck` where the repository is, or push it anew.",
        )
    if done.timed_out or _UNANSWERED.search(said):
        return RepositoryUnanswered(
            f"{url.authority or 'The folder'} does not answer, or too slowly.", hint="Try again later, or check the address."
        )
    if _CERTIFICATE.search(said):
        return RepositoryUnanswered(
            f"{url.authority} does not prove who it is: its certificate is not accepted.",
            hint="Ask the administrator of that server, or of this hub.",
        )
    return RepositoryUnavailable(
        f"There is no Git repository at {url}, or it is private.",
        hint="Open the address in a browser, and paste what the forge shows for cloning over HTTPS.",
    )


def _of_ssh(said: str, url: RepositoryUrl) -> GuixSpawnerError | None:
    """Return what SSH means that SAID this; None where it is not SSH who said it."""
    if _KEY_CHANGED.search(said):
        return HostKeyChanged(
            f"{url.authority} shows another key than the one by which this hub knows it, so that it may be somebody else.",
            hint="Tell the administrator of this hub, who can compare it with what the host publishes.",
        )
    if _KEY_UNKNOWN.search(said):
        return HostKeyUnknown(
            f"This hub does not know by which key {url.authority} proves who it is.",
            hint="Ask its administrator to list the host's key (SshHosts.known_hosts), or give the address over HTTPS.",
        )
    if _KEY_REFUSED.search(said):
        return RepositoryUnavailable(
            f"{url.authority} does not accept the SSH key that you keep for it.",
            hint="Add its public key at the forge, or keep another one on the page of credentials.",
        )
    if _BROKEN_OFF.search(said):
        return RepositoryUnanswered(
            f"{url.authority} does not answer over SSH, or broke off.", hint="Try again later, or check the address."
        )
    return None


def _said(done: Completed) -> str:
    """Return what Git said itself: of a server's words, which it hands on, none decides what a failure means."""
    lines = done.errors.decode(errors="replace").splitlines(keepends=True)
    return "".join(line for line in lines if not _OF_SERVER.match(line))
