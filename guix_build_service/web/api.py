"""What every address of the REST API has in common: JSON both ways, and a description from which OpenAPI is made."""

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError
from tornado.web import RequestHandler

from guix_build_service.model.environments import Page, PageRequest, Place
from guix_build_service.web.auth import Authenticated
from guix_build_service.web.refusals import MalformedRequest, MediaTypeRefused
from guix_build_service.web.schemas.fields import PageQuery
from guix_environment.errors import ChangedMeanwhile, InvalidInput, NotFound
from guix_environment.identifiers import CheckedString

Body = TypeVar("Body", bound=BaseModel)
"""A kind of request body."""

_Identifier = TypeVar("_Identifier", bound=CheckedString)
_Method = TypeVar("_Method", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one address does, for the description of the API."""

    summary: str
    takes: type[BaseModel] | None
    gives: type[BaseModel] | None
    statuses: tuple[HTTPStatus, ...]
    media_type: str
    query: type[BaseModel] | None
    """What may stand behind the question mark."""
    tagged: bool
    """Whether it can be asked for only if nothing was changed since (``If-Match``)."""
    refuses: tuple[HTTPStatus, ...]
    """What it refuses with beside what everything of its kind does."""

    @property
    def is_json(self) -> bool:
        """Whether what it gives is the whole answer, and not events of a stream or a text."""
        return self.media_type == "application/json"


def operation(
    summary: str,
    *,
    takes: type[BaseModel] | None = None,
    gives: type[BaseModel] | None = None,
    statuses: tuple[HTTPStatus, ...] = (HTTPStatus.OK,),
    media_type: str = "application/json",
    query: type[BaseModel] | None = None,
    tagged: bool = False,
    refuses: tuple[HTTPStatus, ...] = (),
) -> Callable[[_Method], _Method]:
    """Describe a handler's method; every method of the API has such a description."""

    def describe(method: _Method) -> _Method:
        method.__dict__["operation"] = Operation(summary, takes, gives, statuses, media_type, query, tagged, refuses)
        return method

    return describe


def operations(handler: type[RequestHandler]) -> dict[str, Operation]:
    """Return the described methods of HANDLER, by HTTP method in lower case."""
    methods = {name.lower(): getattr(handler, name.lower()) for name in handler.SUPPORTED_METHODS}
    return {name: method.operation for name, method in methods.items() if hasattr(method, "operation")}


class ApiHandler(Authenticated):
    """A handler below ``api/v1/``: answers JSON, also when it refuses, and sends nobody to a login page."""

    _tag: str | None = None

    def _as_get(self, *args: str, **kwargs: str) -> Awaitable[None] | None:
        """Answer as to GET, without the body, which tornado leaves out; where there is no GET there is no HEAD."""
        return self.get(*args, **kwargs)

    head: Callable[..., Awaitable[None] | None] = _as_get

    def body(self, kind: type[Body]) -> Body:
        """Return the request's body as KIND.

        A request without a body is an empty object. Raises `MediaTypeRefused`, `MalformedRequest` or `InvalidInput`.
        """
        if not self.request.body:
            return validated(kind, b"{}")
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise MediaTypeRefused("The body must be JSON.", hint="Send it with Content-Type: application/json.")
        return validated(kind, self.request.body)

    def query(self, kind: type[Body]) -> Body:
        """Return what stands behind the question mark as KIND.  Raises `InvalidInput`."""
        given = {name: values for name, values in self.request.query_arguments.items() if name != "_xsrf"}
        for name, values in given.items():
            if len(values) > 1:
                raise InvalidInput(f"The request names {name[:80]} more than once.")
        try:
            text = {name: values[0].decode() for name, values in given.items()}
        except UnicodeDecodeError as error:
            raise MalformedRequest("The address is not UTF-8.") from error
        try:
            return kind.model_validate_strings(text, strict=False)
        except ValidationError as error:
            raise _unusable(error) from error

    def give(self, answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with ANSWER as JSON; a GET whose caller has just that already is answered with 304."""
        self.set_status(status)
        self.give_json(answer.model_dump_json())

    def give_json(self, text: str) -> None:
        """Answer with TEXT, which is JSON, and its entity tag."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self._tag = tag_of(text)
        if self.changes_something:
            self.set_header("Etag", self._tag)
        self.write(text)

    def give_page(self, answer: BaseModel, following: Place | None) -> None:
        """Answer with ANSWER, a part of a list, and where the FOLLOWING one is (RFC 8288)."""
        if following is not None:
            kept = {name: value[0] for name, value in self.request.query_arguments.items() if name != "_xsrf"}
            query = urlencode({**kept, "cursor": cursor(following)})
            self.set_header("Link", f'<{self.request.path}?{query}>; rel="next"')
        self.give(answer)

    def compute_etag(self) -> str | None:
        """Return the tag that `give` made; what is no JSON has none.  Tornado asks for the answer to a GET."""
        return self._tag

    def check_match(self, shown: BaseModel) -> bool:
        """Return whether the caller wants something done only to what is SHOWN; raise `ChangedMeanwhile` if that is old."""
        wanted = [tag.strip() for tag in self.request.headers.get("If-Match", "*").split(",")]
        if "*" in wanted:
            return False
        if tag_of(shown.model_dump_json()) not in wanted:
            raise ChangedMeanwhile("This was changed since you looked at it.", hint="Look at it again, then change it.")
        return True

    def address(self, path: str) -> str:
        """Return the address of PATH below ``api/v1/``."""
        return f"{self.hub_auth.base_url}api/v1/{path}"


def identified(kind: type[_Identifier], text: str) -> _Identifier:
    """Return TEXT from an address as an identifier of KIND; what cannot be one does not exist (`NotFound`)."""
    try:
        return kind(text)
    except InvalidInput:
        raise NotFound("There is nothing at this address.") from None


def validated(kind: type[Body], body: bytes) -> Body:
    """Return the JSON in BODY as KIND.  Raises `MalformedRequest` for no JSON and `InvalidInput` for another one."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _unusable(error) from error


def _unusable(error: ValidationError) -> InvalidInput:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return MalformedRequest("The body is not JSON.")
    fields = {".".join(str(part) for part in problem["loc"]) or "body": problem["msg"] for problem in problems[:20]}
    first = next(iter(fields.items()))
    return InvalidInput(f"The request cannot be used. {first[0][:80]}: {first[1]}.", details={"fields": fields})


def tag_of(text: str) -> str:
    """Return the entity tag of the answer TEXT (RFC 9110, 8.8.3)."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def cursor(place: Place) -> str:
    """Return PLACE as callers get it: a word that means nothing to them.

    >>> place_of(cursor(Place("plots", "eabcdefghijk")))
    Place(key='plots', id='eabcdefghijk')
    """
    return base64.urlsafe_b64encode(json.dumps([place.key, place.id]).encode()).decode().rstrip("=")


def place_of(text: str) -> Place:
    """Return the place that the cursor TEXT stands for.  Raises `InvalidInput` where it is none of ours."""
    try:
        values = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        key, identifier = values
    except (ValueError, TypeError) as error:
        raise _no_cursor() from error
    if not (isinstance(key, str) and isinstance(identifier, str)) or "\0" in key + identifier:
        raise _no_cursor()
    return Place(key, identifier)


def requested(query: PageQuery) -> PageRequest:
    """Return which part of a list QUERY asks for.  Raises `InvalidInput`."""
    return PageRequest(query.limit, place_of(query.cursor) if query.cursor is not None else None)


def following(page: Page[object]) -> str | None:
    """Return the cursor of what follows PAGE."""
    return cursor(page.following) if page.following is not None else None


def _no_cursor() -> InvalidInput:
    return InvalidInput("This is no cursor of a list.", hint="Begin the list again, without one.")
