"""Secrets that rest sealed, and what becomes of them when the keys change: all are sealed anew, with the service running."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from guix_build_service.credentials.envelope import Bound, SealBroken, Sealed, seal, unseal
from guix_build_service.credentials.keys import Key, KeysUnusable
from guix_environment.errors import CredentialUnusable

log = logging.getLogger("guix_build_service.vault")


class KeySource(Protocol):
    """Where keys come from."""

    def keys(self) -> Sequence[Key]:
        """Return the keys as they are now, the one that seals first.  Blocks for a moment.  Raises `KeysUnusable`."""


class Kept(Protocol):
    """A row with a sealed secret."""

    @property
    def place(self) -> Bound:
        """Where the secret belongs."""

    @property
    def sealed(self) -> Sealed:
        """The secret."""


_Kept = TypeVar("_Kept", bound=Kept)


class SealedRows(Protocol[_Kept]):
    """The rows of one kind of secret."""

    async def sealed_otherwise(self, key: str) -> list[_Kept]:
        """Return all that another key than KEY sealed."""

    async def seal_again(self, before: _Kept, sealed: Sealed) -> None:
        """Keep the secret of BEFORE as it is SEALED now, unless it was replaced meanwhile."""


class Seals:
    """What seals and opens the secrets of one kind of rows.  All coroutines; none blocks the loop."""

    def __init__(self, source: KeySource, rows: SealedRows[_Kept]) -> None:
        self._source = source
        self._rows: SealedRows[_Kept] = rows
        self._newest = ""
        self._sealing = asyncio.Lock()

    async def seal(self, plain: bytes, place: Bound) -> Sealed:
        """Return what is secret in PLAIN sealed for PLACE.  Raises `CredentialUnusable` where there is no key."""
        return seal(plain, place, await self.keys())

    async def keys(self) -> Sequence[Key]:
        """Return the keys, and seal everything anew when another one is the newest.  Raises `CredentialUnusable`."""
        try:
            keys = await asyncio.to_thread(self._source.keys)
        except KeysUnusable as error:
            log.error("The key of credentials cannot be used: %s", error)  # noqa: TRY400 - the reason is all there is to say
            raise CredentialUnusable(
                "This hub cannot keep credentials now.", hint="Tell its administrator: the service's log says why."
            ) from None
        async with self._sealing:
            if keys[0].identifier != self._newest:
                await self._seal_all(keys)
                self._newest = keys[0].identifier
        return keys

    async def begin(self) -> None:
        """Seal with the newest key whatever another one sealed.  What no key opens is left as it is, and logged."""
        try:
            await self.keys()
        except CredentialUnusable:
            log.warning("Credentials for private repositories cannot be kept: there is no usable key.")

    async def _seal_all(self, keys: Sequence[Key]) -> None:
        lost = 0
        others = await self._rows.sealed_otherwise(keys[0].identifier)
        for kept in others:
            try:
                plain = unseal(kept.sealed, kept.place, keys)
            except SealBroken:
                lost += 1
                continue
            await self._rows.seal_again(kept, seal(plain, kept.place, keys))
        if others:
            log.info("%d credentials are sealed with the newest key now.", len(others) - lost)
        if lost:
            log.warning("%d credentials are sealed with a key that is no longer there.", lost)


def opened(kept: Kept, keys: Sequence[Key]) -> bytes | None:
    """Return what was sealed in KEPT, or None, which is logged, where none of KEYS opens it there."""
    try:
        return unseal(kept.sealed, kept.place, keys)
    except SealBroken as error:
        log.error("%s cannot be opened: %s", kept.place.name, error)  # noqa: TRY400 - no trace of a secret
        return None
