"""Webhooks: a POST to an endpoint for every push and delete that a webhook is about, and for a ping.

Each event is sent once: Azure documents no retries, and no signature. A webhook hears of what happens in its region: at
the registry itself, or at the replica there. It is sent one event at a time, in order.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from sandbox.registry.events import event_data
from sandbox.registry.records import Push, RegistryRecord, WebhookRecord, timestamp
from sandbox.store import Collection

log = logging.getLogger(__name__)

_KEPT_EVENTS = 100
_MOST_WAITING = 100
_MOST_AT_ONCE = 50
_RESPONSE_SECONDS = 5  # and 504 after that, as in Azure: https://github.com/MicrosoftDocs/azure-docs/issues/54638
_REPLY_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Queue:
    """The events that a webhook has yet to be sent, and the task that sends them."""

    events: asyncio.Queue[dict[str, Any]]
    worker: asyncio.Task[None]


class Webhooks:
    """The webhooks of all registries, and the last events of each (until the sandbox stops).

    At most 100 events wait for a webhook whose endpoint is slow; a further one is not sent. At most 50 requests are in
    progress at a time.

    Args:
        file: where the webhooks are stored; only its owner may read it, since URIs and headers may contain secrets.
        outside: returns a session that reaches every host of the sandbox by its real name.
    """

    def __init__(self, file: Path, outside: Callable[[], aiohttp.ClientSession]) -> None:
        self.records = Collection(file, WebhookRecord)
        self._outside = outside
        self._events: dict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=_KEPT_EVENTS))
        self._queues: dict[str, _Queue] = {}
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    async def stop(self) -> None:
        """Cancel the deliveries in progress."""
        workers = [queue.worker for queue in self._queues.values()]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._queues.clear()

    def of(self, registry: str) -> Iterator[WebhookRecord]:
        """The webhooks of a registry."""
        return self.records.values(f"{registry}/")

    def events(self, webhook: WebhookRecord) -> list[dict[str, Any]]:
        """The last events of a webhook, the newest first; the values of custom headers are masked, as in Azure."""
        return list(reversed(self._events[_key(webhook)]))

    def forget(self, webhook: WebhookRecord) -> None:
        """Remove a webhook and its events, those that wait included."""
        self.records.remove(_key(webhook))
        self._events.pop(_key(webhook), None)
        if queue := self._queues.pop(_key(webhook), None):
            queue.worker.cancel()

    def announce(self, registry: RegistryRecord, push: Push) -> None:
        """Send a push or delete to the webhooks that are about it."""
        for webhook in self.of(registry.name):
            if webhook.location == (push.replica or registry.location) and _is_about(webhook, push):
                self._enqueue(webhook, event_data(push))

    async def ping(self, webhook: WebhookRecord) -> str:
        """Send a ping, whatever the webhook's status, and return the event's id; its response is among `events`."""
        event = {"id": str(uuid.uuid4()), "timestamp": timestamp(datetime.now(UTC)), "action": "ping"}
        await self._send(webhook, event)
        return event["id"]

    def _enqueue(self, webhook: WebhookRecord, content: dict[str, Any]) -> None:
        key = _key(webhook)
        queue = self._queues.get(key)
        if queue is None or queue.worker.done():  # it ends with an error that nobody foresaw
            events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)
            worker = asyncio.get_running_loop().create_task(self._work(key, events))
            queue = self._queues[key] = _Queue(events, worker)
        if queue.events.full():
            reason = f"not sent: {_MOST_WAITING} events wait already"
            log.warning("An event of the webhook %s of %s is %s", webhook.name, webhook.registry, reason)
            self._keep(webhook, content, {}, _response(0, reason, {}, ""))
        else:
            queue.events.put_nowait(content)

    async def _work(self, key: str, events: asyncio.Queue[dict[str, Any]]) -> None:
        while True:
            content = await events.get()
            webhook = self.records.get(key)
            if webhook is not None:
                await self._send(webhook, content)

    async def _send(self, webhook: WebhookRecord, content: Mapping[str, Any]) -> None:
        body = msgspec.json.encode(content)
        headers = {"Content-Type": "application/json; charset=utf-8"} | webhook.custom_headers
        try:
            timeout = aiohttp.ClientTimeout(total=_RESPONSE_SECONDS)
            async with (
                self._slots,
                self._outside() as session,
                session.post(
                    webhook.service_uri, data=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as answer,
            ):
                reply = (await answer.content.read(_REPLY_LIMIT_BYTES)).decode(errors="replace")
                response = _response(answer.status, answer.reason or "", dict(answer.headers), reply)
        except TimeoutError:
            response = _response(504, "Gateway Timeout", {}, "")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # its text may show the URI, which may be secret
            kind = type(error).__name__
            log.warning("The webhook %s of %s is not reachable: %s", webhook.name, webhook.registry, kind)
            response = _response(0, f"not reachable: {kind}", {}, "")
        shown = headers | dict.fromkeys(webhook.custom_headers, "******") | {"Content-Length": str(len(body))}
        self._keep(webhook, content, shown, response)

    def _keep(
        self,
        webhook: WebhookRecord,
        content: Mapping[str, Any],
        headers: Mapping[str, str],
        response: Mapping[str, Any],
    ) -> None:
        if self.records.get(_key(webhook)) is None:
            return  # it has been deleted meanwhile
        request = {
            "method": "POST",
            "requestUri": webhook.service_uri.partition("?")[0],
            "headers": headers,
            "content": content,
            "version": "1.1",
        }
        event = {"id": content["id"], "eventRequestMessage": request, "eventResponseMessage": response}
        self._events[_key(webhook)].append(event)


def _response(status: int, reason: str, headers: Mapping[str, str], content: str) -> dict[str, Any]:
    return {
        "statusCode": str(status),
        "reasonPhrase": reason,
        "headers": headers,
        "content": content,
        "version": "1.1",
    }


def _is_about(webhook: WebhookRecord, push: Push) -> bool:
    """Whether an enabled webhook has a push's or delete's action and repository (and tag) in its scope.

    The scope `foo:*` is all of the repository foo, `foo:bar` one tag, `foo` the tag latest, "" everything. A delete has
    no tag, so only a scope that is all of the repository covers it.
    """
    if webhook.status != "enabled" or push.action not in webhook.actions:
        return False
    repository, _, tag = webhook.scope.partition(":")
    return not webhook.scope or (repository == push.repository and (tag == "*" or (tag or "latest") == push.tag))


def _key(webhook: WebhookRecord) -> str:
    return f"{webhook.registry}/{webhook.name}".lower()
