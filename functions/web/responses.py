"""HTTP responses: JSON, and problems by RFC 9457; with the types that only this interface has."""

import logging
from collections.abc import Mapping

import azure.functions as func
import msgspec
from msgspec import UNSET, UnsetType

from shared.domain import errors
from shared.domain.errors import BasegateError
from shared.domain.record import ApiModel
from shared.health import Readiness
from shared.queries.records import RunLog
from shared.reconcile.begin import Effect

log = logging.getLogger(__name__)


class Forbidden(BasegateError):
    """The caller may not do this."""


_PROBLEMS: tuple[tuple[type[BasegateError], int, str], ...] = (
    (errors.Malformed, 400, "Invalid request"),
    (Forbidden, 403, "Forbidden"),
    (errors.NotFound, 404, "Not found"),
    (errors.Refused, 409, "Not possible in the current state"),
    (errors.Stale, 412, "Changed since it was read"),
    (errors.Conflict, 409, "Changed by someone else: read it again"),
    (errors.Busy, 409, "Busy: try again"),
    (errors.Rejected, 409, "Refused by a service"),
    (errors.Retry, 503, "A service is unavailable: try again"),
    (errors.Misconfigured, 503, "Misconfigured"),
)
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class PlanResponse(ApiModel, frozen=True, kw_only=True):
    """The effects of an operation, or with `dryRun` those that it would have.

    `warnings` are the problems that remain, `see` is the record to read. `in_flight` are the moves, promotions and
    rollouts that were in progress against a new hold or veto: they are stopped, or put back.
    """

    dry_run: bool
    effects: tuple[Effect, ...]
    warnings: tuple[str, ...] = ()
    in_flight: tuple[Effect, ...] = ()
    see: str | UnsetType = UNSET


_STORED_EFFECTS = 200
_EFFECT_CHARACTERS = 500


def few(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """The effects in the response to an acting call. It is stored for repeats, in a row of 1 MiB, so long lists are
    cut, with the number of those left out.
    """
    shown = tuple(Effect(one.what, one.subject[:_EFFECT_CHARACTERS]) for one in effects[:_STORED_EFFECTS])
    more = len(effects) - len(shown)
    return (*shown, Effect("and more", f"{more} that are not listed here")) if more else shown


class Problem(ApiModel, frozen=True, kw_only=True):
    """An error by RFC 9457: `title` is the same for all of a kind, `detail` is about this one.

    `field` is the invalid place in a request; `cause` and `remedy` are the known cause, and what to do about it.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    remedy: str | UnsetType = UNSET


class Health(ApiModel, frozen=True, kw_only=True):
    """The app is running."""

    status: str = "up"


def json_response(
    body: object, status: int = 200, headers: Mapping[str, str] = {}, mimetype: str = "application/json"
) -> func.HttpResponse:
    """A JSON response."""
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    return func.HttpResponse(text, status_code=status, mimetype=mimetype, headers={**_HEADERS, **headers})


def response_of(found: object) -> func.HttpResponse:
    """The response of a read: a log as text with describing headers, everything else as JSON."""
    match found:
        case RunLog():
            headers = _HEADERS | {"X-Basegate-Log": found.source.value, "X-Basegate-Log-Of": found.of}
            return func.HttpResponse(found.text, mimetype="text/plain", charset="utf-8", headers=headers)
        case Readiness(ready=False):
            return json_response(found, 503)
        case _:
            return json_response(found)


def problem_of(error: BasegateError) -> func.HttpResponse:
    """The problem of an error: https://www.rfc-editor.org/rfc/rfc9457"""
    status, title = next(((s, t) for kind, s, t in _PROBLEMS if isinstance(error, kind)), (500, "Internal error"))
    if status >= 500:
        log.warning("%s: %s", title, error)
    problem = Problem(
        title=title,
        status=status,
        detail=str(error),
        field=error.field if isinstance(error, errors.Malformed) else UNSET,
        cause=str(error.cause) if error.cause else UNSET,
        remedy=error.remedy or UNSET,
    )
    wait = {"Retry-After": str(max(1, round(error.delay_seconds)))} if isinstance(error, errors.Retry) else {}
    return json_response(problem, status, wait, "application/problem+json")
