"""The secret that a forge proves to know when it tells of pushes, as it is kept for an environment."""

import json
from dataclasses import dataclass
from datetime import datetime

from guix_build_service.credentials.envelope import Sealed
from guix_environment.identifiers import EnvironmentId


@dataclass(frozen=True, slots=True)
class HookPlace:
    """Where a webhook's secret belongs."""

    environment: EnvironmentId

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"the webhook of {self.environment}"

    def associated(self) -> bytes:
        """Return the bytes that a secret sealed for this place is bound to, the same for no other place."""
        return json.dumps(["guix-build-service/webhook/1", self.environment]).encode()


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as it is kept."""

    place: HookPlace
    sealed: Sealed
    created: datetime
    used: datetime | None = None
    """When a forge last proved to know it."""
