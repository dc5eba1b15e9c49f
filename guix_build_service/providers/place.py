"""A place in a repository, and the address of a page taken apart."""

import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from guix_environment.errors import InvalidAddress, InvalidInput, InvalidRef
from guix_environment.identifiers import Commit
from guix_environment.repository_url import RepositoryUrl, checked_ref, checked_subdirectory

LONGEST_PASTED = 2000
"""Characters of what is looked at at all."""

LONGEST_PATH = 500
"""Characters of the path of a file to open, as in a session's options."""

MOST_PARTS = 20
"""Of a ref, between slashes, that are tried."""

DEFAULT_BRANCH = "HEAD"
"""What links say where they mean whichever branch is the default one."""

KNOWN_HOSTS = frozenset({"github.com", "www.github.com", "gist.github.com", "gitlab.com", "codeberg.org"})
"""Hosts whose addresses people also type without ``https://``."""


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, and where in it."""

    repository: RepositoryUrl
    ref: str = ""
    """A branch, tag or commit; empty for the default branch."""
    path: str = ""
    """A folder, or with `opens` a file; empty for the top."""
    opens: bool = False
    """Whether the path is that of a file to open: the environment is then that of the repository's top."""
    unclear: tuple[str, ...] = ()
    """Parts that begin with a ref and go on with the path, where only the repository can tell which is which."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """The refs that the unclear parts may begin with, the longest first."""
        found = ("/".join(self.unclear[:number]) for number in range(min(len(self.unclear), MOST_PARTS), 0, -1))
        return tuple(name for name in found if _is_ref(name))

    def told_apart(self, ref: str) -> "Place":
        """Return the place where REF, one of the `candidates`, is the ref, and what follows it the path.

        Raises `InvalidAddress`.
        """
        rest = "/".join(self.unclear[ref.count("/") + 1 :])
        path = _file(rest) if self.opens else checked_subdirectory(rest)
        return replace(self, ref="" if ref == DEFAULT_BRANCH else ref, path=path, unclear=())

    @staticmethod
    def behind(repository: RepositoryUrl, parts: tuple[str, ...], *, opens: bool = False) -> "Place":
        """Return the place in REPOSITORY that PARTS, a ref and perhaps a path, name; told apart where that needs nobody.

        Raises `InvalidAddress`, `InvalidRef`.
        """
        place = Place(repository, opens=opens, unclear=parts)
        if not parts:
            return Place(repository)
        if len(parts) == 1 or parts[0] == DEFAULT_BRANCH or _is_commit(parts[0]):
            checked_ref(parts[0])
            told = place.told_apart(parts[0])
            return replace(told, opens=opens and bool(told.path))
        if not place.candidates:
            raise InvalidRef("The address names no branch, tag or commit.", hint="Paste the address of the repository.")
        return place


@dataclass(frozen=True, slots=True)
class Pasted:
    """What somebody pasted, as far as it looks like the address of a page."""

    scheme: str
    authority: str
    """In lower case."""
    parts: tuple[str, ...]
    """The path between its slashes, as it was written."""
    query: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> "Pasted | None":
        """Return TEXT taken apart, or None for what is no address of a page.

        >>> Pasted.parse("github.com/a/b#readme").parts
        ('a', 'b')
        """
        text = text.strip(" ")
        if len(text) > LONGEST_PASTED or any(not "!" <= character <= "~" or character == "\\" for character in text):
            return None
        if text.partition("/")[0].lower() in KNOWN_HOSTS:
            text = f"https://{text}"
        if not re.match(r"https?://[^/]", text, re.IGNORECASE):
            return None
        try:
            address = urlsplit(text)
        except ValueError:
            return None
        parts = tuple(address.path.rstrip("/").split("/")[1:])
        return cls(address.scheme.lower(), address.netloc.lower(), parts, tuple(parse_qsl(address.query)))

    def repository(self, number: int) -> RepositoryUrl:
        """Return the repository that the first NUMBER parts name.  Raises `InvalidAddress`."""
        return RepositoryUrl.parse(f"{self.scheme}://{self.authority}/{'/'.join(self.parts[:number])}")

    def behind(self, number: int) -> tuple[str, ...]:
        """Return the parts behind the first NUMBER ones, as they are meant."""
        return words("/".join(self.parts[number:]))


def words(text: str) -> tuple[str, ...]:
    """Return what is meant between the slashes of the quoted TEXT."""
    return tuple(word for word in unquote(text).split("/") if word)


def _file(path: str) -> str:
    """Return PATH if it can be that of a file in a repository, else raise `InvalidAddress`."""
    if len(path) > LONGEST_PATH or not path.isprintable() or {".", ".."} & set(path.split("/")):
        raise InvalidAddress("The address names no file of a repository.", hint="Paste the address of the repository.")
    return path


def _is_ref(name: str) -> bool:
    try:
        checked_ref(name)
    except InvalidRef:
        return False
    return True


def _is_commit(name: str) -> bool:
    try:
        Commit(name.lower())
    except InvalidInput:
        return False
    return True
