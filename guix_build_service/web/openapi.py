"""The API's description in OpenAPI 3.1, made from the handlers and the schemas themselves."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from guix_build_service.web.answers import AnsweringHandler
from guix_build_service.web.api import ApiHandler, Operation, operations
from guix_build_service.web.schemas.fields import ErrorAnswer
from guix_environment.identifiers import BuildId, EnvironmentId, VersionId

API_VERSION = "1.0"
"""Raised in its first part when something that a client relies on goes away; then the addresses change as well."""

_IDENTIFIERS: Mapping[str, Mapping[str, object]] = {
    name: {"pattern": f"^{kind.form.pattern}$"}
    for name, kind in {"environment": EnvironmentId, "version": VersionId, "build": BuildId}.items()
}

_REFERENCE = "#/components/schemas/{model}"


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
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
    }


def _methods(handler: type[AnsweringHandler], methods: Mapping[str, Operation]) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", **_IDENTIFIERS.get(name, {})}}
        for name in re.findall(r"{(\w+)}", handler.route)
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
            "default": {"description": "A refusal", "content": _json(ErrorAnswer)},
        },
    }
    if parameters := [*_query(operation), *_headers(operation)]:
        described["parameters"] = parameters
    if operation.takes is not None:
        described["requestBody"] = {"content": _json(operation.takes)}
    if not issubclass(handler, ApiHandler):
        described["security"] = []
    return described


def _query(operation: Operation) -> Iterable[dict[str, object]]:
    """Yield what may stand behind the question mark of OPERATION; null is what is left out."""
    schema = operation.query.model_json_schema(ref_template=_REFERENCE) if operation.query is not None else {}
    for name, each in schema.get("properties", {}).items():
        kinds = [kind for kind in each.get("anyOf", ()) if kind.get("type") != "null"]
        about = {key: value for key, value in each.items() if key not in {"anyOf", "default", "title", "description"}}
        shown = {**about, **(kinds[0] if kinds else {})}
        if each.get("default") is not None:
            shown["default"] = each["default"]
        yield {"name": name, "in": "query", "description": each.get("description", ""), "schema": shown}


def _headers(operation: Operation) -> Iterable[dict[str, object]]:
    if operation.tagged:
        about = "The entity tag (`ETag`) that it was last seen with; 412 when it was changed since."
        yield {"name": "If-Match", "in": "header", "description": about, "schema": {"type": "string"}}


def _answer(status: HTTPStatus, operation: Operation) -> dict[str, object]:
    answer: dict[str, object] = {"description": status.phrase}
    if status is HTTPStatus.NO_CONTENT:
        return answer
    if operation.gives is not None and operation.media_type == "application/json":
        return {**answer, "content": _json(operation.gives)}
    return {**answer, "content": {operation.media_type: {}}}


def _json(model: type[BaseModel]) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
