"""What a forge sends, and the proof that comes with it that it knows the secret.

GitHub signs the body (its documentation, "Validating webhook deliveries"), and so do Gitea and Forgejo, in headers of their
own (their documentation, "Webhooks").  GitLab sends the secret itself, or, where it was entered as a signing token, signs as
Standard Webhooks has it.  No proof is bound to a moment that is checked here: a delivery that comes again is harmless,
because it has the repository looked at and nothing else.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from guix_environment.errors import InvalidInput

LEAST_SECRET = 16
LONGEST_SECRET = 200
"""Characters of a secret that somebody brings along."""

_STANDARD = "whsec_"
"""What secrets of Standard Webhooks begin with; base64 follows."""

_BYTES = 32


class Forge(StrEnum):
    """Whose deliveries are understood."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    FORGEJO = "forgejo"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request that somebody sent who may be a forge."""

    forge: Forge
    headers: Mapping[str, str] = field(repr=False)
    """By name, whatever its case."""
    body: bytes = field(repr=False)
    """As it was sent."""

    def is_proved_by(self, secret: str) -> bool:
        """Tell whether whoever sent this knows SECRET; takes as long where it is not."""
        proofs = [_same(given, right) for given, right in _PROOFS[self.forge](self, secret)]
        return any(proofs)


def new_secret() -> str:
    """Return a secret that every forge takes: 256 bits of randomness."""
    return _STANDARD + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def checked_secret(text: str) -> str:
    """Return TEXT if it can be a secret, else raise `InvalidInput`."""
    if not LEAST_SECRET <= len(text) <= LONGEST_SECRET or any(not "!" <= character <= "~" for character in text):
        raise InvalidInput(
            f"A webhook's secret has {LEAST_SECRET} to {LONGEST_SECRET} letters, digits and signs, and no spaces.",
            hint="Leave it out, and one is made.",
        )
    return text


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(), right.encode())


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)


def _of_github(delivery: Delivery, secret: str) -> Iterator[tuple[str, str]]:
    """Yield what came as a proof, and what it would have to be."""
    right = f"sha256={_digest(secret.encode(), delivery.body).hex()}"
    yield delivery.headers.get("X-Hub-Signature-256", ""), right


def _of_gitea(delivery: Delivery, secret: str) -> Iterator[tuple[str, str]]:
    right = _digest(secret.encode(), delivery.body).hex()
    for name in ("X-Forgejo-Signature", "X-Gitea-Signature"):
        yield delivery.headers.get(name, ""), right


def _of_gitlab(delivery: Delivery, secret: str) -> Iterator[tuple[str, str]]:
    yield delivery.headers.get("X-Gitlab-Token", ""), secret
    about = ".".join(delivery.headers.get(f"Webhook-{name}", "") for name in ("Id", "Timestamp"))
    signed = base64.b64encode(_digest(_standard_key(secret), about.encode() + b"." + delivery.body)).decode()
    for given in delivery.headers.get("Webhook-Signature", "").split(" "):
        yield given, f"v1,{signed}"


def _standard_key(secret: str) -> bytes:
    """Return what Standard Webhooks signs with; of a secret in another form, one that nobody has."""
    try:
        return base64.b64decode(secret.removeprefix(_STANDARD), validate=True)
    except (binascii.Error, ValueError):
        return secrets.token_bytes(_BYTES)


_PROOFS = {Forge.GITHUB: _of_github, Forge.GITLAB: _of_gitlab, Forge.GITEA: _of_gitea, Forge.FORGEJO: _of_gitea}
