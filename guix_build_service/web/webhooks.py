"""The API's webhooks: made and removed by who may change an environment, and used by forges, whom the hub does not know."""

import math
from collections.abc import Mapping
from http import HTTPStatus

from tornado.httputil import HTTPServerRequest

from guix_build_service.manager.manager import NOTHING_HERE
from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.api import ApiHandler, identified, operation
from guix_build_service.web.auth import Shared
from guix_build_service.web.refusals import TooManyRequests
from guix_build_service.web.schemas.webhooks import DeliveryAnswer, NewWebhookAnswer, WebhookAnswer, WebhookRequest
from guix_build_service.webhooks.deliveries import Delivery, Forge
from guix_environment.errors import NotFound
from guix_environment.identifiers import EnvironmentId

LARGEST_DELIVERY = 1024 * 1024
"""Bytes; GitHub's grow with the commits that were pushed at once, and are far smaller as a rule."""


def addresses(request: HTTPServerRequest | None, prefix: str, environment: EnvironmentId) -> Mapping[Forge, str]:
    """Return where each forge sends what was pushed to the repository of ENVIRONMENT.

    The service, below PREFIX, is where REQUEST found it; without one, only paths are known.
    """
    host = f"{request.protocol}://{request.host}" if request is not None else ""
    return {forge: f"{host}{prefix}api/v1/hooks/{forge}/{environment}" for forge in Forge}


class Webhook(ApiHandler):
    """The webhook of an environment."""

    route = "environments/{environment}/webhook"

    @operation("Show whether an environment has a webhook, and when it was used last", gives=WebhookAnswer)
    async def get(self, environment: str) -> None:
        """Show."""
        identifier = identified(EnvironmentId, environment)
        hook = await self.manager.webhook(identifier, self.person)
        if hook is None:
            raise NotFound("This environment has no webhook.", hint="Make one, and enter it at the forge.")
        self.give(WebhookAnswer.of(hook, self._addresses(identifier)))

    @operation(
        "Have pushes to an environment's repository build ahead; the secret is shown this once",
        takes=WebhookRequest,
        gives=NewWebhookAnswer,
    )
    async def put(self, environment: str) -> None:
        """Make."""
        given = self.body(WebhookRequest).secret
        identifier = identified(EnvironmentId, environment)
        hook, secret = await self.manager.make_webhook(identifier, self.person, given.get_secret_value() if given else "")
        shown = WebhookAnswer.of(hook, self._addresses(identifier))
        self.give(NewWebhookAnswer(**shown.model_dump(), secret=secret))

    @operation("Forget an environment's webhook", statuses=(HTTPStatus.NO_CONTENT,))
    async def delete(self, environment: str) -> None:
        """Forget."""
        await self.manager.remove_webhook(identified(EnvironmentId, environment), self.person)
        self.set_status(HTTPStatus.NO_CONTENT)

    def _addresses(self, environment: EnvironmentId) -> Mapping[Forge, str]:
        # The local socket is at none of the hub's addresses.
        return addresses(None if self.shared.local else self.request, self.shared.settings.prefix, environment)


class Deliveries(AnsweringHandler):
    """Where forges tell that something was pushed.

    Nobody is logged in here, and no cookie is looked at: what counts is the proof that comes with the body. Whatever is not
    proved is answered as if there were nothing, be there an environment or not.
    """

    route = "hooks/{provider}/{environment}"
    largest_body = LARGEST_DELIVERY

    def initialize(self, shared: Shared) -> None:
        """Take what every handler shares; called by tornado for each request."""
        self.shared = shared

    async def prepare(self) -> None:
        """Refuse what is too large, and who asks too often.  Raises `RequestTooLarge`, `TooManyRequests`."""
        await super().prepare()
        if seconds := self.shared.delivering.wait(self.request.remote_ip or ""):
            raise TooManyRequests("More comes from there than any forge sends.", details={"retry_after": math.ceil(seconds)})

    @operation(
        "Tell that a branch or a tag was pushed (for forges: the body and its signature are theirs)",
        gives=DeliveryAnswer,
        statuses=(HTTPStatus.OK, HTTPStatus.ACCEPTED),
        refuses=(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.TOO_MANY_REQUESTS),
    )
    async def post(self, provider: str, environment: str) -> None:
        """Build ahead."""
        identifier = identified(EnvironmentId, environment)
        if provider not in set(Forge):
            raise NotFound(NOTHING_HERE)
        delivery = Delivery(Forge(provider), self.request.headers, self.request.body)
        build = await self.shared.manager.take_delivery(identifier, delivery)
        self.set_status(HTTPStatus.ACCEPTED if build is not None else HTTPStatus.OK)
        self.write(DeliveryAnswer(build=build.id if build is not None else None).model_dump())
