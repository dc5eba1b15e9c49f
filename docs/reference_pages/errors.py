"""The page about everything that a person is told has gone wrong."""

import inspect
from collections.abc import Iterator

from guix_environment import errors
from guix_environment.errors import GuixSpawnerError
from reference_pages.page import Unexplained, heading

_ERRORS = """\
What goes wrong has a code. It stands in the API's answers and in failed builds, and stays the same from one release
to the next; the message beside it is for people and may change. A code that stands below another is a kind of it. The
status is that of the HTTP answer."""

_ERRORS_ELSEWHERE = """\
A build that failed keeps its error as its own `error`, and is itself shown with status 200. The refusals of the web
alone, such as `not-logged-in`, are in [the API](api.md)."""


def errors_page() -> str:
    """Return the page about everything that a person is told has gone wrong."""
    rows = [f"| {'&emsp;' * depth}`{kind.code}` | {kind.status} | {_meaning(kind)} |" for depth, kind in _tree()]
    table = "\n".join(["| code | status | meaning |", "| --- | --- | --- |", *rows])
    parts = [heading("Errors", "`guix_environment/errors.py`"), _ERRORS, table, _ERRORS_ELSEWHERE]
    return "\n\n".join(parts) + "\n"


def _tree(parent: type[GuixSpawnerError] = GuixSpawnerError, depth: int = 0) -> Iterator[tuple[int, type[GuixSpawnerError]]]:
    """Yield every kind of error below PARENT with its depth, in the order of the file."""
    for error in vars(errors).values():
        if isinstance(error, type) and error.__bases__ == (parent,):
            yield depth, error
            yield from _tree(error, depth + 1)


def _meaning(error: type[GuixSpawnerError]) -> str:
    if not error.__doc__:
        raise Unexplained(f"{error.__name__} has no sentence that says what it means.")
    return " ".join(inspect.cleandoc(error.__doc__).split())
