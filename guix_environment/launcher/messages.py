"""What hub and launcher say to each other: lists of words, each a byte string, over a stream socket.

JSON would do as well, and costs the launcher a third of its time to import.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` costs the launcher more time than its own modules
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LENGTH = 4
"""Bytes of each number: how long a word is, and a message."""

LONGEST = 64 * 1024 * 1024
"""Bytes of a whole message that are believed."""


def join(words: Iterable[bytes]) -> bytes:
    """Return WORDS as one word, for `split`."""
    return b"".join(len(word).to_bytes(_LENGTH, "big") + word for word in words)


def split(joined: bytes) -> list[bytes]:
    """Return the words that JOINED was made of.  Raises `ValueError` for what `join` did not make."""
    words, position = [], 0
    while position < len(joined):
        length = int.from_bytes(joined[position : position + _LENGTH], "big")
        position += _LENGTH
        words.append(joined[position : position + length])
        position += length
    if position != len(joined):
        raise ValueError("A message between hub and launcher is cut off.")
    return words


def message(*words: bytes) -> bytes:
    """Return WORDS as one message to send."""
    joined = join(words)
    return len(joined).to_bytes(_LENGTH, "big") + joined


def receive(read: Callable[[int], bytes]) -> list[bytes] | None:
    """Return the words of the next message, or None when the other end is closed.

    READ returns at most as many bytes as it is asked for, and none when there will be no more.  Raises `ValueError` for
    what is no message.
    """
    head = _exactly(read, _LENGTH)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > LONGEST:
        raise ValueError("A message between hub and launcher is too long.")
    joined = _exactly(read, length)
    return None if joined is None else split(joined)


def _exactly(read: Callable[[int], bytes], length: int) -> bytes | None:
    parts, missing = [], length
    while missing:
        block = read(missing)
        if not block:
            return None
        parts.append(block)
        missing -= len(block)
    return b"".join(parts)
