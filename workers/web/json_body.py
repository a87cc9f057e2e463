"""Reading the JSON of a request, as strictly as `strict_json` does."""

import re
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from workers.strict_json import NotJsonError, parse_json

_BROKEN_OFF: Final = 400
_OTHER_TYPE: Final = 415
_INVALID: Final = 422
_JSON_TYPE: Final = re.compile(r"application/(?:[^/]*\+)?json")


def read_json(body: bytes) -> Any:
    """Return what a body spells; raises NotJsonError, whose message quotes nothing of it."""
    try:
        return parse_json(body.decode())
    except UnicodeDecodeError:
        raise NotJsonError("the body is not UTF-8") from None
    except NotJsonError as error:
        raise NotJsonError(f"the body {error}") from None


def with_strict_json(request: Request) -> Request:
    """Return the request as one whose `json()` is `read_json`; a fault is a 422."""
    return _StrictRequest(request.scope, request.receive)


async def refuse_other_types(request: Request) -> None:
    """Raise a 415 for a body that is not sent as JSON; nothing at all may be of any type."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _JSON_TYPE.fullmatch(media_type):
        return
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(_BROKEN_OFF, "the body broke off") from None
    if body:
        raise HTTPException(_OTHER_TYPE, "send the body as `Content-Type: application/json`")


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return read_json(await self.body())
        except NotJsonError as error:
            raise HTTPException(_INVALID, str(error)) from None
