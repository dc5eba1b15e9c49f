"""Which repositories are for this installation, of all that could be reached, as the administrator says.

That is said by names of hosts, or by addresses in which ``*`` stands for anything. A name or an address counts as a whole,
never by how it begins.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from guix_environment.errors import HostRefused, InvalidInput
from guix_environment.repository_url import RepositoryUrl

_OVER_HTTPS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
"""Forges' names for SSH at HTTPS's port (their documentation, "Using SSH over the HTTPS port"), and what they are beside."""


def checked_pattern(text: str) -> str:
    """Return TEXT if it can be a pattern of a host or an address; raise `InvalidInput` for what would never count."""
    if not text.strip() or text != text.strip() or ("/" in text and "://" not in text and not text.startswith("*")):
        raise InvalidInput(
            f"This is neither the name of a host nor an address: {text!r:.100}",
            hint="Write it as codeberg.org, or as https://codeberg.org/our-group/*",
        )
    return text


def is_matched(text: str, pattern: str) -> bool:
    """Tell whether PATTERN, in which ``*`` stands for anything and all else for itself, is the whole of TEXT."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None


def is_named(url: RepositoryUrl, patterns: Collection[str]) -> bool:
    """Tell whether one of PATTERNS, of addresses or of names of hosts, is the whole of URL or its host."""
    for pattern in map(_in_lower_case, patterns):
        texts = (str(url),) if "/" in pattern else (url.host, url.authority)
        if any(is_matched(text, pattern) for text in texts):
            return True
    return False


def _in_lower_case(pattern: str) -> str:
    """Return PATTERN as addresses are written: a host's name, and the scheme before it, know no upper case."""
    if "/" not in pattern:
        return pattern.lower()
    scheme, mark, rest = pattern.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{scheme.lower()}{mark}{user}{at}{host.lower()}{slash}{path}" if mark else pattern


@dataclass(frozen=True, slots=True)
class Choice:
    """Which repositories the administrator chose."""

    allowed: tuple[str, ...] = ()
    """Those that may be used; without any, all may."""
    banned: tuple[str, ...] = ()
    """Those that may not, though they be allowed."""

    def check(self, url: RepositoryUrl) -> None:
        """Return if the repository at URL may be used.  Raises `HostRefused`.

        Forges know an address by its spelling without ``.git`` too, and most in whatever case: a ban counts for them all.
        """
        plain = replace(url, path=url.path.removesuffix(".git"))
        any_case = replace(url, path=url.path.lower().removesuffix(".git"), user=url.user.lower())
        banned = [pattern.lower().rstrip("/").removesuffix(".git") for pattern in self.banned]
        if any(is_named(spelling, banned) for spelling in (any_case, *_otherwise(any_case))):
            raise HostRefused("This repository is not used on this hub.", hint="Ask its administrator why.")
        if self.allowed and not (is_named(url, self.allowed) or is_named(plain, self.allowed)):
            raise HostRefused(
                f"Repositories of {url.authority or 'this machine'} at this address are not used on this hub.",
                hint="Its administrator lists those that are.",
            )


def _otherwise(url: RepositoryUrl) -> tuple[RepositoryUrl, ...]:
    """Return what forges have the repository at URL under too: over SSH what is there over HTTPS, and the reverse."""
    if url.scheme == "ssh":
        host = _OVER_HTTPS.get(url.host, url.host)
        return (replace(url, scheme="https", host=host, port=None, user=""),)
    return (RepositoryUrl("ssh", url.host, None, url.path, "git"),) if url.host else ()
