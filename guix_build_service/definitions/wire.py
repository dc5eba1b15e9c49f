"""Words of Guix's daemon protocol, read within bounds (``guix/serialization.scm``)."""

import asyncio

from guix_environment.errors import DefinitionsRefused

_WORD = 8


class Wire:
    """What comes from whoever talks to the recorder: numbers and strings, padded to words of eight bytes."""

    def __init__(self, reader: asyncio.StreamReader, most: int) -> None:
        """Read from READER, MOST bytes in all."""
        self._reader = reader
        self._left = most
        self._copy: bytearray | None = None

    async def number(self) -> int:
        """Return the next number.  Raises `DefinitionsRefused`, and `asyncio.IncompleteReadError` at the end."""
        return int.from_bytes(await self._exactly(_WORD), "little")

    async def string(self, longest: int) -> bytes:
        """Return the next string, of no more than LONGEST bytes.  Raises as `number`."""
        length = await self.number()
        if length > longest:
            raise too_much("one of them is too large")
        content = await self._exactly(length)
        if any(await self._exactly(-length % _WORD)):
            raise strange()
        return content

    async def text(self, longest: int) -> str:
        """Return the next string as text.  Raises as `number`."""
        try:
            return (await self.string(longest)).decode()
        except UnicodeDecodeError:
            raise strange() from None

    def copy(self) -> bytearray:
        """Return an array that all which is read from now on is added to, until the next `stop`."""
        self._copy = bytearray()
        return self._copy

    def stop(self) -> None:
        """Copy no further."""
        self._copy = None

    async def _exactly(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise too_much("all of it together is too large")
        content = await self._reader.readexactly(count)
        if self._copy is not None:
            self._copy += content
        return content


def too_much(what: str) -> DefinitionsRefused:
    """Return the error for more than Guix's own packages ever need, where WHAT is beyond the limit."""
    return DefinitionsRefused(
        f"The packages that the manifest makes are more than this hub reads: {what}.",
        hint="Make fewer packages in the manifest, or have them added to a channel of this hub's Guix.",
        details={"limit": what},
    )


def strange() -> DefinitionsRefused:
    """Return the error for what Guix itself never sends."""
    return DefinitionsRefused(
        "The manifest talks to Guix's store in a way that Guix itself does not.",
        hint="Leave out of the manifest whatever opens the store itself, such as with-store.",
    )
