"""What every address of the REST API has in common: JSON both ways, and a description from which OpenAPI is made."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from tornado.web import RequestHandler

from guix_build_service.web.auth import Authenticated
from guix_build_service.web.refusals import MalformedRequest, MediaTypeRefused
from guix_environment.errors import InvalidInput, NotFound
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


def operation(
    summary: str,
    *,
    takes: type[BaseModel] | None = None,
    gives: type[BaseModel] | None = None,
    statuses: tuple[HTTPStatus, ...] = (HTTPStatus.OK,),
    media_type: str = "application/json",
) -> Callable[[_Method], _Method]:
    """Describe a handler's method; every method of the API has such a description."""

    def describe(method: _Method) -> _Method:
        method.__dict__["operation"] = Operation(summary, takes, gives, statuses, media_type)
        return method

    return describe


def operations(handler: type[RequestHandler]) -> dict[str, Operation]:
    """Return the described methods of HANDLER, by HTTP method in lower case."""
    methods = {name.lower(): getattr(handler, name.lower()) for name in handler.SUPPORTED_METHODS}
    return {name: method.operation for name, method in methods.items() if hasattr(method, "operation")}


class ApiHandler(Authenticated):
    """A handler below ``api/v1/``: answers JSON, also when it refuses, and sends nobody to a login page."""

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

    def give(self, answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with ANSWER as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.write(answer.model_dump_json())

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
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        raise MalformedRequest("The body is not JSON.")
    fields = {".".join(str(part) for part in problem["loc"]) or "body": problem["msg"] for problem in problems[:20]}
    first = next(iter(fields.items()))
    raise InvalidInput(f"The request cannot be used. {first[0][:80]}: {first[1]}.", details={"fields": fields})
