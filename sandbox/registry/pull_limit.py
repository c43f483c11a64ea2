"""Docker Hub's pull rate limit: a GET of a manifest is a pull, a HEAD is not; headers report the remaining pulls.

Source: https://docs.docker.com/docker-hub/usage/pulls/
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from aiohttp import web

from sandbox.registry.rights import Principal
from sandbox.web import Call, Fault, Surface, json_answer

_ANYWHERE = "127.0.0.1"

Pulls = Annotated[int, msgspec.Meta(ge=0)]


class PullLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The pulls allowed within a rolling window of `window_seconds` (not scaled): for all anonymous clients together,
    since they share one address, and for each account."""

    anonymous: Pulls = 100
    account: Pulls = 200
    window_seconds: Annotated[int, msgspec.Meta(ge=1)] = 21_600


class PullLimit:
    """Counts the pulls of each source; a restart resets the count.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._limits = clock, PullLimits()
        self._pulls: dict[str, deque[float]] = defaultdict(deque)

    def set(self, limits: PullLimits) -> None:
        """Set the limits and reset the count."""
        self._limits = limits
        self._pulls.clear()

    def ask(self, call: Call, caller: Principal) -> Mapping[str, str]:
        """Count a request for a manifest, and return the headers that report the remaining pulls.

        Raises:
            Fault: 429 TOOMANYREQUESTS for a GET if no pulls remain.
        """
        known = bool(caller.name)
        source = str(uuid.uuid5(uuid.NAMESPACE_DNS, caller.name)) if known else call.request.remote or _ANYWHERE
        limit = self._limits.account if known else self._limits.anonymous
        pulls = self._recent(source)
        if call.request.method == "GET":
            if len(pulls) >= limit:
                raise self._error(self._headers(source, limit, 0), known=known)
            pulls.append(self._clock())
        return self._headers(source, limit, max(0, limit - len(pulls)))

    def mount(self, local: Surface) -> None:
        """Add the control operations to the sandbox's own surface."""

        @local.operation("PUT", "/dockerhub/limits")
        async def set_limits(call: Call) -> web.StreamResponse:
            """Set Docker Hub's pull rate limit, with and without an account, and reset the count."""
            self.set(await call.body(PullLimits))
            return json_answer(self._limits)

        @local.operation("GET", "/dockerhub/limits")
        async def get_limits(call: Call) -> web.StreamResponse:
            """Docker Hub's current pull rate limit."""
            return json_answer(self._limits)

    def _recent(self, source: str) -> deque[float]:
        pulls, oldest = self._pulls[source], self._clock() - self._limits.window_seconds
        while pulls and pulls[0] <= oldest:
            pulls.popleft()
        return pulls

    def _headers(self, source: str, limit: int, left: int) -> dict[str, str]:
        window = f";w={self._limits.window_seconds}"
        return {
            "ratelimit-limit": f"{limit}{window}",
            "ratelimit-remaining": f"{left}{window}",
            "docker-ratelimit-source": source,
        }

    @staticmethod
    def _error(headers: Mapping[str, str], *, known: bool) -> Fault:
        kind = "" if known else "unauthenticated "
        message = f"You have reached your {kind}pull rate limit. https://www.docker.com/increase-rate-limit"
        return Fault(429, "TOOMANYREQUESTS", message, headers)
