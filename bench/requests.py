"""The number of requests of one push: to the table of the ledger and to the queues, from the event to the live app.

It is the second push of a gate with one app, so everything that is written once exists already. The check takes 60 s,
the build 30 s, the copy and the deployment seconds, and the event of the app's own push arrives, too. Polls of what
still runs are counted separately: their number depends on the duration of the runs.

A request is what the table adapter sends: one for a read, a transaction, or a page of a query, and one more for each
open record. A message is three operations: put, get, delete.

At cba0be1, where every step was a separate message and the intake of every event used the ledger, the same program
counted `BEFORE`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from bench.figure import Figure
from tests.fakes import World, digest

BEFORE = {"table": 62, "queue": 42, "table, polls": 128, "queue, polls": 162}
CHECK_SECONDS, BUILD_SECONDS = 60.0, 30.0

_ONE_REQUEST = ("insert", "load", "save", "commit", "page", "list", "between")
_BEGINS = (("tasks", "start"), ("containers", "put"), *(("registry", name) for name in ("start_copy", "lock", "point")))
_ASKS = (("tasks", "get"), ("registry", "copy_status"), ("containers", "get"), ("probe", "check"))
_OPERATIONS_A_MESSAGE = 3


class CountingLedger:
    """A ledger that counts the requests that the table adapter would send."""

    def __init__(self, ledger: Any, counts: Counter[str]) -> None:
        self._ledger, self._counts = ledger, counts

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if name not in _ONE_REQUEST:
            return method

        def counted(*args: Any) -> Any:
            self._counts["table"] += 1
            return method(*args)

        return counted

    def open(self, *args: Any) -> Iterator[Any]:
        """See `Ledger.open`."""
        self._counts["table"] += 1
        for stored in self._ledger.open(*args):
            self._counts["table"] += 1
            yield stored

    def purge(self, *args: Any) -> Any:
        """See `Ledger.purge`."""
        self._counts["table"] += 2
        return self._ledger.purge(*args)


class CountingQueue:
    """Queues that count the operations on their messages."""

    def __init__(self, queue: Any, counts: Counter[str]) -> None:
        self._queue, self._counts = queue, counts

    def __getattr__(self, name: str) -> Any:
        if name in ("send", "send_hint"):
            self._counts["queue"] += _OPERATIONS_A_MESSAGE
        return getattr(self._queue, name)


class Story:
    """The reference scenario, with requests counted by the purpose of each delivery of a message."""

    def __init__(self) -> None:
        self.world, self.total = World(), Counter[str]()
        self._counts, self._begun, self._runs_on = Counter[str](), 0, False
        self.world.ledger = CountingLedger(self.world.ledger, self._counts)  # type: ignore[assignment]
        self.world.queue = CountingQueue(self.world.queue, self._counts)  # type: ignore[assignment]
        for place, name in _BEGINS:
            self._watch(place, name, self._has_begun)
        for place, name in _ASKS:
            self._watch(place, name, self._has_asked)
        self.world.restart()
        name = "next_item" if hasattr(self.world, "next_item") else "next_look"
        deliver = getattr(self.world, name)
        setattr(self.world, name, lambda: self._counted(deliver))

    def play(self, content: str) -> None:
        """Play a push until the app on it is live and the app's own push was handled."""
        self._counted(lambda: self.world.push("15-alpine", digest(content)))
        self.world.settle()
        live = self.world.app().live
        assert live
        place = ("team", f"hello-world:{live.tag}")
        event = self.world.event(live.tag, self.world.registry.tags[place], registry="team", repository="hello-world")
        self._counted(lambda: self.world.deliver(event))
        self.world.settle()
        assert self.world.stable_tag() == digest(content)

    def _counted(self, deliver: Callable[[], object]) -> object:
        """Deliver something. It was a poll if something still runs, and nothing was started."""
        self._counts.clear()
        self._begun, self._runs_on = 0, False
        answer = deliver()
        poll = ", polls" if self._runs_on and not self._begun else ""
        self.total.update({name + poll: count for name, count in self._counts.items()})
        return answer

    def _watch(self, place: str, name: str, see: Callable[..., None]) -> None:
        fake = getattr(self.world, place)
        method = getattr(fake, name)

        def watched(*args: Any, **options: Any) -> Any:
            if name == "start":
                fake.seconds = BUILD_SECONDS if args[1] == "hello-world" else CHECK_SECONDS
            answer = method(*args, **options)
            see(answer)
            return answer

        setattr(fake, name, watched)

    def _has_begun(self, _answer: object) -> None:
        self._begun += 1

    def _has_asked(self, answer: Any) -> None:
        status = getattr(answer, "status", getattr(answer, "state", None))
        self._runs_on |= "RUNNING" in str(getattr(status, "name", "")) or getattr(answer, "running", True) is False


def count() -> dict[str, int]:
    """Table requests and queue operations of the second push, those of polls separately."""
    story = Story()
    story.play("orange")
    story.total.clear()
    story.play("green")
    return {name: story.total[name] for name in BEFORE}


def measure() -> list[Figure]:
    """The figures: now, and at the earlier commit."""
    now = count()
    return [
        Figure(f"{name.replace(', ', '_')}_requests", "requests", "now", now[name], "before", BEFORE[name])
        for name in BEFORE
    ]


if __name__ == "__main__":
    print(count())
