"""People's credentials for private repositories: set, listed without the secret, removed, and lent to Git.

A credential belongs to one person and one host. Only Git commands that run for that person, to that host, are lent it; to
share an environment shares its profile and never what fetched it. Secrets rest sealed (`credentials.envelope`, `seals`).
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from guix_build_service.credentials.envelope import Kept, Place, Secret
from guix_build_service.credentials.loans import Loan, lent
from guix_build_service.logs.audit import Action, deed
from guix_build_service.logs.redaction import forms
from guix_build_service.model.environments import now
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.seals import KeySource, Seals, opened
from guix_environment.errors import CredentialUnusable, InvalidInput, NotFound
from guix_environment.identifiers import Token
from guix_environment.repository_url import RepositoryUrl

log = logging.getLogger("guix_build_service.vault")

MOST_CREDENTIALS = 100
"""Hosts that one person may keep a credential for."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What somebody says opens the repositories of a host, and what nobody tried yet."""

    host: str
    secret: Secret


class Vault:
    """The credentials of all people.  All coroutines; none blocks the loop."""

    def __init__(self, rows: CredentialRows, source: KeySource, folder: Path) -> None:
        self._rows = rows
        self._seals = Seals(source, rows)
        self._folder = folder
        self._offers: dict[str, _Offer] = {}

    async def credentials(self, owner: str) -> list[Kept]:
        """Return what OWNER keeps, by host; nothing that is secret can be read from it."""
        return await self._rows.of(owner)

    async def put(self, owner: str, host: str, secret: Secret) -> Kept:
        """Keep SECRET for OWNER and HOST, in the place of an earlier one.

        Raises `InvalidInput` for what is no host, or one too many, and `CredentialUnusable` where there is no key.
        """
        host = checked_host(host)
        known = await self._rows.of(owner)
        if len(known) >= MOST_CREDENTIALS and host not in {each.place.host for each in known}:
            raise InvalidInput(f"You keep credentials for {MOST_CREDENTIALS} hosts already.", hint="Remove one first.")
        place = Place(Token.new(), owner, host)
        kept = Kept(place, await self._seals.seal(secret, place), now())
        await self._rows.put(kept, deed(owner, Action.SET_CREDENTIAL, about={"host": host}))
        log.info("%r set a credential for %s.", owner, host)
        return kept

    @asynccontextmanager
    async def trying(self, owner: str, url: RepositoryUrl, secret: Secret) -> AsyncIterator[str]:
        """Yield a borrower to whom SECRET is lent for the host of URL, before it is kept, and keep it for OWNER after.

        Where the context raises, such as because the host does not accept it, SECRET is forgotten, and what OWNER kept
        before stays. Raises as `put` does, and `InvalidInput` for a URL without a host.
        """
        if not url.host:
            raise InvalidInput("A repository in a folder needs no credentials.", hint="Leave them out.")
        borrower = f"{owner}/{Token.new()}"
        self._offers[borrower] = _Offer(url.authority, secret)
        try:
            yield borrower
        finally:
            del self._offers[borrower]
        await self.put(owner, url.authority, secret)

    async def remove(self, owner: str, host: str) -> None:
        """Forget what OWNER keeps for HOST.  Raises `NotFound`."""
        host = _as_host(host)
        if not await self._rows.remove(owner, host, deed(owner, Action.REMOVED_CREDENTIAL, about={"host": host})):
            raise NotFound("You keep no credential for this host.")
        log.info("%r removed a credential for %s.", owner, host)

    async def has(self, owner: str, url: RepositoryUrl) -> bool:
        """Tell whether OWNER, a person or a borrower, has a credential for the host of URL."""
        if owner in self._offers:
            return True
        return bool(owner and url.host) and await self._rows.of_host(owner, url.authority) is not None

    @asynccontextmanager
    async def lend(self, owner: str, url: RepositoryUrl) -> AsyncIterator[Loan | None]:
        """Yield what lends Git OWNER's credential for URL; None where there is none.

        OWNER is a person, or a borrower of `trying`. Raises `CredentialUnusable` when there is one and it cannot be opened.
        """
        if (offer := self._offers.get(owner)) is not None and offer.host == url.authority:
            async with lent(offer.secret, url, self._folder) as loan:
                yield loan
            return
        kept = await self._rows.of_host(owner, url.authority) if owner and url.host else None
        if kept is None:
            yield None
            return
        async with lent(await self._opened(kept), url, self._folder) as loan:
            try:
                yield loan
            finally:
                if loan.asked:
                    moment = now()
                    await self._rows.note(kept.place.identifier, used=moment, refused=moment if loan.refused else None)

    async def to_keep_out(self, owner: str, url: RepositoryUrl) -> tuple[str, ...]:
        """Return what must be in no log of what OWNER has done with URL: their password for its host, however it is written.

        Raises `CredentialUnusable` as `lend` does.
        """
        kept = await self._rows.of_host(owner, url.authority) if owner and url.host else None
        return forms((await self._opened(kept)).password) if kept is not None else ()

    async def begin(self) -> None:
        """Remove what a run that was killed left, and seal with the newest key whatever another one sealed.

        What no key opens is left as it is, and logged.
        """
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._seals.begin()

    async def _opened(self, kept: Kept) -> Secret:
        keys = await self._seals.keys()
        again = await self._rows.of_host(kept.place.owner, kept.place.host) or kept
        if secret := opened(again, keys):
            return secret
        raise CredentialUnusable(
            f"What you keep for {kept.place.host} cannot be read any more.",
            hint="Set it again: enter the token or password for this host once more.",
        )


def checked_host(text: str) -> str:
    """Return the host in TEXT, with its port where that is not the usual one, as addresses of repositories have it.

    Raises `InvalidInput`.
    """
    refused = InvalidInput("This is not the name of a host.", hint="Write it as codeberg.org, or git.example:3000")
    if "/" in text or text != text.strip():
        raise refused
    try:
        return RepositoryUrl.parse(f"https://{text}/repository").authority
    except InvalidInput:
        raise refused from None


def _as_host(text: str) -> str:
    """Return the host in TEXT.  Raises `NotFound`: of what is no host nobody keeps anything."""
    try:
        return checked_host(text)
    except InvalidInput:
        raise NotFound("You keep no credential for this host.") from None
