"""The LLM gateway's ASGI application: OpenAI's endpoints, the built-in responder behind them."""

import contextlib
import importlib.metadata
import secrets
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from workers.errors import ConfigurationError, StorageUnavailableError
from workers.llm_gateway.errors import CompletionError, add_error_handlers, crash_response
from workers.llm_gateway.responder import respond
from workers.llm_gateway.wire import ChatCompletion, Reply
from workers.settings import OFFLINE_MODEL, Settings
from workers.storage.database import open_engine
from workers.storage.keys import look_up
from workers.web.bearer import presented_key
from workers.web.body_limit import BodyLimit
from workers.web.guarded import guarded_by
from workers.web.key_ring import KeyRing
from workers.web.request_log import RequestLog

MAX_BODY: Final = 4 * 1_048_576
"""Longest body of a request, in bytes: a long conversation."""

Clock = Callable[[], datetime]


def local_now() -> datetime:
    """Return the moment, in the zone of this machine."""
    return datetime.now(UTC).astimezone()


async def check_key(request: Request) -> None:
    """Let callers with the scope `llm` pass; a 401 for others, a 503 where that is not known."""
    key = presented_key(request.headers.get("authorization"))
    if key is None:
        raise _refusal("send the key as `Authorization: Bearer <key>`")
    ring: KeyRing = request.app.state.keys
    try:
        caller = await ring.find(key)
    except StorageUnavailableError as error:
        raise CompletionError(503, str(error), type_="server_error") from None
    if caller is None:
        raise _refusal("the key is wrong")
    request.state.caller = caller
    if not caller.may("llm"):
        raise _refusal("this key lacks the scope `llm`", code="missing_scope")


def _refusal(message: str, code: str = "invalid_api_key") -> CompletionError:
    return CompletionError(401, message, type_="authentication_error", code=code)


def _clock(request: Request) -> Clock:
    clock: Clock = request.app.state.clock
    return clock


router = APIRouter(prefix="/v1", route_class=guarded_by(check_key))


@router.post("/chat/completions")
async def complete(asked: ChatCompletion, now: Annotated[Clock, Depends(_clock)]) -> Response:
    """Answer a conversation, streamed as server-sent events if it is asked for."""
    if asked.model != OFFLINE_MODEL:
        raise CompletionError(
            404,
            f"there is no such model; this gateway has {OFFLINE_MODEL}",
            code="model_not_found",
            param="model",
        )
    reply = Reply(
        asked,
        respond(asked.last_said, now()),
        name=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
    )
    if not asked.stream:
        return JSONResponse(reply.whole())
    return StreamingResponse(
        _each(reply), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _each(reply: Reply) -> Any:
    for event in reply.events():
        yield event


@router.get("/models")
async def list_models() -> dict[str, Any]:
    """List the models that may be asked."""
    model = {"id": OFFLINE_MODEL, "object": "model", "created": 0, "owned_by": "edgewise"}
    return {"object": "list", "data": [model]}


@router.get("/models/{model_id}")
async def get_model(model_id: str) -> dict[str, Any]:
    """Describe one model."""
    if model_id != OFFLINE_MODEL:
        raise CompletionError(404, "there is no such model", code="model_not_found")
    model: dict[str, Any] = (await list_models())["data"][0]
    return model


health = APIRouter()


@health.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


def create_app(settings: Settings, *, clock: Clock = local_now) -> FastAPI:
    """Make the LLM gateway; raises ConfigurationError where there is no key to check against."""
    if settings.api_key is None:
        raise ConfigurationError("no API key: set EDGEWISE_API_KEY to at least 16 characters")
    operator_key = settings.api_key.get_secret_value()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = open_engine(settings)
        try:
            async with KeyRing.open(operator_key, partial(look_up, engine)) as keys:
                app.state.keys = keys
                yield
        finally:
            engine.dispose()

    app = FastAPI(
        title="Edgewise LLM gateway",
        version=importlib.metadata.version("edgewise"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.clock = clock
    app.include_router(router)
    app.include_router(health)
    add_error_handlers(app)
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    app.add_middleware(RequestLog, on_crash=crash_response)
    return app
