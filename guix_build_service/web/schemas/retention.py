"""The API's JSON about which profiles are kept."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from guix_build_service.model.retention import Decision, Kept, Plan, Reason, Rules
from guix_build_service.web.schemas.fields import Incoming, Outgoing

Days = Annotated[float, Field(ge=0, le=36500)]


class _RulesInPlace(BaseModel):
    """Rules for this once; whatever is left out is as configured."""

    unused_days: Days | None = Field(default=None, description="In the place of Retention.unused_days; 0 for never.")
    unused_current_days: Days | None = Field(
        default=None, description="In the place of Retention.unused_current_days; 0 for never."
    )

    def rules(self, configured: Rules) -> Rules:
        """Return the CONFIGURED rules with what is different this time."""
        return replace(
            configured,
            unused=_time(self.unused_days, configured.unused),
            unused_current=_time(self.unused_current_days, configured.unused_current),
        )


class RetentionQuery(_RulesInPlace):
    """By which rules to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RetentionRequest(_RulesInPlace, Incoming):
    """By which rules to let go."""


class HolderAnswer(Outgoing):
    """A version whose profile it is."""

    environment: str
    name: str
    owner: str
    version: str
    commit: str
    current: bool = Field(description="Whether the environment starts from it.")


class DecisionAnswer(Outgoing):
    """A profile that is let go."""

    profile: str
    reason: Reason
    why: str = Field(description="The reason in a sentence.")
    used: datetime = Field(description="When a session was last seen in it, or the last of its versions was built.")
    frees: int | None = Field(description="Bytes that nothing else needs then; null where that is not known.")
    versions: tuple[HolderAnswer, ...]

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """Return DECISION as the API shows it."""
        holding = decision.holding
        versions = tuple(
            HolderAnswer(
                environment=each.environment,
                name=each.name,
                owner=each.owner,
                version=each.version,
                commit=each.commit,
                current=each.current,
            )
            for each in holding.holders
        )
        return cls(
            profile=holding.profile,
            reason=decision.reason,
            why=decision.why,
            used=holding.used,
            frees=decision.frees,
            versions=versions,
        )


class RetentionAnswer(Outgoing):
    """What is let go."""

    profiles: tuple[DecisionAnswer, ...]
    frees: int = Field(description="Bytes that are free once all of it is collected, as far as that is known.")
    kept: dict[Kept, int] = Field(description="How many profiles stay, by why.")
    hindrance: str = Field(description="Why nothing, or nothing by its age, can be decided; empty where it can.")

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return PLAN as the API shows it."""
        profiles = tuple(DecisionAnswer.of(decision) for decision in plan.decisions)
        return cls(profiles=profiles, frees=plan.frees, kept=dict(plan.kept), hindrance=plan.hindrance)


def _time(number: float | None, configured: timedelta | None) -> timedelta | None:
    if number is None:
        return configured
    return timedelta(days=number) if number else None
