"""The pages' templates and the few words and numbers that they are filled with."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from guix_build_service.model.environments import BuildState, Expectation
from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.settings import WebSettings
from guix_environment.errors import GuixSpawnerError

PHASES: Mapping[BuildState, str] = {
    BuildState.RESOLVING: "Finding the commit",
    BuildState.FETCHING: "Fetching the repository",
    BuildState.READING: "Reading which packages it needs",
    BuildState.BUILDING: "Downloading and building them",
    BuildState.READY: "Ready to start",
}
"""What a build goes through, and what that means."""

_UNITS = ((86400 * 365, "year"), (86400 * 30, "month"), (86400, "day"), (3600, "hour"), (60, "minute"))


def make_templates(folder: Path) -> Environment:
    """Return the templates in FOLDER; whatever is put into them is escaped, and a name that is missing is an error."""
    templates = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(ago=ago, size=size, duration=duration, turn=turn)
    templates.globals.update(phases=PHASES)
    return templates


class PageAnswers(AnsweringHandler):
    """What answers with a page, also when it refuses."""

    web: WebSettings
    """Where everything is; set when the handler is made."""

    def render_page(self, template: str, **values: object) -> None:
        """Answer with the page TEMPLATE filled with VALUES."""
        templates: Environment = self.settings["templates"]
        person = getattr(self, "person", None)
        text = templates.get_template(template).render(
            prefix=self.web.prefix,
            hub=self.web.hub,
            person=person,
            xsrf_token=self.xsrf_token if person else b"",
            static=self.static_url,
            **values,
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text)

    def write_refusal(self, refusal: GuixSpawnerError) -> None:
        """Write REFUSAL as a page in people's words."""
        self.render_page("refusal.html", refusal=refusal, status=self.get_status())


def ago(moment: datetime) -> str:
    """Return how long ago MOMENT was, in words."""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for length, unit in _UNITS:
        if seconds >= length:
            number = seconds // length
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def duration(start: datetime | None, end: datetime | None) -> str:
    """Return how long it was from START to END, or to this moment; nothing when it did not begin."""
    if start is None:
        return ""
    seconds = max(0, int(((end or datetime.now(UTC)) - start).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def turn(expected: Expectation | None) -> str:
    """Return when the turn of a build that waits comes, in words; nothing where that is not known."""
    if expected is None:
        return ""
    place = "next in line" if expected.position == 1 else f"number {expected.position} in line"
    if expected.seconds is None:
        return place
    minutes = math.ceil(expected.seconds / 60)
    return f"{place}, begins in about {minutes} minutes" if minutes > 1 else f"{place}, begins within a minute or so"


def size(number: int) -> str:
    """Return NUMBER bytes as people write it."""
    if number < 1000:
        return f"{number} bytes"
    amount = float(number)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 1000 or unit == "TB":
            break
    return f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"
