"""The address of a Git repository, read once by a grammar that is narrower than any URL library's.

What this module accepts is put together anew from its parts, so that the address that was checked is the address that Git
gets; a library that reads ``\\`` or a tab in a URL differently from Git never sees one. Whether a host may be reached is not
decided here but by the build service's policy.
"""

import hashlib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from guix_environment.errors import InvalidAddress, InvalidRef

LONGEST_ADDRESS = 512
"""Characters."""

_CHARACTERS = re.compile(r"[!-\[\]-~]*")
"""What is printed in ASCII, but for the backslash between the brackets."""

_ADDRESS = re.compile(r"(?P<scheme>https?|file|ssh)://(?P<authority>[^/]*)(?P<path>(?:/[^/]*)*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?")
_SHORT = re.compile(r"(?P<user>[^@:/]+)@(?P<host>[^@:/\[\]]+|\[[^@/\[\]]+\]):(?P<path>[^:].*)")
"""How forges show an address for SSH, ``USER@HOST:PATH`` (git-clone(1), "scp-like syntax"); it has no room for a port."""

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9_~.+@][A-Za-z0-9_~.+@-]{0,199}")
_SPACE = "%20"
"""The one character that addresses of some forges have in its quoted form."""

_REF = re.compile(
    r"(?![-+/])(?!.*\.\.)(?!.*//)(?!.*@\{)(?!.*/\.)(?!.*\.lock/)(?!\.)(?!@\Z)(?!0{40}(?:0{24})?\Z)"
    r"(?!refs/(?!heads/|tags/))[A-Za-z0-9._/@+#=,-]{1,200}(?<!\.lock)(?<!/)(?<!\.)"
)
_PORTS = {"https": 443, "http": 80, "ssh": 22}


@dataclass(frozen=True, slots=True)
class RepositoryUrl:
    """A repository's address in its one canonical spelling."""

    scheme: str
    """``https``, ``http`` (private hosts only), ``ssh`` or ``file`` (folders that the administrator lists)."""

    host: str
    """Lower-case host name or address; empty for ``file``."""

    port: int | None
    """The port where it is not the scheme's own."""

    path: str
    """Starts with a slash, ends without one."""

    user: str = ""
    """Whom SSH logs in as, which is ``git`` at forges; empty for all else."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address in TEXT, with its scheme and host in lower case and without a trailing slash.

        ``git@HOST:PATH`` is ``ssh://git@HOST/PATH``, as it is for every forge.
        Raises `InvalidAddress`, whose message and hint tell a person what to write instead.
        """
        text = text.strip(" ")
        if len(text) > LONGEST_ADDRESS:
            raise InvalidAddress(f"The address is longer than {LONGEST_ADDRESS} characters.", hint=_EXAMPLE)
        if not text or not _CHARACTERS.fullmatch(text):
            raise InvalidAddress("The address has characters that no repository's address has.", hint=_EXAMPLE)
        if "://" not in text and (short := _SHORT.fullmatch(text)):
            text = f"ssh://{short['user']}@{short['host']}/{short['path'].lstrip('/')}"
        match = _ADDRESS.fullmatch(text)
        if not match:
            raise InvalidAddress("This is not the address of a Git repository.", hint=_EXAMPLE)
        scheme = match["scheme"].lower()
        user, authority = _login(match["authority"]) if scheme == "ssh" else ("", match["authority"])
        host, port = _authority(scheme, authority)
        return cls(scheme, host, port, _path(match["path"]), user)

    def __str__(self) -> str:
        """Return the address as Git gets it."""
        return f"{self.scheme}://{self.user}{'@' if self.user else ''}{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host, and port where it is not the scheme's own: ``git.example:3000``."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def reached_port(self) -> int:
        """The port that is connected to; 0 for a file."""
        return self.port or _PORTS.get(self.scheme, 0)

    @property
    def name(self) -> str:
        """The last part of the path without ``.git``: what a working copy is called."""
        return self.path.rpartition("/")[2].removesuffix(".git") or "repository"

    @property
    def digest(self) -> str:
        """Sixteen characters that stand for this repository in the names of folders.

        The spellings with and without ``.git`` are one repository, as they are for every forge.
        """
        return hashlib.sha256(str(self).removesuffix(".git").encode()).hexdigest()[:16]


_EXAMPLE = "Paste it as the forge shows it for cloning over HTTPS, such as https://codeberg.org/somebody/analysis"


def _login(authority: str) -> tuple[str, str]:
    """Return whom SSH logs in as, and the rest of AUTHORITY.

    Both become words of SSH's command line: neither can begin like an option.
    """
    user, at, rest = authority.partition("@")
    if not at:
        raise InvalidAddress(
            "The address names nobody to log in as.", hint=f"Write it as ssh://git@{authority}/…, as the forge shows it."
        )
    if ":" in user:
        raise InvalidAddress(
            "The address holds a password.",
            hint="Leave that part out: what is written into an address ends up in logs and histories.",
        )
    if not _USER.fullmatch(user) or "@" in rest:
        raise InvalidAddress("The address names nobody to log in as.", hint="At forges that is git: ssh://git@HOST/PATH")
    return user, rest


def _authority(scheme: str, text: str) -> tuple[str, int | None]:
    if scheme == "file":
        if text:
            raise InvalidAddress("A file address names no host.", hint="Write it with three slashes: file:///folder")
        return "", None
    if "@" in text:
        raise InvalidAddress(
            "The address holds a user name or password.",
            hint="Leave that part out: what is written into an address ends up in logs and histories.",
        )
    match = _AUTHORITY.fullmatch(text.lower())
    if not match:
        raise InvalidAddress("The address names no host.", hint=_EXAMPLE)
    host = _host(match["host"])
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise InvalidAddress("The port in the address is none.", hint=_EXAMPLE)
    return host, None if port == _PORTS[scheme] else port


def _host(text: str) -> str:
    """Return the host TEXT in the one spelling in which Git asks for it too."""
    if text.startswith("["):
        return f"[{_address_of_six(text[1:-1])}]"
    labels = text.split(".")
    if not all(_LABEL.fullmatch(label) and _is_readable(label) for label in labels):
        raise InvalidAddress("The address names no host.", hint=_EXAMPLE)
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 0x7f000001 and 017700000001 are all 127.0.0.1 to those who connect.
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise InvalidAddress(
                "The host's address is not spelled as four decimal numbers.", hint="Better give the host's name."
            ) from None
    return text


def _address_of_six(text: str) -> ipaddress.IPv6Address:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise InvalidAddress("The address names no host.", hint=_EXAMPLE) from None
    if address.ipv4_mapped or 1 < int(address) < 2**32:
        raise InvalidAddress("The host's address is one of IPv4 inside one of IPv6.", hint="Better give the host's name.")
    return address


def _is_readable(label: str) -> bool:
    """Tell whether LABEL, where it stands for one in another script, is what that one is written as (RFC 5891, 4.4)."""
    if not label.startswith("xn--"):
        return True
    try:
        meant = label[4:].encode("ascii").decode("punycode")
        written = meant.encode("punycode").decode("ascii")
    except (UnicodeError, OverflowError, ValueError):
        return False
    letters = all(unicodedata.category(character)[0] in "LMN" or character == "-" for character in meant)
    return letters and written == label[4:] and not meant.isascii() and unicodedata.normalize("NFKC", meant).lower() == meant


def _path(text: str) -> str:
    path = text.rstrip("/")
    segments = path.split("/")[1:]
    if not segments:
        raise InvalidAddress("The address names a host and no repository.", hint=_EXAMPLE)
    if not all(_SEGMENT.fullmatch(segment.replace(_SPACE, "_")) and segment not in {".", ".."} for segment in segments):
        raise InvalidAddress("The address has a part that no repository's address has.", hint=_EXAMPLE)
    return path


def checked_ref(text: str) -> str:
    """Return TEXT if it can name a branch, a tag or a commit, else raise `InvalidRef`.

    The rules are those of ``git check-ref-format``, and narrower: printable ASCII without spaces.
    """
    if not _REF.fullmatch(text):
        raise InvalidRef(
            f"This cannot be the name of a branch, a tag or a commit: {text!r:.60}",
            hint="Leave it empty for the repository's default branch.",
        )
    return text


def checked_subdirectory(text: str) -> str:
    """Return the folder TEXT inside a repository without slashes at its ends, else raise `InvalidAddress`."""
    folder = text.strip("/")
    if folder and not all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in folder.split("/")):
        raise InvalidAddress(f"This cannot be a folder inside a repository: {text!r:.60}")
    return folder
