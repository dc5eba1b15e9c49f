"""The part of the hub's start page that lets a person choose an environment: records in, HTML out.

The hub puts it into its own form as it stands, so every text of a record is escaped here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from guix_environment.identifiers import Commit, EnvironmentId
from guix_environment.repository_url import RepositoryUrl
from guixspawner.options import Preselection

NOTHING_TO_START = 'data-nothing-to-start="true"'
"""Stands in a form that has nothing to choose; ``share/templates/hub/spawn.html`` then shows no button to start."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An environment as a person chooses it."""

    id: EnvironmentId
    name: str
    description: str
    repository: str
    commit: Commit
    built: datetime
    shared_by: str
    """Whose it is; empty for one's own."""


def render_form(offers: Sequence[Offer], chosen: Preselection, service: str, *, now: datetime) -> str:
    """Return the choice among OFFERS as HTML, with what a link CHOSE already chosen.

    SERVICE is the address of the environments' pages, with a slash at its end.
    """
    add = escape(service)
    if not offers:
        return _EMPTY.format(mark=NOTHING_TO_START, add=add)
    known = chosen.environment in {offer.id for offer in offers}
    selected = chosen.environment if known else offers[0].id
    cards = "\n".join(_card(offer, selected=offer.id == selected, now=now) for offer in offers)
    missing = _MISSING if chosen.environment and not known else ""
    hidden = ""
    if known:
        # Both belong to the environment of the link: choosing another one leaves them out.
        hidden += (
            _HIDDEN.format(name="version", value=escape(chosen.version), of=chosen.environment) if chosen.version else ""
        )
        for name, value in (("path", chosen.path), ("urlpath", chosen.urlpath)):
            hidden += _HIDDEN.format(name=name, value=escape(value), of=chosen.environment) if value else ""
    return _CHOICE.format(missing=missing, cards=cards, hidden=hidden, add=add, script=_SCRIPT)


def _card(offer: Offer, *, selected: bool, now: datetime) -> str:
    description = f'<span class="d-block small">{escape(offer.description)}</span>' if offer.description else ""
    shared = (
        f'<span class="badge text-bg-secondary ms-2">shared by {escape(offer.shared_by)}</span>' if offer.shared_by else ""
    )
    return _CARD.format(
        id=escape(offer.id),
        checked=" checked" if selected else "",
        name=escape(offer.name),
        shared=shared,
        description=description,
        repository=escape(_short(offer.repository)),
        address=escape(offer.repository),
        commit=escape(offer.commit.short),
        iso=escape(offer.built.astimezone(UTC).isoformat(timespec="seconds")),
        ago=escape(ago(offer.built, now)),
    )


def _short(repository: str) -> str:
    url = RepositoryUrl.parse(repository)
    return f"{url.authority}{url.path}".removesuffix(".git")


def ago(then: datetime, now: datetime) -> str:
    """Return how long before NOW THEN was, as a person says it."""
    minutes = max(0, int((now - then).total_seconds() // 60))
    for size, unit in ((60 * 24, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


_EMPTY = """
<div class="text-center py-4" {mark}>
  <p class="lead">An environment is a Git repository that says which packages it needs; add one to start working.</p>
  <a class="btn btn-primary btn-lg" href="{add}">Add an environment</a>
</div>
"""

_MISSING = """
<p class="alert alert-warning" role="status">
  The environment of this link does not exist, or is not shared with you. You can start one of these instead.
</p>
"""

_CHOICE = """
{missing}
<fieldset class="mb-3">
  <legend class="fs-5">Choose an environment</legend>
  <div class="list-group">
{cards}
  </div>
</fieldset>
{hidden}
<p><a href="{add}">Add an environment</a></p>
{script}
"""

_CARD = """
    <label class="list-group-item list-group-item-action d-flex gap-3 py-3">
      <input class="form-check-input flex-shrink-0" type="radio" name="environment" value="{id}" required{checked}>
      <span class="flex-grow-1">
        <span class="fw-semibold">{name}</span>{shared}
        {description}
        <span class="d-block small text-body-secondary">
          <span title="{address}">{repository}</span> · <code>{commit}</code> ·
          built <time datetime="{iso}" title="{iso}">{ago}</time>
        </span>
      </span>
    </label>
"""

_HIDDEN = '<input type="hidden" name="{name}" value="{value}" data-environment="{of}">\n'

_SCRIPT = """
<script>
  document.addEventListener("change", (event) => {
    if (event.target.name !== "environment") return;
    document.querySelectorAll("input[data-environment]").forEach((input) => {
      input.disabled = input.dataset.environment !== event.target.value;
    });
  });
</script>
"""
