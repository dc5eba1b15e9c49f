"""Webhooks of environments: the secret that a forge proves to know is made, kept sealed, and never shown again."""

import logging

from guix_build_service.credentials.envelope import Secret
from guix_build_service.credentials.hooks import Hook, HookPlace
from guix_build_service.logs.audit import Action, deed
from guix_build_service.model.environments import Environment, now
from guix_build_service.store.webhooks import WebhookRows
from guix_build_service.vault.seals import KeySource, Seals, opened
from guix_build_service.webhooks.deliveries import Delivery, checked_secret, new_secret
from guix_environment.errors import NotFound
from guix_environment.identifiers import EnvironmentId

log = logging.getLogger("guix_build_service.hooks")

_USER = "webhook"
"""What stands for the user in a sealed secret that has none."""


class Hooks:
    """The webhooks of all environments.  All coroutines; none blocks the loop."""

    def __init__(self, rows: WebhookRows, source: KeySource) -> None:
        self._rows = rows
        self._seals = Seals(source, rows)

    async def begin(self) -> None:
        """Seal with the newest key whatever another one sealed."""
        await self._seals.begin()

    async def of(self, environment: EnvironmentId) -> Hook | None:
        """Return the webhook of ENVIRONMENT, if it has one; its secret cannot be read from it."""
        return await self._rows.of(environment)

    async def make(self, environment: Environment, who: str, given: str = "") -> tuple[Hook, str]:
        """Have WHO make a webhook of ENVIRONMENT, in the place of an earlier one; return it with its secret.

        The secret is made, unless one is GIVEN. Raises `InvalidInput`, and `CredentialUnusable` where there is no key.
        """
        secret = checked_secret(given) if given else new_secret()
        place = HookPlace(environment.id)
        hook = Hook(place, await self._seals.seal(Secret(_USER, secret).plain(), place), now())
        await self._rows.put(hook, deed(who, Action.SET_WEBHOOK, environment))
        log.info("%r set a webhook of %s.", who, environment.id)
        return hook, secret

    async def remove(self, environment: Environment, who: str) -> None:
        """Have WHO forget the webhook of ENVIRONMENT.  Raises `NotFound`."""
        if not await self._rows.remove(environment.id, deed(who, Action.REMOVED_WEBHOOK, environment)):
            raise NotFound("This environment has no webhook.")
        log.info("%r removed the webhook of %s.", who, environment.id)

    async def prove(self, environment: EnvironmentId, delivery: Delivery) -> bool:
        """Tell whether DELIVERY is from a forge that knows the secret of ENVIRONMENT.

        Where there is no secret, no environment or no such forge, it takes the same steps to say no.
        """
        hook, keys = await self._rows.of(environment), await self._seals.keys()
        plain = opened(hook, keys) if hook is not None else None
        kept = Secret.from_plain(plain) if plain is not None else None
        return delivery.is_proved_by(kept.password if kept is not None else new_secret())

    async def note(self, environment: EnvironmentId) -> None:
        """Note that a forge proved to know the secret of ENVIRONMENT now."""
        await self._rows.note(environment, now())
