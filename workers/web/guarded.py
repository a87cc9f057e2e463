"""Routes that ask who calls before they read what is sent."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from workers.web.json_body import refuse_other_types, with_strict_json
from workers.web.query import refuse_repeats


def guarded_by(
    check: Callable[[Request], Awaitable[object]], *, reads_strictly: bool = True
) -> type[APIRoute]:
    """Return a route class whose requests pass `check` before their body is read.

    Strictly, unless the body is one that others made and that is handed on as it is. A body that
    is not sent as JSON where the route takes JSON is a 415; what a query may say once is not
    valid twice.
    """

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                await check(request)
                refuse_repeats(
                    request, ((each.alias, each.field_info) for each in self.dependant.query_params)
                )
                asked = with_strict_json(request) if reads_strictly else request
                if self.body_field is not None:
                    await refuse_other_types(asked)
                return await handle(asked)

            return guarded

    return GuardedRoute
