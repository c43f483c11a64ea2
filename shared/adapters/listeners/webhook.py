"""Outcomes to a chat or any other webhook. The URL of a chat's webhook is a secret: no error and no log contains it."""

import hashlib
import hmac
import html
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from shared.adapters.listeners.kind import ListenerKind, board_link, is_permanent
from shared.domain.errors import Misconfigured, Rejected, Retry
from shared.domain.outcome import Outcome
from shared.settings import choice_faults

if TYPE_CHECKING:
    from shared.adapters.azure_calls import Identity

_URL, _STYLE, _SECRET = "BASEGATE_WEBHOOK_URL", "BASEGATE_WEBHOOK_STYLE", "BASEGATE_WEBHOOK_SECRET"
_UNRESOLVED = "@Microsoft.KeyVault("
_LINK_TEXT = "Open on the board"
_NO_FACTS = frozenset(("logTail", "links", "reason"))
_TIMEOUT_SECONDS = 5.0


class Webhook(ListenerKind):
    """Sends a POST for each outcome; redirects are not followed.

    Its settings are the URL, one of `STYLES`, and the name of a signing secret. With that it has the header
    `X-Basegate-Signature: t=<unix seconds>,v1=<HMAC-SHA256 of "t.body", hex>`.
    """

    name = "webhook"
    settings = (_URL, _STYLE, _SECRET)

    def __init__(self, values: Mapping[str, str], identity: "Identity", secret: Callable[[str], str]) -> None:
        self._url, self._message = values[_URL], STYLES[values.get(_STYLE, "generic")]
        self._key_name, self._secret = values.get(_SECRET, ""), secret

    @staticmethod
    def faults(values: Mapping[str, str]) -> Iterator[str]:
        """The URL is https. App Service passes on references to Key Vault that it cannot resolve. No fault shows it."""
        yield from choice_faults(_STYLE, values, tuple(STYLES))
        url = values.get(_URL, "https://")
        if url.startswith(_UNRESOLVED):
            yield f"{_URL} is a Key Vault reference that App Service could not resolve: check its access"
        elif not url.startswith("https://"):
            yield f"{_URL} must be an https URL"

    def announce(self, outcome: Outcome) -> None:
        """Post the outcome.

        Raises:
            Rejected: the webhook refuses it with another 4xx than 408 and 429.
            Retry: it is unavailable, asks to wait, or responds with anything else.
            Misconfigured: its URL cannot be used.
        """
        from shared.adapters.azure_calls import retry_after
        from shared.adapters.plain_http import NoAnswer, send

        body = msgspec.json.encode(self._message(outcome))
        headers = {"Content-Type": "application/json", "User-Agent": "basegate"} | self._signature(body)
        try:
            status, received = send("POST", self._url, _TIMEOUT_SECONDS, headers, body)
        except ValueError:
            raise Misconfigured(f"the webhook's URL cannot be used: check {_URL}") from None
        except NoAnswer as error:
            raise Retry(f"the webhook at {urlsplit(self._url).hostname} does not respond ({error})") from error
        if is_permanent(status):
            raise Rejected(f"the webhook refuses {outcome.name} with HTTP {status}: check {_URL}")
        if not 200 <= status < 300:
            problem = f"sending {outcome.name} to the webhook: HTTP {status}"
            raise Retry(problem, retry_after(received.get("Retry-After", "")))

    def _signature(self, body: bytes) -> dict[str, str]:
        if not self._key_name:
            return {}
        key, moment = self._secret(self._key_name), str(int(time.time()))
        signed = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Basegate-Signature": f"t={moment},v1={signed}"}


def _generic(outcome: Outcome) -> dict[str, object]:
    type_ = f"Basegate.{outcome.name}"
    return {"id": outcome.id, "type": type_, "subject": outcome.subject, "data": dict(outcome.data)}


def _slack(outcome: Outcome) -> dict[str, object]:
    """A message in Slack's mrkdwn. Log text is escaped: it must not notify a channel or create a link.

    Source: https://docs.slack.dev/messaging/formatting-message-text
    """
    text = html.escape(f"*{_heading(outcome)}*\n{outcome.data.get('reason') or ''}".strip(), quote=False)
    board = board_link(outcome)
    return {"text": f"{text}\n<{board}|{_LINK_TEXT}>" if board else text}


def _teams(outcome: Outcome) -> dict[str, object]:
    """An Adaptive Card. A `TextRun` is shown verbatim; a `TextBlock` would render log text as Markdown.

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


STYLES: Mapping[str, Callable[[Outcome], dict[str, object]]] = {"generic": _generic, "slack": _slack, "teams": _teams}
"""The formats of messages: `slack` and `teams` are those of the services, `generic` is the outcome itself. A further
style is one more function and its entry here."""
