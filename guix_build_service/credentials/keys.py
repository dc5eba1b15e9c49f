"""The keys that credentials are encrypted with: from the hub's variable, or from a file of the service's own.

As in JupyterHub (``jupyterhub.crypto``), there may be several: the first one seals, all of them open. To change a key, put
the new one first, and take the old one away once everything is sealed anew.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LENGTH = 32
"""Bytes of a key."""

_PURPOSE = b"guix-build-service/credentials/1"
"""So that the same secret, used for something else, gives another key (RFC 5869, ``info``)."""

_HEX = re.compile(r"[0-9a-fA-F]{64}")


class KeysUnusable(Exception):
    """There is no key, or one that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key to seal credentials with."""

    identifier: str
    """Sixteen characters that tell it from others and tell nothing of it."""
    material: bytes

    @classmethod
    def derived_from(cls, secret: bytes) -> "Key":
        """Return the key that SECRET gives for this one purpose (HKDF, RFC 5869)."""
        material = HKDF(algorithm=SHA256(), length=LENGTH, salt=None, info=_PURPOSE).derive(secret)
        return cls(hashlib.sha256(b"identifier of " + material).hexdigest()[:16], material)


def parse_keys(text: str) -> tuple[Key, ...]:
    """Return the keys in TEXT, the one that seals first.

    They are separated by ``;`` or stand on lines of their own, each 32 bytes as hexadecimal digits or in base64. Raises
    `KeysUnusable` for anything else, and for none.
    """
    words = [word.strip() for word in re.split(r"[;\n]", text) if word.strip()]
    if not words:
        raise KeysUnusable("There is no key. Make one with `openssl rand -hex 32`.")
    return tuple(Key.derived_from(_decoded(word)) for word in words)


def _decoded(word: str) -> bytes:
    if _HEX.fullmatch(word):
        return bytes.fromhex(word)
    try:
        secret = base64.b64decode(word, altchars=b"-_" if {"-", "_"} & set(word) else None, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != LENGTH:
        raise KeysUnusable("A key is not 32 bytes, in hexadecimal digits or base64. Make one with `openssl rand -hex 32`.")
    return secret


class KeyFile:
    """Keys in a file, which is read again whenever it was changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._keys: tuple[Key, ...] = ()

    def keys(self) -> Sequence[Key]:
        """Return the keys in the file now.  Blocks for a moment.

        Raises `KeysUnusable`, also when the file is a link, is not ours alone or is not there.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise KeysUnusable(f"{self._path} cannot be read: {error.strerror}.") from error
        with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise KeysUnusable(f"{self._path} can be read by others than the service. Make it its own, with mode 0600.")
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._keys = parse_keys(file.read(16 * 1024))
                self._seen = seen
        return self._keys


class GivenKeys:
    """Keys that stay as they are, such as those of ``JUPYTERHUB_CRYPT_KEY``."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def keys(self) -> Sequence[Key]:
        """Return them."""
        return self._keys


class KeysAndEarlier:
    """Keys that came later than those in a file, which open still what they sealed, for as long as they are there."""

    def __init__(self, keys: KeyFile | GivenKeys, earlier: KeyFile) -> None:
        self._source = keys
        self._earlier = earlier

    def keys(self) -> Sequence[Key]:
        """Return them all.  Raises `KeysUnusable` where the later ones cannot be used.  Blocks for a moment."""
        keys = self._source.keys()
        try:
            return (*keys, *self._earlier.keys())
        except KeysUnusable:
            return keys
