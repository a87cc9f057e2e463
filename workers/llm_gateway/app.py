"""The LLM gateway's ASGI application: OpenAI's endpoints, the built-in responder behind them."""

import contextlib
import importlib.metadata
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.responses import Response

from schemas.account import AccountName
from workers.errors import ConfigurationError, StorageUnavailableError
from workers.llm_gateway import health
from workers.llm_gateway.answering import answer
from workers.llm_gateway.errors import CompletionError, add_error_handlers, crash_response
from workers.llm_gateway.held import Clock, Held, open_held
from workers.llm_gateway.metrics import KIND
from workers.llm_gateway.models_file import Route
from workers.llm_gateway.models_in_force import ModelsInForce
from workers.llm_gateway.usage_page import usage_page
from workers.llm_gateway.wire import ChatCompletion
from workers.providers.trust import trusted_authorities
from workers.settings import OFFLINE_MODEL, Settings
from workers.web.bearer import presented_key
from workers.web.body_limit import BodyLimit
from workers.web.guarded import guarded_by
from workers.web.request_log import RequestLog

MAX_BODY: Final = 4 * 1_048_576
"""Longest body of a request, in bytes: a long conversation."""
OPERATOR_ONLY: Final = "only an `admin` key of the account `default` sees other accounts"


def local_now() -> datetime:
    """Return the moment, in the zone of this machine."""
    return datetime.now(UTC).astimezone()


async def check_key(request: Request) -> None:
    """Let callers with the scope `llm` pass; a 401 for others, a 503 where that is not known."""
    key = presented_key(request.headers.get("authorization"))
    if key is None:
        raise _refusal("send the key as `Authorization: Bearer <key>`")
    ring = _held(request).keys
    try:
        caller = await ring.find(key)
    except StorageUnavailableError as error:
        raise CompletionError(503, str(error), type_="server_error") from None
    if caller is None:
        raise _refusal("the key is wrong")
    request.state.caller = caller
    if not caller.may("llm"):
        raise _refusal("this key lacks the scope `llm`", code="missing_scope")


async def check_operator(request: Request) -> None:
    """Let the operator pass; a 401 for others, admins of other accounts too."""
    await check_key(request)
    if not request.state.caller.is_operator:
        raise _refusal(OPERATOR_ONLY, code="missing_scope")


def _refusal(message: str, code: str = "invalid_api_key") -> CompletionError:
    return CompletionError(401, message, type_="authentication_error", code=code)


def _held(request: Request) -> Held:
    held: Held = request.app.state.held
    return held


async def _in_use(request: Request) -> Held:
    return _held(request)  # a plain function would be run on a thread, at every request


InUse = Annotated[Held, Depends(_in_use)]

router = APIRouter(prefix="/v1", route_class=guarded_by(check_key, reads_strictly=False))


@router.post("/chat/completions")
async def complete(asked: ChatCompletion, request: Request, held: InUse) -> Response:
    """Answer a conversation, streamed as server-sent events if it is asked for."""
    return await answer(request, asked, held)


@router.get("/models")
async def list_models(held: InUse) -> dict[str, Any]:
    """List the models that may be asked."""
    routes = held.models.table().routes
    listed = [_model(OFFLINE_MODEL), *(_model(name, route) for name, route in routes.items())]
    return {"object": "list", "data": listed}


@router.get("/models/{model_id:path}")
async def get_model(model_id: str, held: InUse) -> dict[str, Any]:
    """Describe one model."""
    route = held.models.table().routes.get(model_id)
    if route is None and model_id != OFFLINE_MODEL:
        raise CompletionError(404, "there is no such model", code="model_not_found")
    return _model(model_id, route)


def _model(name: str, route: Route | None = None) -> dict[str, Any]:
    model = {"id": name, "object": "model", "created": 0, "owned_by": "edgewise"}
    region = route.upstream.region if route is not None else None
    return model | ({"region": region} if region else {})


Account = Annotated[AccountName | None, Query()]
FirstDay = Annotated[date | None, Query(alias="from")]
LastDay = Annotated[date | None, Query(alias="to")]


@router.get("/usage")
async def get_usage(
    request: Request,
    held: InUse,
    account: Account = None,
    first: FirstDay = None,
    last: LastDay = None,
) -> dict[str, Any]:
    """Return what the caller's account used; the operator may name another one."""
    caller = request.state.caller
    if account not in (None, caller.account) and not caller.is_operator:
        raise _refusal(OPERATOR_ONLY, code="missing_scope")
    return await usage_page(held.usage, account or caller.account, first, last)


figures = APIRouter(route_class=guarded_by(check_operator))


@figures.get("/metrics")
async def get_metrics(held: InUse) -> Response:
    """Return the figures of this process for Prometheus."""
    held.models.table()
    held.metrics.file_in_force.set(held.models.trouble is None)
    return Response(held.metrics.text(), headers={"Content-Type": KIND})


def create_app(settings: Settings, *, clock: Clock = local_now) -> FastAPI:
    """Make the LLM gateway; raises ConfigurationError without a key to check against.

    The same where the operator's certificate authorities cannot be read.
    """
    if settings.api_key is None:
        raise ConfigurationError("no API key: set EDGEWISE_API_KEY to at least 16 characters")
    models, trusted = ModelsInForce(settings.llm_gateway_models), trusted_authorities(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_held(settings, models, trusted, clock) as held:
            app.state.held = held
            yield

    app = FastAPI(
        title="Edgewise LLM gateway",
        version=importlib.metadata.version("edgewise"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(router)
    app.include_router(figures)
    app.include_router(health.router)
    add_error_handlers(app)
    app.add_middleware(BodyLimit, limit=MAX_BODY)
    app.add_middleware(RequestLog, on_crash=crash_response)
    return app
