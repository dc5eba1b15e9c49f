"""A secret, such as the one that signs cookies: made once, kept in a file that nobody else can read."""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

LENGTH = 32
"""Bytes of randomness."""


class SecretFileUnsafe(Exception):
    """The file is not one that a secret may be taken from; the message says why and what to do."""


def random_bytes() -> bytes:
    """Return a new secret."""
    return secrets.token_bytes(LENGTH)


def random_line() -> bytes:
    """Return a new secret as a line of text."""
    return f"{secrets.token_hex(LENGTH)}\n".encode()


def read_or_make_secret(path: Path, new: Callable[[], bytes] = random_bytes) -> bytes:
    """Return the secret in PATH, which is made first, by NEW, when it is not there.

    The file appears whole and with mode 0600, and of two processes that make it at once one wins and both get the same.
    Blocks for a moment. Raises `SecretFileUnsafe` when PATH belongs to somebody else, can be read by others or is too short,
    and `OSError`, also when it is a link.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path, new())
        return _read(path)


def _make(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # O_EXCL and 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)  # unlike a rename, it never takes the place of another's
        except FileExistsError:
            return
    finally:
        Path(name).unlink()


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise SecretFileUnsafe(f"{path} can be read by others. Remove it; everybody will have to log in again.")
        content = file.read(4096)
    if len(content) < LENGTH:
        raise SecretFileUnsafe(f"{path} is too short for a secret. Remove it; everybody will have to log in again.")
    return content
