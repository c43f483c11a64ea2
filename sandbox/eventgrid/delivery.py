"""Event delivery: at least once, with the retry schedule and dead-lettering; the order is not guaranteed.

Source: https://learn.microsoft.com/azure/event-grid/delivery-and-retry
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sandbox.eventgrid import policy
from sandbox.eventgrid.deadletters import Storage, write_dead_letters
from sandbox.eventgrid.destinations import StorageQueue, WebHook
from sandbox.eventgrid.event import Event
from sandbox.eventgrid.faults import Counts, Faults
from sandbox.eventgrid.outbox import Outbox, Pending
from sandbox.eventgrid.queues import DeliveryQueue
from sandbox.eventgrid.sending import Reply, Sender
from sandbox.eventgrid.subscription import Subscription
from sandbox.web import Fault

log = logging.getLogger(__name__)


class Delivery:
    """Delivers accepted events to the subscriptions' endpoints.

    Args:
        find: returns the subscription of an id, or None if it was deleted (its events are dropped).
        outbox: stores undelivered events.
        sender: sends requests to the endpoints.
        storage: stores the dead letters.
        time_scale: divides the retry schedule, the time to live and the delays of dead-lettering.
    """

    def __init__(
        self,
        find: Callable[[str], Subscription | None],
        outbox: Outbox,
        sender: Sender,
        storage: Storage,
        time_scale: float,
    ) -> None:
        self._find, self._outbox, self._sender, self._storage = find, outbox, sender, storage
        self._scale, self._random = time_scale, random.Random()  # noqa: S311
        self._queues: dict[str, DeliveryQueue] = {}
        self.faults = Faults()

    @property
    def counts(self) -> Counts:
        """The event counts since the start."""
        return self.faults.counts

    @property
    def waiting(self) -> int:
        """The number of events that wait for their next attempt or for dead-lettering."""
        return sum(len(queue) for queue in self._queues.values())

    async def start(self) -> None:
        """Resume the deliveries that an earlier run left pending."""
        for pending in self._outbox.load():
            self._push(pending)

    async def stop(self) -> None:
        """Cancel all attempts; undelivered events stay in the outbox."""
        for queue in self._queues.values():
            await queue.stop()
        self._queues.clear()

    def accept(self, subscription: Subscription, topic: str, event: Event) -> None:
        """Accept an event for delivery; it is stored before this returns, and first attempted immediately."""
        self.counts.matched += 1
        now, delays = datetime.now(UTC), self.faults.delays(subscription.id) if _is_app(subscription) else [0.0]
        if not delays:
            log.warning("Lost event %s (%s) for %s: injected fault", event.id, event.subject, subscription.id)
        for delay in delays:
            pending = Pending(
                key=Outbox.new_key(),
                subscription=subscription.id,
                topic=topic,
                event=event,
                published=now,
                due=now + timedelta(seconds=delay),
            )
            self._outbox.save(pending)
            self._push(pending)

    async def forget(self, subscription_id: str) -> None:
        """Drop a deleted subscription's events."""
        queue = self._queues.pop(subscription_id.lower(), None)
        if queue:
            await queue.stop()
        for pending in self._outbox.load():
            if pending.subscription.lower() == subscription_id.lower():
                self._outbox.remove(pending)

    def _push(self, pending: Pending) -> None:
        name = pending.subscription
        queue = self._queues.get(name.lower())
        if queue is None:
            queue = self._queues[name.lower()] = DeliveryQueue(
                lambda batch: self._work(name, batch), lambda: self._limits(name)
            )
        queue.push(pending)

    def _limits(self, name: str) -> tuple[int, int]:
        subscription = self._find(name)
        return subscription.batch if subscription else (1, 0)

    async def _work(self, name: str, batch: list[Pending]) -> None:
        subscription = self._find(name)
        if subscription is None:
            self._drop(batch, "its subscription was deleted")
        elif batch[0].given_up:
            await self._bury(subscription, batch)
        else:
            await self._attempt(subscription, batch)

    async def _attempt(self, subscription: Subscription, batch: list[Pending]) -> None:
        now = datetime.now(UTC)
        life = timedelta(minutes=subscription.retry.event_time_to_live_in_minutes) / self._scale
        late = [pending for pending in batch if now - pending.published > life]
        self._give_up(subscription, late, "TimeToLiveExceeded")
        alive = [pending for pending in batch if now - pending.published <= life]
        if not alive:
            return
        reply = await self._send(subscription, alive)
        self.counts.attempts += len(alive)
        for pending in alive:
            pending.attempts += 1
            pending.attempted, pending.outcome = now, policy.outcome(reply.status)
        self._judge(subscription, alive, reply.status)

    async def _send(self, subscription: Subscription, batch: Sequence[Pending]) -> Reply:
        if self.faults.settings.off and _is_app(subscription):
            self.counts.refused_while_off += len(batch)
            return Reply(403)  # the response of a stopped app
        return await self._sender.deliver(subscription, batch)

    def _judge(self, subscription: Subscription, batch: Sequence[Pending], status: int) -> None:
        if policy.delivered(status):
            self.counts.delivered += len(batch)
            for pending in batch:
                self._outbox.remove(pending)
            return
        log.info("%s responded with status %d to an event", subscription.id, status)
        final = policy.final(status, webhook=isinstance(subscription.destination, WebHook))
        for pending in batch:
            if final:
                self._give_up(subscription, [pending], "UndeliverableDueToClientError")
            elif pending.attempts >= subscription.retry.max_delivery_attempts:
                self._give_up(subscription, [pending], "MaxDeliveryAttemptsExceeded")
            else:
                self._later(pending, policy.retry_delay(pending.attempts, self._random))

    def _give_up(self, subscription: Subscription, batch: Sequence[Pending], reason: str) -> None:
        if subscription.dead_letters is None:
            self._drop(batch, reason)
            return
        for pending in batch:
            pending.given_up, pending.given_up_at = reason, datetime.now(UTC)
            self._later(pending, policy.DEAD_LETTER_DELAY_SECONDS)

    async def _bury(self, subscription: Subscription, batch: Sequence[Pending]) -> None:
        if subscription.dead_letters is None:
            self._drop(batch, "it no longer has a dead-letter destination")
            return
        try:
            await write_dead_letters(self._storage, subscription, batch)
        except (Fault, OSError) as error:
            log.warning("The dead letters of %s cannot be written: %s", subscription.id, error)
            self._bury_later(batch)
            return
        self.counts.dead_lettered += len(batch)
        for pending in batch:
            self._outbox.remove(pending)

    def _bury_later(self, batch: Sequence[Pending]) -> None:
        limit = timedelta(seconds=policy.DEAD_LETTER_LIMIT_SECONDS) / self._scale
        for pending in batch:
            if datetime.now(UTC) - (pending.given_up_at or pending.published) > limit:
                self._drop([pending], "its dead-letter destination was unavailable for too long")
            else:
                self._later(pending, policy.DEAD_LETTER_RETRY_SECONDS)

    def _later(self, pending: Pending, seconds: float) -> None:
        pending.due = datetime.now(UTC) + timedelta(seconds=seconds / self._scale)
        self._outbox.save(pending)
        self._push(pending)

    def _drop(self, batch: Sequence[Pending], why: str) -> None:
        for pending in batch:
            log.warning("Dropped event %s for %s: %s", pending.event.id, pending.subscription, why)
            self._outbox.remove(pending)
        self.counts.dropped += len(batch)


def _is_app(subscription: Subscription) -> bool:
    """Whether the destination is an app: faults affect only apps, not storage queues."""
    return not isinstance(subscription.destination, StorageQueue)
