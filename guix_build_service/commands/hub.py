"""The hub's own API, as far as commands ask it for tokens: with the caller's token, and about the caller alone.

Every method raises `RefusedByService`, `ServiceUnreachable` and `AnswerNotUnderstood`.
https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from guix_build_service.commands.access import Access
from guix_build_service.commands.outcomes import AnswerNotUnderstood, CommandMisused, RefusedByService
from guix_build_service.commands.transport import LARGEST_ANSWER, Transport

_Model = TypeVar("_Model", bound=BaseModel)


class Token(BaseModel):
    """A token as the hub describes it: everything but itself."""

    model_config = ConfigDict(frozen=True)

    id: str
    note: str | None = None
    scopes: tuple[str, ...] = ()
    created: datetime | None = None
    expires_at: datetime | None = None
    last_activity: datetime | None = None


class NewToken(Token):
    """A token that was just made, which the hub shows this once."""

    token: str


class _Tokens(BaseModel):
    api_tokens: tuple[Token, ...]


class _Caller(BaseModel):
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub of the service that ACCESS is for."""

    access: Access

    @property
    def service(self) -> str:
        """The service's name at the hub."""
        return self.access.address.rstrip("/").rpartition("/")[2]

    @property
    def scope(self) -> str:
        """The scope that lets a token in at the service."""
        return f"access:services!service={self.service}"

    def caller(self) -> str:
        """Return the name of the user whose token it is."""
        found = self._ask("GET", "user", _Caller)
        if found.kind != "user":
            raise AnswerNotUnderstood("The token is a service's, which has no tokens of its own.", hint="Use a user's.")
        return found.name

    def tokens(self, user: str) -> tuple[Token, ...]:
        """Return those tokens of USER that let in at the service."""
        found = self._ask("GET", f"users/{quote(user, safe='')}/tokens", _Tokens).api_tokens
        return tuple(token for token in found if self._lets_in(token))

    def create(self, user: str, note: str, scopes: tuple[str, ...], seconds: int | None) -> NewToken:
        """Make a token of USER with SCOPES that ends after SECONDS, or never."""
        body: dict[str, object] = {"note": note, "scopes": list(scopes)}
        if seconds is not None:
            body["expires_in"] = seconds
        return self._ask("POST", f"users/{quote(user, safe='')}/tokens", NewToken, body)

    def revoke(self, user: str, token: str) -> None:
        """Have a token of USER be none any more."""
        with self._transport().ask("DELETE", f"users/{quote(user, safe='')}/tokens/{quote(token, safe='')}"):
            pass

    def _lets_in(self, token: Token) -> bool:
        return not {self.scope, "access:services", "inherit"}.isdisjoint(token.scopes)

    def _ask(self, method: str, path: str, gives: type[_Model], body: Mapping[str, object] | None = None) -> _Model:
        with self._transport().ask(method, path, body) as answer:
            try:
                return gives.model_validate_json(answer.whole())
            except ValidationError as error:
                raise AnswerNotUnderstood(
                    "What answers in the hub's place is not a hub.", hint="Check the service's address."
                ) from error

    def _transport(self) -> Transport:
        if self.access.local is not None:
            raise CommandMisused(
                "Tokens are the hub's, which does not know who asks here.", hint="Give --service, and a token of your own."
            )
        base = self.access.address.partition("/services/")[0]
        return Transport(self.access, f"{base}/hub/api/", _refusal)


def _refusal(error: HTTPError, host: str) -> RefusedByService | AnswerNotUnderstood:
    """Return what ERROR, the answer of the hub at HOST, says."""
    if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
        return AnswerNotUnderstood(f"{host} sends elsewhere, where the token must not go.", hint="Check the address.")
    try:
        said = str(dict(json.loads(error.read(LARGEST_ANSWER)))["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        said = error.reason
    hint = "The token that you use needs the scope tokens for this." if error.code == HTTPStatus.FORBIDDEN else ""
    return RefusedByService(error.code, {"code": "refused-by-hub", "message": f"The hub refuses this: {said}", "hint": hint})
