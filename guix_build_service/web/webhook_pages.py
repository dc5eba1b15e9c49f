"""The page of a webhook that was made just now: what to enter at the forge."""

from guix_build_service.web.api import identified
from guix_build_service.web.environment_pages import EnvironmentPages
from guix_build_service.web.webhooks import addresses
from guix_environment.identifiers import EnvironmentId


class WebhookForm(EnvironmentPages):
    """Where an environment's webhook is made and removed; a page that asks first, for browsers without scripts."""

    route = "environments/{environment}/webhook"

    async def get(self, environment: str) -> None:
        """Ask; where there is none, the environment's page has the button to make one."""
        card = await self.card(environment)
        identifier = card.detail.environment.id
        if await self.manager.webhook(identifier, self.person) is None:
            self.go(f"environments/{identifier}")
            return
        self.render_page("change_webhook.html", card=card)

    async def post(self, environment: str) -> None:
        """Remove it, or make one and show, this once, its secret."""
        identifier = identified(EnvironmentId, environment)
        if self.get_body_argument("remove", "") == "yes":
            await self.manager.remove_webhook(identifier, self.person)
            self.go(f"environments/{identifier}")
            return
        _, secret = await self.manager.make_webhook(identifier, self.person)
        shown = addresses(self.request, self.web.prefix, identifier)
        self.render_page("webhook.html", card=await self.card(environment), addresses=shown, secret=secret)
