"""Outcomes to a chat or any other webhook: Slack's and Teams' shapes, or a signed one of our own.

The URL of a chat webhook is a secret: it is never said in an error or a log.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import http.client
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from shared.adapters.announcer_links import board_link
from shared.domain.errors import Misconfigured, Retry
from shared.ports import Announcer, Notice

log = logging.getLogger(__name__)

Style = Literal["generic", "slack", "teams"]

_LINK_TEXT = "Open on the board"
_NO_FACTS = frozenset(("logTail", "links", "reason"))
_TIMEOUT_SECONDS = 5.0
_RETRY_LIMIT_SECONDS = 300.0
_PASSING = frozenset((408, 429, 500, 502, 503, 504))


class WebhookAnnouncer:
    """Implements the port `Announcer`: one POST an outcome, redirects are not followed.

    Args:
        url: an https URL.
        style: `slack` and `teams` are those services' message shapes, `generic` is the notice itself with
            `X-Basegate-Signature: t=<unix seconds>,v1=<HMAC-SHA256 of "t.body", hex>`.
        secret: the key of that signature; "" sends none.
    """

    def __init__(self, url: str, style: Style = "generic", secret: Callable[[], str] = lambda: "") -> None:
        self._url, self._style, self._secret = urlsplit(url), style, secret

    def announce(self, notice: Notice) -> None:
        """Post the outcome.

        Raises:
            Retry: the webhook is away or asks to wait.
            Misconfigured: it refuses the message.
        """
        body = msgspec.json.encode(_message(notice, self._style))
        headers = {"Content-Type": "application/json", "User-Agent": "basegate"} | self._signature(body)
        try:
            status, retry_after = self._post(body, headers)
        except (ValueError, http.client.InvalidURL):  # their texts may hold the URL
            raise Misconfigured("the webhook's URL cannot be used: look at BASEGATE_WEBHOOK_URL") from None
        if 200 <= status < 300:
            return
        if status in _PASSING:
            raise Retry(f"telling {notice.name} to the webhook: HTTP {status}", retry_after)
        raise Misconfigured(f"the webhook refuses {notice.name} with HTTP {status}: look at BASEGATE_WEBHOOK_URL")

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        host, port = self._url.hostname or "", self._url.port
        connection = http.client.HTTPSConnection(
            host, port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
        path = self._url.path + (f"?{self._url.query}" if self._url.query else "")
        try:
            connection.request("POST", path or "/", body=body, headers=dict(headers))
            answer = connection.getresponse()
            wait = answer.headers.get("Retry-After", "")
        except http.client.InvalidURL:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise Retry(f"the webhook at {host} does not answer ({type(error).__name__})") from error
        finally:
            connection.close()
        return answer.status, min(_RETRY_LIMIT_SECONDS, float(wait)) if wait.isdecimal() else 5.0

    def _signature(self, body: bytes) -> dict[str, str]:
        secret = self._secret()
        if not secret:
            return {}
        moment = str(int(time.time()))
        signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Basegate-Signature": f"t={moment},v1={signed}"}


class Announcers:
    """Several announcers as one: each hears every outcome; one that fails keeps no other from telling.

    An outcome that one could not tell is told again, to all: hearing twice is better than not at all.
    """

    def __init__(self, *announcers: Announcer) -> None:
        self._announcers = announcers

    def announce(self, notice: Notice) -> None:
        """Tell all; then raise the first failure. A passing one counts before one that is not."""
        failures: list[Retry | Misconfigured] = []
        for announcer in self._announcers:
            try:
                announcer.announce(notice)
            except (Retry, Misconfigured) as error:
                failures.append(error)
        for failure in sorted(failures, key=lambda error: isinstance(error, Misconfigured)):
            raise failure


def _message(notice: Notice, style: Style) -> dict[str, object]:
    if style == "slack":
        return _slack(notice)
    if style == "teams":
        return _teams(notice)
    return {"type": f"Basegate.{notice.name}", "subject": notice.subject, "data": dict(notice.data)}


def _heading(notice: Notice) -> str:
    return f"Basegate.{notice.name}: {notice.data.get('image') or notice.subject}"


def _slack(notice: Notice) -> dict[str, object]:
    """A message in Slack's mrkdwn. What a log says must not ping a channel or make a link: it is escaped.

    Source: https://docs.slack.dev/messaging/formatting-message-text
    """
    said = html.escape(f"*{_heading(notice)}*\n{notice.data.get('reason') or ''}".strip(), quote=False)
    board = board_link(notice)
    return {"text": f"{said}\n<{board}|{_LINK_TEXT}>" if board else said}


def _teams(notice: Notice) -> dict[str, object]:
    """An Adaptive Card. A `TextRun` is shown as it is; a `TextBlock` would make links of what a log says.

    Source: https://adaptivecards.io/explorer/TextRun.html
    """
    facts = [
        {"title": name, "value": ", ".join(map(str, value)) if isinstance(value, list) else str(value)}
        for name, value in notice.data.items()
        if value and name not in _NO_FACTS
    ]
    body: list[dict[str, object]] = [
        {"type": "TextBlock", "text": _heading(notice), "weight": "Bolder", "wrap": True},
        {"type": "FactSet", "facts": facts},
    ]
    if reason := notice.data.get("reason"):
        body.insert(1, {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": str(reason)}]})
    board = board_link(notice)
    actions = [{"type": "Action.OpenUrl", "title": _LINK_TEXT, "url": board}] if board else []
    content = {"type": "AdaptiveCard", "version": "1.4", "body": body, "actions": actions}
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
    return {"type": "message", "attachments": [card]}
