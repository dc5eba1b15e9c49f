"""The page to read the API's description, and to try what it describes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from guix_build_service.web.pages import PageHandler


class ApiPage(PageHandler):
    """What the API's addresses do, take and answer, each with a form that asks it."""

    route = "api"

    async def get(self) -> None:
        """Show."""
        description = self.settings["openapi"]
        schemas = description["components"]["schemas"]
        bodies = {name: json.dumps(dict(_sample(schema)), indent=2) for name, schema in schemas.items()}
        self.render_page("api.html", description=description, bodies=bodies)


def _sample(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield what a body of SCHEMA must have, with a value to begin with: an example, or what is empty of its kind."""
    empty: Mapping[str, object] = {"boolean": False, "integer": 0, "number": 0, "array": [], "object": {}}
    for name in schema.get("required", ()):
        about = schema["properties"][name]
        examples = about.get("examples") or about.get("enum") or [empty.get(about.get("type", ""), "")]
        yield name, examples[0]
