"""Names that are checked once, where they enter, and can be trusted from then on.

Each is a string that could not have been made if it did not have its form, so it may stand in a path or on a command line.
"""

import re
import secrets
from typing import ClassVar, Self

from guix_environment.errors import InvalidInput


class CheckedString(str):
    """A string of one form only; making another raises `InvalidInput`."""

    __slots__ = ()

    form: ClassVar[re.Pattern[str]]
    """The form, matched against the whole string."""

    noun: ClassVar[str]
    """What a person calls such a string."""

    def __new__(cls, text: str) -> Self:
        """Return TEXT as this type, or raise `InvalidInput`."""
        if not isinstance(text, str) or not cls.form.fullmatch(text):
            raise InvalidInput(f"This is not {cls.noun}: {text!r:.80}")
        return super().__new__(cls, text)


class Commit(CheckedString):
    """A full Git object name, SHA-1 or SHA-256, in lower case."""

    __slots__ = ()
    form = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
    noun = "a full commit"

    @property
    def short(self) -> str:
        """The seven characters that people recognise a commit by."""
        return self[:7]


class StorePath(CheckedString):
    """The path of an item in Guix's store (the form of ``guix/store.scm``, ``store-path-hash-part``)."""

    __slots__ = ()
    form = re.compile(r"/gnu/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]{1,211}")
    noun = "a store item"

    @property
    def name(self) -> str:
        """The item's name and version, without the hash."""
        return self[len("/gnu/store/") + 33 :]


class Token(CheckedString):
    """A random name, of twelve letters and digits, the first one a letter."""

    __slots__ = ()
    form = re.compile(r"[a-z][a-z0-9]{11}")
    noun = "an identifier"

    @classmethod
    def new(cls) -> Self:
        """Return a name that nothing else has: 61 bits of randomness."""
        letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
        return cls(secrets.choice(letters) + "".join(secrets.choice(letters + digits) for _ in range(11)))


class EnvironmentId(Token):
    """The name of an environment that never changes."""

    __slots__ = ()
    noun = "an environment"


class VersionId(Token):
    """The name of one version of an environment."""

    __slots__ = ()
    noun = "a version"


class BuildId(Token):
    """The name of a build."""

    __slots__ = ()
    noun = "a build"


class KernelName(CheckedString):
    """The name of a kernel specification (the form of ``jupyter_client.kernelspec``)."""

    __slots__ = ()
    form = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
    noun = "a kernel"


class VariableName(CheckedString):
    """The name of an environment variable."""

    __slots__ = ()
    form = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
    noun = "the name of an environment variable"
