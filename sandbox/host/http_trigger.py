"""HTTP triggers: find the route, check the key, run the function, respond."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from sandbox.host.functions import Function
from sandbox.host.invoker import Outcome, Trigger
from sandbox.host.keys import Keys
from sandbox.host.messages import Datum, HttpAnswer, HttpRequest
from sandbox.host.routes import Route, RouteTable

_KEY_HEADER = "x-functions-key"


def given_key(request: web.BaseRequest) -> str:
    """The key of a request, from the header or the query parameter `code`; "" without one."""
    return request.headers.get(_KEY_HEADER) or request.query.get("code", "")


class HttpFrontDoor:
    """Handles requests to the app's HTTP functions."""

    def __init__(
        self, routes: RouteTable, keys: Keys, invoke: Callable[[Function, Trigger], Awaitable[Outcome]]
    ) -> None:
        self._routes, self._keys, self._invoke = routes, keys, invoke

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Run the function of a request.

        Responds with 404 without a route for path and method, 401 without a valid key, 500 if the function failed, 502
        if its worker died.
        """
        found = self._routes.find(request.method, request.rel_url.raw_path)
        if not found or found[0].function.disabled:
            return web.Response(status=404)
        route, params = found
        level = route.trigger.auth_level
        if level != "anonymous" and not self._keys.opens(given_key(request), level, route.function.name):
            return web.Response(status=401)
        return _response(await self._invoke(route.function, await _trigger(request, route, params)))


async def _trigger(request: web.BaseRequest, route: Route, params: dict[str, str]) -> Trigger:
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    value = HttpRequest(
        method=request.method,
        url=f"{scheme}://{request.host}{request.rel_url.raw_path_qs}",
        headers=_joined((name.lower(), value) for name, value in request.headers.items()),
        query=_joined((name, value) for name, value in request.query.items() if value),
        params=params,
        body=await request.read(),
    )
    return Trigger(
        Datum("http", value),
        f"{request.method} /{route.template}",
        trace_parent=request.headers.get("traceparent", ""),
        trace_state=request.headers.get("tracestate", ""),
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _response(outcome: Outcome) -> web.Response:
    if not outcome.succeeded:
        return web.Response(status=502 if outcome.lost else 500)
    returned = outcome.returned
    if returned is None:
        return web.Response(status=204)
    if returned.type != "http":
        return web.Response(text=str(returned.value), content_type="text/plain", charset="utf-8")
    answer = msgspec.convert(returned.value, type=HttpAnswer)
    headers = CIMultiDict(answer.headers)
    headers.popall("content-length", None)
    for cookie in answer.cookies:
        headers.add("Set-Cookie", cookie)
    return web.Response(status=answer.status, body=answer.body, headers=headers)
