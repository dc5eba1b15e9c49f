"""How SSH writes texts and numbers (RFC 4251, 5)."""

import struct


class NotThis(Exception):
    """Bytes that are not what was to be read."""


class Reading:
    """Takes apart what another program sent, from its beginning on.  What goes on otherwise raises `NotThis`."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def byte(self) -> int:
        """Return the next byte."""
        return self._next(1)[0]

    def number(self) -> int:
        """Return the next number of four bytes."""
        return int(struct.unpack(">I", self._next(4))[0])

    def string(self) -> bytes:
        """Return the next text, of which the length stands before it."""
        return self._next(self.number())

    def _next(self, length: int) -> bytes:
        if len(self._rest) < length:
            raise NotThis
        found, self._rest = self._rest[:length], self._rest[length:]
        return found


def string(content: bytes) -> bytes:
    """Return CONTENT with its length before it."""
    return struct.pack(">I", len(content)) + content


def whole_number(number: int) -> bytes:
    """Return NUMBER, which is not negative, with its length before it ("mpint")."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")
