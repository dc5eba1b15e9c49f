"""How a secret is sealed: AES-256-GCM, bound to whose it is and what for.

The binding is the cipher's associated data: a sealed secret that somebody moves to another row of the database, to another
person's or another host's, opens there no more than one that was changed.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guix_build_service.credentials.keys import Key
from guix_environment.errors import InvalidInput

LONGEST = 2000
"""Characters of a user name or a password."""

_NONCE = 12
"""Bytes; random, as NIST SP 800-38D, 8.2.2 has it: far fewer than 2**32 secrets are sealed with one key."""


class SealBroken(Exception):
    """No key opens it, or it is not what was sealed for this place."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens a repository; never shown, not even as a value in a trace."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse (`InvalidInput`) what Git's protocol for credentials has no way to say."""
        for text in (self.user, self.password):
            if not text or len(text) > LONGEST or not text.isprintable():
                raise InvalidInput("A user name and a password or token are one line each, and not empty.")

    @classmethod
    def from_plain(cls, plain: bytes) -> Self:
        """Return the secret of which PLAIN was what `plain` returned."""
        user, password = json.loads(plain)
        return cls(user, password)

    def plain(self) -> bytes:
        """Return the secret as it is sealed."""
        return json.dumps([self.user, self.password]).encode()


class Kind(StrEnum):
    """What opens repositories: each of a person's hosts may have one of each."""

    PASSWORD = "password"  # noqa: S105  # nosec B105 - the name of a kind
    """A token or password, for addresses of HTTPS."""
    SSH_KEY = "ssh-key"
    """A private key, for addresses of SSH."""


class Bound(Protocol):
    """Where a secret belongs, of whatever kind that is."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    def associated(self) -> bytes:
        """Return the bytes that a secret sealed for this place is bound to, the same for no other place."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person's credential belongs."""

    identifier: str
    owner: str
    host: str
    kind: Kind = Kind.PASSWORD

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"the credential {self.identifier}"

    def associated(self) -> bytes:
        """Return the bytes that a secret sealed for this place is bound to, the same for no other place."""
        purpose = "credential" if self.kind is Kind.PASSWORD else self.kind.value
        return json.dumps([f"guix-build-service/{purpose}/1", self.identifier, self.owner, self.host]).encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed secret, as the database keeps it."""

    key: str
    """Which key sealed it."""
    nonce: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """A credential as it is kept."""

    place: Place
    sealed: Sealed
    created: datetime
    used: datetime | None = None
    """When Git was given it last."""
    refused: datetime | None = None
    """When its host last did not accept it; None since it was accepted again."""
    fingerprint: str = ""
    """Of a key, by which its owner and the host know it; it tells nothing of the key."""


def seal(plain: bytes, place: Bound, keys: Sequence[Key]) -> Sealed:
    """Return what is secret in PLAIN sealed for PLACE by the first of KEYS."""
    key, nonce = keys[0], os.urandom(_NONCE)
    return Sealed(key.identifier, nonce, AESGCM(key.material).encrypt(nonce, plain, place.associated()))


def unseal(sealed: Sealed, place: Bound, keys: Sequence[Key]) -> bytes:
    """Return the bytes that were SEALED for PLACE.  Raises `SealBroken`."""
    for key in keys:
        if key.identifier == sealed.key:
            try:
                return AESGCM(key.material).decrypt(sealed.nonce, sealed.content, place.associated())
            except InvalidTag:
                raise SealBroken("It is not what was sealed for this place.") from None
    raise SealBroken("None of the keys sealed it.")
