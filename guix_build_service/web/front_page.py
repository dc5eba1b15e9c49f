"""The service's front page: the environments that there are, to search and to start, and the form that adds one."""

from collections.abc import Sequence
from dataclasses import dataclass

from guix_build_service.model.environments import LARGEST_PAGE, EnvironmentFilter, PageRequest
from guix_build_service.providers import read
from guix_build_service.web.credential_pages import host_in
from guix_build_service.web.environment_pages import Card, EnvironmentPages, shared_with
from guix_build_service.web.schemas.environments import EnvironmentRequest
from guix_environment.errors import GuixSpawnerError, RepositoryUnavailable

FIELDS = ("repo", "ref", "subdir", "name", "audience")
"""The fields of the form for a new environment."""

SHOWN = 48
"""Environments on one page; what is behind them is on pages of its own."""

LONGEST_SEARCH = 200
"""Characters that are looked for; what is longer is in no name."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Those of the visitor's environments that a page shows."""

    cards: Sequence[Card]
    text: str
    """What was searched for; empty where nothing was."""
    first: int
    """How many stand on the pages before this one."""
    found: int
    """How many were found in all."""
    complete: bool
    """Whether there are no more than those that were found, which are at most `LARGEST_PAGE`."""


class FrontPage(EnvironmentPages):
    """The service's front page: add an environment, see and start those that there are."""

    async def get(self) -> None:
        """Show."""
        await self._show({}, None)

    async def post(self) -> None:
        """Add the environment that the form describes, or show the form again with what is wrong."""
        try:
            request = self.form(EnvironmentRequest, *FIELDS[:-1], **shared_with(self.get_body_argument("audience", "")))
            detail = await self.manager.add_environment(request.as_request(), self.person)
            # Its ref is known by now, so that nobody is asked again.
            place = await self.manager.locate(
                read(request.repo), detail.environment.ref, detail.environment.subdirectory, self.person
            )
        except GuixSpawnerError as refusal:
            self.set_status(refusal.status)
            await self._show({name: self.get_body_argument(name, "") for name in FIELDS}, refusal)
            return
        if place.opens and not place.subdirectory:
            self.go(place.link)
        else:
            self.go_to_build(detail)

    async def _show(self, values: dict[str, str], refusal: GuixSpawnerError | None) -> None:
        self.render_page(
            "environments.html",
            listing=await self._listing(),
            shown_at_once=SHOWN,
            may_add=await self.manager.may_add(self.person),
            values={name: values.get(name, "") for name in FIELDS},
            audiences=self.audiences(),
            refusal=refusal,
            private_host=host_in(values["repo"]) if isinstance(refusal, RepositoryUnavailable) else "",
            examples=self.web.examples,
        )

    async def _listing(self) -> Listing:
        """Return what the address asks for: those in which ``text`` is, but for the first ``from`` of them."""
        text = self.get_query_argument("text", "")[:LONGEST_SEARCH]
        wanted = EnvironmentFilter(text=text or None)
        page = await self.manager.some_environments(self.person, wanted, PageRequest(LARGEST_PAGE))
        sessions = await self.running_sessions() if page.items else []
        cards = sorted((self.as_card(detail, sessions) for detail in page.items), key=_rank)
        given = self.get_query_argument("from", "")
        first = int(given) if given.isdecimal() and given.isascii() and len(given) < 6 else 0
        if first >= len(cards):  # an old address of a list that became shorter
            first = 0
        return Listing(cards[first : first + SHOWN], text, first, len(cards), complete=page.following is None)


def _rank(card: Card) -> tuple[int, float]:
    """Return where CARD stands: running sessions, then builds under way, then whatever changed last."""
    order = 0 if card.session else 1 if card.busy else 2
    return order, -card.detail.environment.updated.timestamp()
