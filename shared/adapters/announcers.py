"""Outcomes to an Event Grid topic, and to a chat or any other webhook; each with links to where more of it is.

The URL of a chat webhook is a secret: it is never said in an error or a log.
"""

import hashlib
import hmac
import html
import http.client
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from shared.adapters.azure_calls import DEADLINES, PASSING, Identity, retry_after, translated
from shared.adapters.deadline import connected
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.domain.outcome import Outcome
from shared.ports import Announcer

log = logging.getLogger(__name__)

Style = Literal["generic", "slack", "teams"]

_LINK_TEXT = "Open on the board"
_NO_FACTS = frozenset(("logTail", "links", "reason"))
_TIMEOUT_SECONDS = 5.0


class LinkingAnnouncer:
    """Adds `links` to each outcome's data: `board` for people and `api` for programs.

    A link holds no key: whoever follows it signs in, or gives a key.

    Args:
        public_url: where people reach this app, without a slash at its end; "" adds no links.
        announcer: sends the outcomes.
    """

    def __init__(self, public_url: str, announcer: Announcer) -> None:
        self._url, self._announcer = public_url, announcer

    def announce(self, outcome: Outcome) -> None:
        """Send an outcome with its links."""
        if self._url and outcome.page:
            page = quote(outcome.page, safe="/")
            links = {"board": f"{self._url}/api/board/{page}", "api": f"{self._url}/api/v1/{page}"}
            outcome = msgspec.structs.replace(outcome, data={**outcome.data, "links": links})
        self._announcer.announce(outcome)


def board_link(outcome: Outcome) -> str:
    """The link to the page for people that an outcome carries, or ""."""
    links = outcome.data.get("links")
    return str(links["board"]) if isinstance(links, Mapping) else ""


class EventGridAnnouncer:
    """Publishes one CloudEvent `Basegate.<name>` an outcome to a custom topic."""

    def __init__(self, endpoint: str, credential: Identity) -> None:
        self._endpoint, self._credential = endpoint, credential

    @cached_property
    def _client(self) -> EventGridPublisherClient:
        # The client drops the deadlines that it is made with. Of those that come with an event it warns each time, as
        # if they were fields of the event, before it keeps to them.
        logging.getLogger("azure.eventgrid._legacy._generated._serialization").setLevel(logging.ERROR)
        return EventGridPublisherClient(self._endpoint, self._credential())

    def announce(self, outcome: Outcome) -> None:
        """Publish the outcome.

        Raises:
            Rejected: the topic refuses it with another 4xx than 408 and 429. Retry: any other fault.
        """
        kind, data = f"Basegate.{outcome.name}", dict(outcome.data)
        event = CloudEvent(
            source="basegate", type=kind, subject=outcome.subject, data=data, id=outcome.id or None, time=outcome.at
        )
        try:
            with translated(f"announcing {outcome.name}", remedy="give the app EventGrid Data Sender on the topic"):
                self._client.send(event, **DEADLINES)
        except (Misconfigured, Rejected) as error:
            refused = _is_refusal(getattr(error.__cause__, "status_code", None) or 0)
            raise (Rejected if refused else Retry)(error.problem, cause=error.cause, remedy=error.remedy) from error


class WebhookAnnouncer:
    """Sends one POST an outcome; redirects are not followed.

    Args:
        url: an https URL.
        style: `slack` and `teams` are those services' message shapes, `generic` is the outcome itself with
            `X-Basegate-Signature: t=<unix seconds>,v1=<HMAC-SHA256 of "t.body", hex>`.
        secret: the key of that signature; "" sends none.
    """

    def __init__(self, url: str, style: Style = "generic", secret: Callable[[], str] = lambda: "") -> None:
        self._url, self._style, self._secret = urlsplit(url), style, secret

    def announce(self, outcome: Outcome) -> None:
        """Post the outcome.

        Raises:
            Rejected: the webhook refuses it with another 4xx than 408 and 429.
            Retry: it is away, asks to wait, or answers anything else.
            Misconfigured: its URL cannot be used.
        """
        message = {"generic": _generic, "slack": _slack, "teams": _teams}[self._style]
        body = msgspec.json.encode(message(outcome))
        headers = {"Content-Type": "application/json", "User-Agent": "basegate"} | self._signature(body)
        try:
            status, wait = self._post(body, headers)
        except (ValueError, http.client.InvalidURL):  # their texts may hold the URL
            raise Misconfigured("the webhook's URL cannot be used: look at BASEGATE_WEBHOOK_URL") from None
        if _is_refusal(status):
            raise Rejected(f"the webhook refuses {outcome.name} with HTTP {status}: look at BASEGATE_WEBHOOK_URL")
        if not 200 <= status < 300:
            raise Retry(f"sending {outcome.name} to the webhook: HTTP {status}", wait)

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        """The status of the answer, and how long to wait before trying again."""
        host, port = self._url.hostname or "", self._url.port
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=context)
        path = self._url.path + (f"?{self._url.query}" if self._url.query else "")
        connection.putrequest("POST", path or "/")  # this is where a path that is none is refused
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        try:
            with connected(connection, _TIMEOUT_SECONDS):
                connection.endheaders(body)
                answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Retry(f"the webhook at {host} does not answer ({type(error).__name__})") from error
        return answer.status, retry_after(answer.headers.get("Retry-After", ""))

    def _signature(self, body: bytes) -> dict[str, str]:
        secret = self._secret()
        if not secret:
            return {}
        moment = str(int(time.time()))
        signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Basegate-Signature": f"t={moment},v1={signed}"}


def _is_refusal(status: int) -> bool:
    """Whether a status refuses this message, whoever sends it and when."""
    return 400 <= status < 500 and status not in PASSING


def _generic(outcome: Outcome) -> dict[str, object]:
    type_ = f"Basegate.{outcome.name}"
    return {"id": outcome.id, "type": type_, "subject": outcome.subject, "data": dict(outcome.data)}


def _slack(outcome: Outcome) -> dict[str, object]:
    """A message in Slack's mrkdwn. What a log says must not ping a channel or make a link: it is escaped.

    Source: https://docs.slack.dev/messaging/formatting-message-text
    """
    said = html.escape(f"*{_heading(outcome)}*\n{outcome.data.get('reason') or ''}".strip(), quote=False)
    board = board_link(outcome)
    return {"text": f"{said}\n<{board}|{_LINK_TEXT}>" if board else said}


def _teams(outcome: Outcome) -> dict[str, object]:
    """An Adaptive Card. A `TextRun` is shown as it is; a `TextBlock` would make links of what a log says.

    Source: https://adaptivecards.io/explorer/TextRun.html
    """
    facts = [
        {"title": name, "value": ", ".join(map(str, value)) if isinstance(value, list) else str(value)}
        for name, value in outcome.data.items()
        if value and name not in _NO_FACTS
    ]
    body: list[dict[str, object]] = [{"type": "TextBlock", "text": _heading(outcome), "weight": "Bolder", "wrap": True}]
    if reason := outcome.data.get("reason"):
        body.append({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": str(reason)}]})
    body.append({"type": "FactSet", "facts": facts})
    board = board_link(outcome)
    actions = [{"type": "Action.OpenUrl", "title": _LINK_TEXT, "url": board}] if board else []
    content = {"type": "AdaptiveCard", "version": "1.4", "body": body, "actions": actions}
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
    return {"type": "message", "attachments": [card]}


def _heading(outcome: Outcome) -> str:
    return f"Basegate.{outcome.name}: {outcome.data.get('image') or outcome.subject}"
