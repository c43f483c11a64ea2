"""One call of Basegate's HTTP interface: the text of the response, or an error in one sentence."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

_TIMEOUT_SECONDS = 30.0
_ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))
_AWAY = frozenset((502, 503, 504))
_WITHOUT_WORDS = {
    401: "the key is missing or invalid: set BASEGATE_KEY",
    404: "not found: is BASEGATE_URL correct?",
}


class Problem(Exception):
    """Basegate responded with an error. `body` is the unchanged response; the text is for people."""

    def __init__(self, sentence: str, body: str = "") -> None:
        super().__init__(sentence)
        self.body = body


class Away(Problem):
    """The error is transient: something that Basegate depends on is unavailable."""


class Unreachable(Exception):
    """No response: nothing listens there, or the connection broke."""


class BadAddress(Exception):
    """The key must not be sent to this URL."""


@dataclass(frozen=True, slots=True)
class Call:
    """An acting call: method, path below `/api/`, and the body without its reason."""

    method: str
    path: str
    body: dict[str, str | bool]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would send the key elsewhere: it is an error like any other."""

    def redirect_request(self, *_: object) -> None:
        return None


class Client:
    """Basegate at one address, with a key and the name of the caller."""

    def __init__(self, url: str, key: str, actor: str) -> None:
        """Connects to nothing yet.

        Raises:
            BadAddress: not an http(s) URL, or plain http to another machine.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadAddress(f"{url!r} is not an http or https URL")
        if parts.scheme == "http" and key and parts.hostname not in _LOOPBACK:
            raise BadAddress(f"{url} would send the key unencrypted: use https")
        self._base, self._key = f"{url.rstrip('/')}/api/", key
        self._actor = "".join(letter for letter in actor if letter.isprintable())[:100]
        direct = [urllib.request.ProxyHandler({})] if parts.hostname in _LOOPBACK else []
        self._opener = urllib.request.build_opener(_NoRedirects, *direct)  # no proxy sees the key of this machine's app

    def get(self, path: str, **query: str) -> str:
        """Read.

        Raises:
            Problem, Unreachable: it failed.
        """
        return self._send("GET", path, query, None, {})

    def call(self, call: Call, reason: str, *, dry_run: bool) -> str:
        """Act, or plan with a dry run; if the response is lost, the call is repeated once with the same idempotency
        key.

        Raises:
            Problem, Unreachable: it was not done, or that is unknown.
        """
        body = json.dumps(call.body | {"reason": reason}).encode()
        query, headers = ({"dry_run": "true"}, {}) if dry_run else ({}, {"Idempotency-Key": str(uuid4())})
        try:
            return self._send(call.method, call.path, query, body, headers)
        except Unreachable:
            return self._send(call.method, call.path, query, body, headers)  # the same key: it is executed once

    def _send(self, method: str, path: str, query: dict[str, str], body: bytes | None, headers: dict[str, str]) -> str:
        url = self._base + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(url, body, method=method, headers=headers | self._headers(body))  # noqa: S310
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return str(answer.read(_ANSWER_LIMIT_BYTES).decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(error.code, error.read(_ANSWER_LIMIT_BYTES).decode(errors="replace")) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Unreachable(f"Basegate cannot be reached at {self._base}: {reason}") from None

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "X-Basegate-Actor": self._actor.encode("ascii", "replace").decode()}
        if self._key:
            headers["x-functions-key"] = self._key
        return headers if body is None else headers | {"Content-Type": "application/json"}


def _problem(status: int, body: str) -> Problem:
    kind = Away if status in _AWAY else Problem
    try:
        problem: Any = json.loads(body)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "title" in problem:
        detail = f": {problem['detail']}" if problem.get("detail") else ""
        return kind(f"{problem['title']}{detail}", body)
    return kind(_WITHOUT_WORDS.get(status, f"the response is {status}, without an explanation"))
