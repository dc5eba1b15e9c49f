"""The API's description in OpenAPI 3.1, made from the handlers and the schemas themselves."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.api import ApiHandler, Operation, operations
from guix_build_service.web.schemas.fields import ErrorAnswer
from guix_build_service.web.texts import TextAnswers
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId

API_VERSION = "1.0"
"""Raised in its first part when something that a client relies on goes away; then the addresses change as well."""

_IDENTIFIERS: Mapping[str, Mapping[str, object]] = {
    name: {"pattern": f"^{kind.form.pattern}$"}
    for name, kind in {"environment": EnvironmentId, "version": VersionId, "build": BuildId}.items()
}

_VARIABLE = re.compile(r"{(\w+)}")
"""What stands for a part of an address."""

_REFERENCE = "#/components/schemas/{model}"
_REFUSED: Mapping[str, object] = {"$ref": "#/components/responses/Refused"}


def describe(handlers: Iterable[type[AnsweringHandler]], prefix: str) -> dict[str, object]:
    """Return the OpenAPI description of HANDLERS, which answer below PREFIX."""
    described = [(handler, operations(handler)) for handler in handlers]
    models = {
        model
        for _, methods in described
        for each in methods.values()
        for model in (each.takes, each.gives, each.query)
        if model is not None
    } | {ErrorAnswer}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Environments of a JupyterHub",
            "version": API_VERSION,
            "description": "Git repositories become environments that sessions start in. "
            "Send a token of the hub as `Authorization: token …`; what you may not see answers 404.",
        },
        "servers": [{"url": f"{prefix}api/v1"}],
        "security": [{"token": []}],
        "paths": {f"/{handler.route}": _methods(handler, methods) for handler, methods in described},
        "components": {
            "schemas": schemas["$defs"],
            "responses": {"Refused": {"description": "Not done, and why", "content": _json(ErrorAnswer)}},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def _methods(handler: type[AnsweringHandler], methods: Mapping[str, Operation]) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **_IDENTIFIERS.get(name, {})}}
        for name in _VARIABLE.findall(handler.route)
    ]
    found: dict[str, object] = {"parameters": parameters} if parameters else {}
    for name, each in methods.items():
        found[name] = _operation(handler, name, each)
    return found


def _operation(handler: type[AnsweringHandler], method: str, operation: Operation) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": f"{method}{handler.__name__}",
        "summary": operation.summary,
        "responses": {
            **{str(int(status)): _answer(status, operation) for status in operation.statuses},
            **_unchanged(handler, method, operation),
            **{str(int(status)): _REFUSED for status in sorted(_refusals(handler, operation))},
            "5XX": _REFUSED,
        },
    }
    if parameters := [*_query(operation), *_headers(handler, method, operation)]:
        described["parameters"] = parameters
    if operation.takes is not None:
        described["requestBody"] = {"content": _json(operation.takes)}
    if not issubclass(handler, ApiHandler):
        described["security"] = []
    return described


def _refusals(handler: type[AnsweringHandler], operation: Operation) -> Iterable[HTTPStatus]:
    """Return what OPERATION of HANDLER refuses with, by what it asks of its caller and of what is sent."""
    refused = {HTTPStatus.BAD_REQUEST, *operation.refuses}
    if issubclass(handler, ApiHandler):
        refused |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
    if _VARIABLE.search(handler.route):
        refused.add(HTTPStatus.NOT_FOUND)
    if operation.query is not None:
        refused.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    if operation.takes is not None:
        refused |= {
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        }
    if operation.tagged:
        refused.add(HTTPStatus.PRECONDITION_FAILED)
    if issubclass(handler, TextAnswers):
        refused.add(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return refused


def _unchanged(handler: type[AnsweringHandler], method: str, operation: Operation) -> dict[str, object]:
    """Return the answer to a GET whose caller has just that already."""
    if not _has_tag(handler, method, operation):
        return {}
    return {str(int(HTTPStatus.NOT_MODIFIED)): {"description": "Nothing is different"}}


def _has_tag(handler: type[AnsweringHandler], method: str, operation: Operation) -> bool:
    """Tell whether OPERATION answers with an entity tag that a caller can send back."""
    return method == "get" and issubclass(handler, ApiHandler) and operation.is_json


def _query(operation: Operation) -> Iterable[dict[str, object]]:
    """Yield what may stand behind the question mark of OPERATION; null is what is left out."""
    schema = operation.query.model_json_schema(ref_template=_REFERENCE) if operation.query is not None else {}
    for name, each in schema.get("properties", {}).items():
        kinds = [kind for kind in each.get("anyOf", ()) if kind.get("type") != "null"]
        about = {key: value for key, value in each.items() if key not in {"anyOf", "default", "title", "description"}}
        shown = {**about, **(kinds[0] if kinds else {})}
        if each.get("default") is not None:
            shown["default"] = each["default"]
        about_it = each.get("description") or shown.pop("description", "")
        yield {"name": name, "in": "query", "description": about_it, "schema": shown}


def _headers(handler: type[AnsweringHandler], method: str, operation: Operation) -> Iterable[dict[str, object]]:
    if operation.tagged:
        yield _header("If-Match", "The entity tag (`ETag`) that it was last seen with; 412 when it was changed since.")
    if _has_tag(handler, method, operation):
        yield _header("If-None-Match", "The entity tag (`ETag`) of the answer that is known; 304 when it is still the same.")
    if issubclass(handler, TextAnswers):
        yield _header("Range", "Which bytes of it are wanted, such as `bytes=-1000` for the last ones.")


def _header(name: str, about: str) -> dict[str, object]:
    return {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}


def _answer(status: HTTPStatus, operation: Operation) -> dict[str, object]:
    answer: dict[str, object] = {"description": status.phrase}
    if status is HTTPStatus.NO_CONTENT:
        return answer
    if operation.gives is not None and operation.is_json:
        return {**answer, "content": _json(operation.gives)}
    return {**answer, "content": {operation.media_type: {}}}


def _json(model: type[BaseModel]) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
