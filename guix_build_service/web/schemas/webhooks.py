"""The API's JSON about webhooks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, SecretStr

from guix_build_service.credentials.hooks import Hook
from guix_build_service.web.schemas.fields import Incoming, Outgoing
from guix_build_service.webhooks.deliveries import LEAST_SECRET, LONGEST_SECRET, Forge


class WebhookRequest(Incoming):
    """A webhook that is to be."""

    secret: Annotated[SecretStr, Field(min_length=LEAST_SECRET, max_length=LONGEST_SECRET)] | None = Field(
        default=None, description="What the forge made, where it makes it itself; else one is made here."
    )


class WebhookAnswer(Outgoing):
    """A webhook of an environment."""

    addresses: Mapping[Forge, str] = Field(description="What to enter at the forge as the address, by its kind.")
    created: datetime
    used: datetime | None = Field(description="When a forge last proved to know the secret.")

    @classmethod
    def of(cls, hook: Hook, addresses: Mapping[Forge, str]) -> Self:
        """Return HOOK as the API shows it."""
        return cls(addresses=addresses, created=hook.created, used=hook.used)


class NewWebhookAnswer(WebhookAnswer):
    """A webhook that was made just now."""

    secret: str = Field(description="What to enter at the forge as the secret. It is not shown again.")


class DeliveryAnswer(Outgoing):
    """What came of a delivery."""

    build: str | None = Field(description="The build that it led to; null where nothing is to be built.")
