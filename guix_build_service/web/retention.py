"""The API's retention: what would be let go and why, and letting it go, for administrators."""

from guix_build_service.web.api import ApiHandler, operation
from guix_build_service.web.schemas.retention import RetentionAnswer, RetentionQuery, RetentionRequest


class Retention(ApiHandler):
    """Which profiles are kept from Guix's collector."""

    route = "retention"

    @operation(
        "See which profiles would be let go, why, and what that frees; for administrators",
        gives=RetentionAnswer,
        query=RetentionQuery,
    )
    async def get(self) -> None:
        """See."""
        rules = self.query(RetentionQuery).rules(self.manager.retainer.schedule.rules)
        self.give(RetentionAnswer.of(await self.manager.retention(self.person, rules)))

    @operation(
        "Let go of those profiles now; records, manifests and logs stay; for administrators",
        takes=RetentionRequest,
        gives=RetentionAnswer,
    )
    async def post(self) -> None:
        """Let go."""
        rules = self.body(RetentionRequest).rules(self.manager.retainer.schedule.rules)
        self.give(RetentionAnswer.of(await self.manager.let_go(self.person, rules)))
