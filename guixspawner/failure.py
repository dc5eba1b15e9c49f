"""Failures in the form in which the hub shows them to a person."""

import errno
import logging
from collections.abc import Sequence
from html import escape
from typing import Any

from tornado.web import HTTPError

from guix_environment.errors import GuixSpawnerError, LimitReached, SessionFailure

try:
    from jupyterhub.spawner import SpawnException  # since JupyterHub 6
except ImportError:
    SpawnException = None


def for_the_hub(failure: GuixSpawnerError, page: str = "") -> HTTPError:
    """Return FAILURE as an error that the hub's pages and API relay: its sentence, its hint and its status.

    Pages also show a link to PAGE, that of the environment which it is about.

    What was refused is told apart from what broke, where the hub does so in its log and metrics.
    """
    text = " ".join(filter(None, (failure.message, failure.hint)))
    error: Any
    if SpawnException is not None and failure.status < 500:
        error = SpawnException(text, reason=failure.code, status_code=failure.status)
    else:
        error = HTTPError(failure.status, text)
    # Read by the hub's `format_exception`; the same words on the form, on the page of a failed start and in the log.
    error.jupyterhub_message = text
    lines = [escape(part) for part in (failure.message, failure.hint) if part]
    if page:
        lines.append(f'<a class="alert-link" href="{escape(page)}">To the environment</a>')
    error.jupyterhub_html_message = "<br>".join(lines)
    assert isinstance(error, HTTPError)
    return error


def of_the_machine(error: OSError) -> GuixSpawnerError:
    """Return ERROR, with which the machine kept a session from starting, in words for its person.

    What the kernel said may hold paths; it is in the details, for the hub's log.
    """
    details = {"reason": str(error)}
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LimitReached(
            "The disk is full, and a session needs a little of it to start.",
            hint="Remove what you no longer need, or tell whoever runs this installation. None of your files was changed.",
            details=details,
        )
    return SessionFailure(
        "This machine could not do what a session needs to start.",
        hint="Try again; if it happens again, tell whoever runs this installation: the hub's log says why.",
        details=details,
    )


def for_the_log(failure: GuixSpawnerError, last_lines: Sequence[str], token: str) -> str:
    """Return FAILURE as the hub's log has it: with its details and the LAST_LINES of the session, and without its TOKEN."""
    told = "\n    ".join([str(failure), *(str(value) for value in failure.details.values()), *last_lines])
    return told.replace(token, "[token]") if token else told


class OnlyPreselected(HTTPError):
    """Not a failure: a link named an environment, and the form is shown with it chosen.

    The hub starts a server for any query to its start page unless reading the query raises an error, whose status and
    message it then shows above the form (``SpawnHandler._get``); this one has the status of success and no message.
    """

    jupyterhub_message = ""

    def __init__(self) -> None:
        super().__init__(200, "a link only preselects")


class _LinksAreNoFailures(logging.Filter):
    """Leaves out what the hub logs, with a traceback, for `OnlyPreselected`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], OnlyPreselected))


def quieten(log: object) -> None:
    """Keep the hub's LOG free of failures that are none; doing so again changes nothing."""
    if isinstance(log, logging.Logger) and not any(isinstance(one, _LinksAreNoFailures) for one in log.filters):
        log.addFilter(_LinksAreNoFailures())
