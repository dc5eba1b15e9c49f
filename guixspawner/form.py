"""The part of the hub's start page that lets a person choose an environment: records in, HTML out.

The hub puts it into its own form as it stands, so every text of a record is escaped here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from guix_environment.identifiers import Commit, EnvironmentId
from guix_environment.repository_url import RepositoryUrl
from guixspawner.options import PRESELECTED, Preselection

NOTHING_TO_START = 'data-nothing-to-start="true"'
"""Stands in a form that has nothing to choose; ``share/templates/hub/spawn.html`` then shows no button to start."""

MANY = 8
"""How many environments a person looks through before they want to search them."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An environment as a person chooses it."""

    id: EnvironmentId
    name: str
    description: str
    repository: RepositoryUrl
    commit: Commit
    built: datetime
    shared_by: str
    """Whose it is; empty for one's own."""


def render_form(
    offers: Sequence[Offer], chosen: Preselection, service: str, *, now: datetime, last: EnvironmentId | None = None
) -> str:
    """Return the choice among OFFERS as HTML, with what a link CHOSE already chosen; else the environment asked for LAST.

    SERVICE is the address of the environments' pages, with a slash at its end.
    """
    offered = [offer.id for offer in offers]
    known = chosen.environment in offered
    page = f"{service}environments/{chosen.environment}"
    missing = _MISSING.format(page=escape(page)) if chosen.environment and not known else ""
    if not offers:
        return _EMPTY.format(mark=NOTHING_TO_START, missing=missing, add=escape(service))
    selected = chosen.environment if known else last if last in offered else offered[0]
    return _CHOICE.format(
        missing=missing,
        filter=_FILTER if len(offers) >= MANY else "",
        cards="\n".join(_card(offer, selected=offer.id == selected, now=now) for offer in offers),
        hidden=_hidden(chosen) if known else "",
        add=escape(service),
    )


def _card(offer: Offer, *, selected: bool, now: datetime) -> str:
    description = f'<span class="d-block small">{escape(offer.description)}</span>' if offer.description else ""
    shared = _SHARED.format(owner=escape(offer.shared_by)) if offer.shared_by else ""
    return _CARD.format(
        id=escape(offer.id),
        checked=" checked" if selected else "",
        name=escape(offer.name),
        shared=shared,
        description=description,
        repository=escape(f"{offer.repository.authority}{offer.repository.path}".removesuffix(".git")),
        address=escape(str(offer.repository)),
        commit=escape(offer.commit.short),
        iso=escape(offer.built.astimezone(UTC).isoformat(timespec="seconds")),
        ago=escape(ago(offer.built, now)),
    )


def _hidden(chosen: Preselection) -> str:
    """Return what a link CHOSE beside its environment, as fields that count for that environment alone."""
    given = (("version", chosen.version), ("path", chosen.path), ("urlpath", chosen.urlpath))
    fields = [(name, value) for name, value in given if value]
    if fields and chosen.environment:
        fields.append((PRESELECTED, chosen.environment))
    return "".join(_HIDDEN.format(name=name, value=escape(value)) for name, value in fields)


def ago(then: datetime, now: datetime) -> str:
    """Return how long before NOW THEN was, as a person says it."""
    minutes = int((now - then).total_seconds() // 60)
    for size, unit in ((60 * 24, "day"), (60, "hour"), (1, "minute")):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


_EMPTY = """
{missing}
<div class="text-center py-4" {mark}>
  <p class="lead">An environment is a Git repository that says which packages it needs; add one to start working.</p>
  <p>One that is being built appears here once it is ready.</p>
  <a class="btn btn-primary btn-lg" href="{add}">Add an environment</a>
</div>
"""

_MISSING = """
<p class="alert alert-warning" role="status">
  The environment of this link is not built yet, does not exist, or is not shared with you.
  <a class="alert-link" href="{page}">Its page</a> says more where you may see it.
</p>
"""

_CHOICE = """
{missing}
<fieldset class="mb-3">
  <legend class="fs-5">Choose an environment</legend>
{filter}
  <div class="list-group" id="environments">
{cards}
  </div>
</fieldset>
{hidden}
<p><a href="{add}">Add an environment, or see what is being built</a></p>
"""

_FILTER = """
  <div class="mb-3" id="narrowing" hidden>
    <label class="form-label" for="filter">Find an environment</label>
    <input class="form-control" id="filter" type="search" autocomplete="off"
           placeholder="A part of its name, description or address">
    <div class="form-text" id="found" role="status"></div>
  </div>
"""
"""Without a name, so that it is not sent; the page's script shows it and does what it is there for."""

_CARD = """
    <label class="list-group-item list-group-item-action d-flex gap-3 py-3">
      <input class="form-check-input border-secondary flex-shrink-0" type="radio" aria-labelledby="name-{id}"
             aria-describedby="about-{id}" name="environment" value="{id}" required{checked}>
      <span class="flex-grow-1 text-break">
        <span id="name-{id}"><span class="fw-semibold">{name}</span>{shared}</span>
        <span id="about-{id}">
          {description}
          <span class="d-block small text-body-secondary">
            <span title="{address}">{repository}</span> · <code>{commit}</code> ·
            built <time datetime="{iso}" title="{iso}">{ago}</time>
          </span>
        </span>
      </span>
    </label>
"""

_SHARED = ' <span class="badge text-bg-secondary text-wrap text-break text-start">shared by {owner}</span>'

_HIDDEN = '<input type="hidden" name="{name}" value="{value}">\n'
