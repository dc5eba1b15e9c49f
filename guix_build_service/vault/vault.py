"""People's credentials for private repositories: set, listed without the secret, removed, and lent to Git.

A credential belongs to one person and one host. Only Git commands that run for that person, to that host, are lent it; to
share an environment shares its profile and never what fetched it. Secrets rest sealed (`credentials.envelope`, `seals`).
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from guix_build_service.credentials.agent import offered
from guix_build_service.credentials.envelope import Kept, Kind, Place, Secret
from guix_build_service.credentials.loans import Loan, lent
from guix_build_service.credentials.ssh_keys import SshKey
from guix_build_service.logs.audit import Action, deed
from guix_build_service.logs.redaction import forms
from guix_build_service.model.environments import now
from guix_build_service.store.credentials import CredentialRows
from guix_build_service.vault.login_tokens import LoginTokens
from guix_build_service.vault.seals import KeySource, Seals, opened
from guix_environment.errors import CredentialUnusable, InvalidInput, NotFound
from guix_environment.identifiers import Token
from guix_environment.repository_url import RepositoryUrl

log = logging.getLogger("guix_build_service.vault")

MOST_CREDENTIALS = 100
"""Tokens, passwords and keys that one person may keep."""

Opener = Secret | SshKey
"""What opens repositories."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What somebody says opens the repositories of a host, and what nobody tried yet."""

    host: str
    opener: Opener


class Vault:
    """The credentials of all people.  All coroutines; none blocks the loop."""

    def __init__(
        self, rows: CredentialRows, source: KeySource, folder: Path, login_tokens: LoginTokens | None = None
    ) -> None:
        self._rows = rows
        self._seals = Seals(source, rows)
        self._folder = folder
        self._login_tokens = login_tokens
        self._offers: dict[str, _Offer] = {}

    async def credentials(self, owner: str) -> list[Kept]:
        """Return what OWNER keeps, by host; nothing that is secret can be read from it."""
        return await self._rows.of(owner)

    async def put(self, owner: str, host: str, opener: Opener) -> Kept:
        """Keep OPENER for OWNER and HOST, in the place of an earlier one of its kind.

        Raises `InvalidInput` for what is no host, or one too many, and `CredentialUnusable` where there is no key.
        """
        kind = _kind(opener)
        host = checked_host(host, kind)
        known = await self._rows.of(owner)
        if len(known) >= MOST_CREDENTIALS and (host, kind) not in {(each.place.host, each.place.kind) for each in known}:
            raise InvalidInput(f"You keep {MOST_CREDENTIALS} credentials already.", hint="Remove one first.")
        place = Place(Token.new(), owner, host, kind)
        fingerprint = opener.fingerprint if isinstance(opener, SshKey) else ""
        kept = Kept(place, await self._seals.seal(opener.plain(), place), now(), fingerprint=fingerprint)
        await self._rows.put(kept, deed(owner, Action.SET_CREDENTIAL, about=_about(host, kind)))
        log.info("%r set a credential for %s.", owner, host)
        return kept

    @asynccontextmanager
    async def trying(self, owner: str, url: RepositoryUrl, opener: Opener) -> AsyncIterator[str]:
        """Yield a borrower to whom OPENER is lent for the host of URL, before it is kept, and keep it for OWNER after.

        Where the context raises, such as because the host does not accept it, OPENER is forgotten, and what OWNER kept
        before stays. Raises as `put` does, and `InvalidInput` for a URL without a host, and one that it does not open.
        """
        if not url.host:
            raise InvalidInput("A repository in a folder needs no credentials.", hint="Leave them out.")
        if _kind(opener) is not _kind_for(url):
            raise InvalidInput(
                "An SSH key opens addresses such as git@codeberg.org:somebody/analysis, and a token those of HTTPS.",
                hint="Give the address that goes with what opens it.",
            )
        borrower = f"{owner}/{Token.new()}"
        self._offers[borrower] = _Offer(url.authority, opener)
        try:
            yield borrower
        finally:
            del self._offers[borrower]
        await self.put(owner, url.authority, opener)

    async def remove(self, owner: str, host: str, kind: Kind | None = None) -> None:
        """Forget what OWNER keeps for HOST, of KIND or of all.  Raises `NotFound`."""
        host = _as_host(host, kind or Kind.PASSWORD)
        about = _about(host, kind)
        if not await self._rows.remove(owner, host, kind, deed(owner, Action.REMOVED_CREDENTIAL, about=about)):
            raise NotFound("You keep no credential for this host.")
        log.info("%r removed a credential for %s.", owner, host)

    async def has(self, owner: str, url: RepositoryUrl) -> bool:
        """Tell whether OWNER, a person or a borrower, has what may open URL, as far as is known before Git asks."""
        return owner in self._offers or self._may_have_token(owner, url) or await self._kept(owner, url) is not None

    async def keeps(self, owner: str, url: RepositoryUrl) -> bool:
        """Tell whether OWNER keeps here what may open URL."""
        return await self._kept(owner, url) is not None

    @asynccontextmanager
    async def lend(self, owner: str, url: RepositoryUrl) -> AsyncIterator[Loan | None]:
        """Yield what lends Git OWNER's credential for URL; None where there is none.

        OWNER is a person, or a borrower of `trying`. Raises `CredentialUnusable` when there is one and it cannot be opened.
        """
        if (offer := self._offers.get(owner)) is not None and offer.host == url.authority:
            async with self._loan(offer.opener, url) as loan:
                yield loan
            return
        kept = await self._kept(owner, url)
        if kept is None and self._may_have_token(owner, url):
            async with self._token_of_login(owner, url) as loan:
                yield loan
            return
        if kept is None:
            yield None
            return
        async with self._loan(await self._opened(kept), url) as loan:
            try:
                yield loan
            finally:
                if loan.asked:
                    moment = now()
                    await self._rows.note(kept.place.identifier, used=moment, refused=moment if loan.refused else None)

    async def to_keep_out(self, owner: str, url: RepositoryUrl) -> tuple[str, ...]:
        """Return what must be in no log of what OWNER has done with URL: their password for its host, however it is written.

        A key is given to nobody who could write it down, and the token of a login to Git alone. Raises
        `CredentialUnusable` as `lend` does.
        """
        kept = await self._kept(owner, url)
        opener = await self._opened(kept) if kept is not None else None
        return forms(opener.password) if isinstance(opener, Secret) else ()

    async def begin(self) -> None:
        """Remove what a run that was killed left, and seal with the newest key whatever another one sealed.

        What no key opens is left as it is, and logged.
        """
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._seals.begin()

    async def look_at_logins(self) -> None:
        """Find out whether the tokens of people's logins can be read, where the administrator has some used."""
        if self._login_tokens is not None:
            await self._login_tokens.look()

    @property
    def logins_hindrance(self) -> str:
        """Why the tokens of people's logins cannot be read; empty where they can, or none are to be used."""
        return self._login_tokens.hindrance if self._login_tokens is not None else ""

    def _may_have_token(self, owner: str, url: RepositoryUrl) -> bool:
        return (
            bool(owner) and owner not in self._offers and self._login_tokens is not None and self._login_tokens.may_open(url)
        )

    @asynccontextmanager
    async def _token_of_login(self, owner: str, url: RepositoryUrl) -> AsyncIterator[Loan]:
        """Yield what lends Git the token with which OWNER logged in, read from the hub once it is wanted.

        Raises what kept it from being read.
        """
        assert self._login_tokens is not None
        async with lent(partial(self._login_tokens.secret, owner, url), url, self._folder) as loan:
            yield loan
        if loan.failure is not None:
            raise loan.failure
        if loan.refused:
            log.warning("%s did not accept the token with which %r logged in; it may have expired.", url.authority, owner)

    async def _kept(self, owner: str, url: RepositoryUrl) -> Kept | None:
        """Return what OWNER keeps that is for addresses such as URL."""
        return await self._rows.of_host(owner, url.authority, _kind_for(url)) if owner and url.host else None

    def _loan(self, opener: Opener, url: RepositoryUrl) -> AbstractAsyncContextManager[Loan]:
        if isinstance(opener, SshKey):
            return offered(opener, url, self._folder)
        return lent(opener, url, self._folder)

    async def _opened(self, kept: Kept) -> Opener:
        keys = await self._seals.keys()
        place = kept.place
        again = await self._rows.of_host(place.owner, place.host, place.kind) or kept
        if plain := opened(again, keys):
            return (
                await asyncio.to_thread(SshKey.from_plain, plain) if place.kind is Kind.SSH_KEY else Secret.from_plain(plain)
            )
        raise CredentialUnusable(
            f"What you keep for {kept.place.host} cannot be read any more.",
            hint="Set it again: enter the token, password or key for this host once more.",
        )


def _kind(opener: Opener) -> Kind:
    return Kind.SSH_KEY if isinstance(opener, SshKey) else Kind.PASSWORD


def _kind_for(url: RepositoryUrl) -> Kind:
    """Return what opens URL, as far as anything does."""
    return Kind.SSH_KEY if url.scheme == "ssh" else Kind.PASSWORD


def _about(host: str, kind: Kind | None) -> dict[str, object]:
    """Return what the audit log says; of the most usual kind, and of all, the host alone."""
    return {"host": host, "kind": kind.value} if kind is Kind.SSH_KEY else {"host": host}


def checked_host(text: str, kind: Kind = Kind.PASSWORD) -> str:
    """Return the host in TEXT, with its port where that is not the usual one, as addresses opened by KIND have it.

    Raises `InvalidInput`.
    """
    refused = InvalidInput("This is not the name of a host.", hint="Write it as codeberg.org, or git.example:3000")
    if "/" in text or text != text.strip():
        raise refused
    begin = "ssh://git@" if kind is Kind.SSH_KEY else "https://"
    try:
        return RepositoryUrl.parse(f"{begin}{text}/repository").authority
    except InvalidInput:
        raise refused from None


def _as_host(text: str, kind: Kind) -> str:
    """Return the host in TEXT.  Raises `NotFound`: of what is no host nobody keeps anything."""
    try:
        return checked_host(text, kind)
    except InvalidInput:
        raise NotFound("You keep no credential for this host.") from None
