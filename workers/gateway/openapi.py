"""The OpenAPI document: what FastAPI knows of the routes, and what holds for all of them.

A route says what is its own (`responses`, `openapi_extra`); who may call, the errors that any
route can answer with and their headers are added here. A route that takes no key says so by
`openapi_extra={"security": []}`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from schemas.error import ErrorBody
from workers.gateway.openapi_examples import REQUESTS, RESPONSES

_METHODS: Final = {"get", "put", "post", "patch", "delete"}
_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer <key>`; a short-lived token opens sessions too.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The key alone: `Authorization: <key>`.",
    },
}
_ANY_KEY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"key": []}]
_REQUEST_ID: Final = {
    "description": "The id of this request, also in the log.",
    "schema": {"type": "string"},
}
_RETRY_AFTER: Final = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
_CHALLENGE: Final = {"description": "`Bearer`.", "schema": {"type": "string"}}
_HEADERS: Final = {
    "401": {"WWW-Authenticate": _CHALLENGE},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}
_TEXTS: Final = {
    "400": "The body or the path cannot be read.",
    "401": "The key is missing or wrong, was revoked, or lacks a scope.",
    "404": "There is no such object in this account.",
    "408": "The body did not arrive within 30 s.",
    "413": "The body is too large.",
    "415": "The body is not sent as JSON.",
    "422": "The request is not valid; `errors` says where.",
    "503": "A part is away and nothing happened; try again after `Retry-After`.",
}
_ERROR: Final = {"$ref": "#/components/schemas/ErrorBody"}


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what makes the document of an application, once all its routes are there."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    return document


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        summary="Agents, sessions and what belongs to them.",
        description="How to use it: `docs/configure.md`. Errors always have the same body.",
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    template = "#/components/schemas/{model}"
    error = ErrorBody.model_json_schema(ref_template=template)
    schemas.update(error.pop("$defs", {}), ErrorBody=error)
    found["components"]["securitySchemes"] = _SCHEMES
    found["security"] = _ANY_KEY
    for path, operation in _operations(found):
        _complete(path, operation)
    return found


def _operations(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, operation


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Add to one operation the answers, headers and examples that it shares with others."""
    responses = operation["responses"]
    for status in _errors(path, operation):
        said = responses.get(status, {}).get("description", "")
        responses[status] = {
            "description": said if said and said != "Validation Error" else _TEXTS[status],
            "content": {"application/json": {"schema": _ERROR}},
        }
    for status, answer in responses.items():
        answer["headers"] = {
            **answer.get("headers", {}),
            "X-Request-Id": _REQUEST_ID,
            **_HEADERS.get(status, {}),
        }
    name = operation["operationId"]
    _put_examples(operation.get("requestBody", {}), REQUESTS.get(name, {}))
    for status, example in RESPONSES.get(name, {}).items():
        _put_examples(responses[status], {"example": example})


def _errors(path: str, operation: dict[str, Any]) -> set[str]:
    """Return the errors that an operation can answer with, besides those that it names itself."""
    takes_key = operation.get("security") != []
    errors = {"401", "503"} if takes_key else set()
    if "{" in path:
        errors.add("404")
    if "requestBody" in operation:
        errors |= {"400", "408", "413", "415", "422"}
    if operation.get("parameters"):
        errors.add("422")
    return errors


def _put_examples(holder: dict[str, Any], examples: dict[str, Any]) -> None:
    for content in holder.get("content", {}).values():
        if examples:
            content["examples"] = {name: {"value": value} for name, value in examples.items()}
