"""Tokens that are still good, and one fetch at a time for each that is not."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

_KEPT = 4096
_MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Token:
    """An Authorization header, and how long the registry takes it."""

    header: str = field(repr=False)
    life_seconds: float


@dataclass(frozen=True, slots=True)
class _Kept:
    header: str = field(repr=False)
    until: float


class TokenCache:
    """Keeps tokens in memory, the most recently used 4,096 of them.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._fetches: dict[Hashable, Future[str]] = {}

    def get(self, key: Hashable) -> str:
        """The header under a key, "" where there is none that is still good for a while."""
        with self._lock:
            return self._good(key)

    def renew(self, key: Hashable, used: str, fetch: Callable[[], Token]) -> str:
        """A header other than the one that was `used` in vain (or "").

        One caller fetches; whoever else wants the same meanwhile waits for that outcome, be it an error.

        Raises:
            whatever `fetch` raises.
        """
        with self._lock:
            good = self._good(key)
            if good and good != used:
                return good
            under_way = self._fetches.get(key)
            mine = self._fetches.setdefault(key, Future())
        if under_way is not None:
            return under_way.result()
        try:
            header = self._keep(key, fetch())
        except BaseException as error:
            self._finish(key)
            mine.set_exception(error)
            raise
        self._finish(key)
        mine.set_result(header)
        return header

    def _good(self, key: Hashable) -> str:
        kept = self._kept.get(key)
        if kept is None or kept.until <= self._clock():
            return ""
        self._kept.move_to_end(key)
        return kept.header

    def _keep(self, key: Hashable, token: Token) -> str:
        margin = min(_MARGIN_SECONDS, token.life_seconds / 2)
        with self._lock:
            self._kept[key] = _Kept(token.header, self._clock() + token.life_seconds - margin)
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token.header

    def _finish(self, key: Hashable) -> None:
        with self._lock:
            self._fetches.pop(key, None)
