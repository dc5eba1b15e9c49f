"""How everything is answered: headers that keep a browser safe, and refusals in the words of the error tree."""

import logging
from http import HTTPStatus
from typing import Any, ClassVar

from tornado.web import HTTPError, RequestHandler

from guix_build_service.web.refusals import (
    InternalFailure,
    MalformedRequest,
    MethodNotAllowed,
    RequestForged,
    RequestTooLarge,
)
from guix_environment.errors import GuixSpawnerError, NotFound

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024
"""Bytes; what any request of the API or of a form needs is far below."""


def security_headers(hub_host: str) -> dict[str, str]:
    """Return the headers of every answer.

    Style, fonts and images also come from the hub, and a form may end at a page of the hub; where users have subdomains that
    is another origin, HUB_HOST. There is no inline script or style, and nobody may frame these pages.
    """
    own = f"'self' {hub_host}".strip()
    policy = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "connect-src": "'self'",
        "font-src": own,
        "form-action": own,
        "frame-ancestors": "'none'",
        "img-src": f"{own} data:",
        "script-src": "'self'",
        "style-src": own,
    }
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def refusal_from(error: BaseException | None, status: int) -> GuixSpawnerError:
    """Return the leaf of the error tree that tells of ERROR, which made tornado answer with STATUS."""
    if isinstance(error, GuixSpawnerError):
        return error
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed("This address does not take that method.")
    if status == HTTPStatus.NOT_FOUND:
        return NotFound("There is nothing at this address.")
    if status == HTTPStatus.FORBIDDEN:
        return RequestForged("The login did not come to its end.", hint="Try again from the hub's own pages.")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return MalformedRequest("The request cannot be understood.", hint="Go back, reload the page and try again.")
    return InternalFailure(
        "Something went wrong in the service.",
        hint="Try again; if it stays like this, tell the people who run this hub when it happened.",
    )


def too_large(most: int) -> RequestTooLarge:
    """Return the refusal of a body of more than MOST bytes."""
    return RequestTooLarge(f"The request is larger than {most // 1024} KiB.")


class AnsweringHandler(RequestHandler):
    """A handler with safe headers and bounded bodies, whose refusals are leaves of the error tree."""

    route: ClassVar[str] = ""
    """Where it answers, variables in braces: below ``api/v1/`` for the API, below the service's prefix for pages."""

    largest_body: ClassVar[int] = LARGEST_BODY
    """Bytes of a request's body, at most."""

    async def prepare(self) -> None:
        """Refuse what is too large."""
        if len(self.request.body) > self.largest_body:
            raise too_large(self.largest_body)

    def set_default_headers(self) -> None:
        """Start every answer, refusals included, with the security headers."""
        self.clear_header("Server")
        for name, value in self.settings["security_headers"].items():
            self.set_header(name, value)

    def log_exception(self, _kind: Any, error: BaseException | None, _traceback: Any) -> None:  # noqa: ANN401 - as tornado has it
        """Log what nobody thought of, without the query, which tornado would write; a refusal is an answer like others."""
        if isinstance(error, HTTPError) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            log.info("Refused %s %r: %.300r", self.request.method, self.request.path[:300], error.log_message)
        elif not isinstance(error, GuixSpawnerError):
            log.error("Failed at %s %r", self.request.method, self.request.path[:300], exc_info=error)

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - tornado's signature
        """Answer with a refusal in place of the exception in ``exc_info``."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        refusal = refusal_from(error, status_code)
        self.set_status(refusal.status)
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", 'Bearer realm="JupyterHub"')
        if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self._methods()))
        if isinstance(wait := refusal.details.get("retry_after"), int):
            self.set_header("Retry-After", str(wait))
        self.write_refusal(refusal)

    def write_refusal(self, refusal: GuixSpawnerError) -> None:
        """Write REFUSAL as the API does; pages write a page."""
        self.write({"error": refusal.as_json()})
        self.finish()

    def _methods(self) -> list[str]:
        """Return the methods that this address does have."""
        unimplemented = RequestHandler._unimplemented_method  # noqa: SLF001 - tornado has no public way to ask
        found = [name for name in self.SUPPORTED_METHODS if getattr(type(self), name.lower()) is not unimplemented]
        return [name for name in found if name != "HEAD" or "GET" in found]
