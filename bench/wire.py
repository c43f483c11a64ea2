"""The HTTP traffic during a measurement."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import requests


@dataclass
class Wire:
    """The app's traffic: the number of requests, the bytes received, and the seconds waited for response headers.

    `methods` counts the requests by method.
    """

    requests: int = 0
    received: int = 0
    waited: float = 0.0
    methods: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Record the traffic of every session of this process."""
        send = requests.Session.send

        def send_and_count(
            session: requests.Session, request: requests.PreparedRequest, **options: Any
        ) -> requests.Response:
            began = time.perf_counter()
            answer = send(session, request, **options)
            self.waited += time.perf_counter() - began
            self.requests += 1
            self.methods[str(request.method)] += 1
            self.received += len(answer.content)
            return answer

        requests.Session.send = send_and_count  # type: ignore[assignment,method-assign]
        try:
            yield
        finally:
            requests.Session.send = send  # type: ignore[method-assign]
