"""The paths that Guix's daemon gives to what is added to the store, computed from content alone.

They follow ``nix/libstore/store-api.cc`` of Guix (``makeStorePath``, ``computeStorePathForText``, ``makeFixedOutputPath``),
so that an item with another content than its path says cannot be written down here.
"""

import hashlib
from collections.abc import Sequence

from guix_environment.container import STORE
from guix_environment.identifiers import StorePath

_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
_HASH_BYTES = 20


def text_path(name: str, content: bytes, references: Sequence[StorePath]) -> StorePath:
    """Return the path of the text CONTENT that refers to REFERENCES.

    Raises `InvalidInput` for a NAME that no item can have, as the others do.
    """
    kind = ":".join(["text", *sorted(references)])
    return _path(kind, hashlib.sha256(content).digest(), name)


def tree_path(name: str, archive: bytes) -> StorePath:
    """Return the path of the files in ARCHIVE, in Guix's own format."""
    return _path("source", hashlib.sha256(archive).digest(), name)


def file_path(name: str, content: bytes) -> StorePath:
    """Return the path of the one file of CONTENT, whatever its mode."""
    inner = f"fixed:out:sha256:{hashlib.sha256(content).hexdigest()}:"
    return _path("output:out", hashlib.sha256(inner.encode()).digest(), name)


def _path(kind: str, digest: bytes, name: str) -> StorePath:
    described = hashlib.sha256(f"{kind}:sha256:{digest.hex()}:{STORE}:{name}".encode()).digest()
    folded = bytearray(_HASH_BYTES)
    for index, byte in enumerate(described):
        folded[index % _HASH_BYTES] ^= byte
    return StorePath(f"{STORE}/{base32(bytes(folded))}-{name}")


def base32(content: bytes) -> str:
    """Return CONTENT as Guix writes hashes (``nix/libutil/hash.cc``, ``printHash32``)."""
    number = int.from_bytes(content, "little")
    length = (len(content) * 8 + 4) // 5
    return "".join(_DIGITS[(number >> (5 * position)) & 31] for position in reversed(range(length)))
