"""The page on which an environment gets another name, description, branch, audience or other limits."""

import math

from guix_build_service.model.environments import Environment
from guix_build_service.web.environment_pages import OF_GROUP, Card, EnvironmentPages, shared_with
from guix_build_service.web.schemas.environments import EnvironmentChanges
from guix_environment.errors import InvalidInput
from guix_environment.records import Visibility

FIELDS = ("name", "description", "ref", "audience", "memory", "cpu")

GIBIBYTE = 1 << 30


class ChangePage(EnvironmentPages):
    """Where an environment is changed: by editors its name and its description, by its owner all that it shows."""

    route = "environments/{environment}/change"

    async def get(self, environment: str) -> None:
        """Show how it is."""
        card = await self.card(environment)
        await self.manager.changeable(card.detail.environment.id, self.person)
        self._show(card, _as_it_is(card.detail.environment), None)

    async def post(self, environment: str) -> None:
        """Make it so, or show the form again with what is wrong."""
        card = await self.card(environment)
        try:
            changes = self.form(EnvironmentChanges, **self._given(card)).as_changes()
            await self.manager.update_environment(card.detail.environment.id, changes, self.person)
        except InvalidInput as refusal:
            self.set_status(refusal.status)
            self._show(card, {name: self.get_body_argument(name, "") for name in FIELDS}, refusal)
            return
        self.go(f"environments/{card.detail.environment.id}")

    def _given(self, card: Card) -> dict[str, object]:
        """Return what the form says as the API takes it; what only an owner may change only where one sent it."""
        given: dict[str, object] = {name: self.get_body_argument(name, "") for name in ("name", "description")}
        if not card.owned:
            return given
        audience = self.get_body_argument("audience", "")
        shared = {"groups": [], **shared_with(audience)} if audience else {}
        memory, cpu = (_number(self.get_body_argument(name, ""), name) for name in ("memory", "cpu"))
        limits = {"memory": None if memory is None else round(memory * GIBIBYTE), "cpu": cpu}
        return {**given, "ref": self.get_body_argument("ref", ""), **shared, **limits}

    def _show(self, card: Card, values: dict[str, str], refusal: InvalidInput | None) -> None:
        environment = card.detail.environment
        audiences = self.audiences("Only its owner")
        current = _audience(environment)
        if current not in audiences:
            audiences[current] = f"Members of {', '.join(environment.groups)}"
        self.render_page("change.html", card=card, values=values, audiences=audiences, refusal=refusal)


def _as_it_is(environment: Environment) -> dict[str, str]:
    """Return ENVIRONMENT as the form shows it."""
    return {
        "name": environment.name,
        "description": environment.description,
        "ref": environment.ref,
        "audience": _audience(environment),
        "memory": "" if environment.memory is None else f"{environment.memory / GIBIBYTE:.12g}",
        "cpu": "" if environment.cpu is None else f"{environment.cpu:.12g}",
    }


def _audience(environment: Environment) -> str:
    """Return what the form's audience is for ENVIRONMENT; empty, which changes nothing, where several groups are that."""
    if environment.visibility is not Visibility.GROUPS:
        return environment.visibility.value
    return f"{OF_GROUP}{environment.groups[0]}" if len(environment.groups) == 1 else ""


def _number(text: str, field: str) -> float | None:
    """Return the number that TEXT is; None where the FIELD was left empty.  Raises `InvalidInput`."""
    try:
        number = float(text) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number * GIBIBYTE):
        raise InvalidInput(f"What was given as {field} is not a number.", hint="Write digits, such as 2 or 0.5.")
    return number
