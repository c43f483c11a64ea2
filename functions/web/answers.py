"""HTTP answers: JSON, and problems as RFC 9457 has them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps

import azure.functions as func
import msgspec
from msgspec import UNSET

from functions.web.shapes import Problem
from shared.domain.errors import (
    BasegateError,
    Busy,
    Conflict,
    Malformed,
    Misconfigured,
    NotThere,
    Refused,
    Rejected,
    Retry,
    Stale,
)
from shared.workflow.run_logs import RunLog

log = logging.getLogger(__name__)

_PROBLEMS: tuple[tuple[type[BasegateError], int, str], ...] = (
    (Malformed, 400, "The request is not right"),
    (NotThere, 404, "There is no such thing"),
    (Refused, 409, "Not possible as things stand"),
    (Stale, 412, "It has changed since you looked"),
    (Conflict, 409, "Someone else changed it: read it again"),
    (Busy, 409, "Someone else is at it"),
    (Rejected, 409, "A service refused"),
    (Retry, 503, "A service is away: try again"),
    (Misconfigured, 503, "Basegate is not set up right"),
)
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Handler = Callable[[func.HttpRequest], func.HttpResponse]


class Forbidden(BasegateError):
    """Whoever asks may not do this."""


def json_answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> func.HttpResponse:
    """A JSON answer."""
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    return func.HttpResponse(text, status_code=status, mimetype="application/json", headers=_HEADERS | (headers or {}))


def log_answer(log: RunLog) -> func.HttpResponse:
    """A log as plain text; a header says whether it goes on."""
    headers = _HEADERS | {"X-Basegate-Log": log.source.value}
    return func.HttpResponse(log.text, mimetype="text/plain", charset="utf-8", headers=headers)


def problem_answer(problem: Problem) -> func.HttpResponse:
    """A problem, as https://www.rfc-editor.org/rfc/rfc9457 has it."""
    text = msgspec.json.encode(problem).decode()
    return func.HttpResponse(text, status_code=problem.status, mimetype="application/problem+json", headers=_HEADERS)


def answering(handler: Handler) -> Handler:
    """Turn the gate's errors into problems; `field` names the place in a malformed request."""

    @wraps(handler)
    def answered(req: func.HttpRequest) -> func.HttpResponse:
        try:
            return handler(req)
        except Forbidden as error:
            return problem_answer(Problem(title="Not allowed", status=403, detail=str(error)))
        except BasegateError as error:
            return _problem_of(error)

    return answered


def _problem_of(error: BasegateError) -> func.HttpResponse:
    status, title = next(((s, t) for kind, s, t in _PROBLEMS if isinstance(error, kind)), (500, "A fault"))
    if status >= 500:
        log.warning("%s: %s", title, error)
    answer = problem_answer(
        Problem(
            title=title,
            status=status,
            detail=str(error),
            field=error.field if isinstance(error, Malformed) else UNSET,
            cause=str(error.cause) if error.cause else UNSET,
            remedy=error.remedy or UNSET,
        )
    )
    if isinstance(error, Retry):
        answer.headers["Retry-After"] = str(max(1, round(error.delay_seconds)))
    return answer
