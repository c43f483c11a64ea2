"""All outside calls of the app go through here: they take time, and may fail, lose their response, stall or die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

from shared.domain.errors import BasegateError, Misconfigured, Rejected, Retry, Throttled
from shared.domain.stable_tag import Veto
from tests.simulation.outside import Outside
from tests.simulation.scheduler import Died, Scheduler, Worker
from tests.simulation.story import Story

PORTS = {
    "ledger": ("insert", "load", "save", "commit", "list", "between", "open", "page", "purge", "purge_moves"),
    "queue": ("send", "send_hint", "check"),
    "registry": (
        "digest_of", "start_copy", "copy_status", "tag_state", "newest_tags", "token_expiry", "lock", "point",
        "unlock", "remove_tag", "attach", "add_layer", "manifest", "blob_size", "put_blob", "put_manifest",
    ),
    "tags": ("digest_of", "tags", "allowance"),
    "referrers": ("attached", "cosign_tags", "manifest", "blob"),
    "tasks": ("start", "find", "marked", "get", "log", "raw_log", "check", "cancel"),
    "containers": ("put", "get", "delete"),
    "probe": ("check",),
    "signer": ("sign", "check"),
    "archive": ("store", "read", "find", "remove", "check"),
    "topic": ("announce",),
    "webhook": ("announce",),
    "secrets": ("credentials", "expiry"),
    "subscriptions": ("delivers_to_app",),
}  # fmt: skip

_BY_SERVER = frozenset(("registry", "tags", "referrers", "tasks"))
_EFFECTS = frozenset((
    "insert", "save", "commit", "start_copy", "lock", "point", "unlock", "remove_tag", "attach", "add_layer",
    "put_blob", "put_manifest", "start",
    "put", "delete",
))  # fmt: skip
_NEVER = 1e18


class Chaos:
    """The probability of faults per call, and the current outages.

    `away` are the places with an outage: a port, or a port at a server, with its kind and end.
    `struck` counts the faults by kind.
    """

    def __init__(self, random: Random) -> None:
        level = random.choice((0.0, 0.3, 1.0, 1.0, 2.0))
        self.random = random
        self.dies = 0.0030 * level * random.choice((0, 1, 2))
        self.pauses = 0.0015 * level * random.choice((0, 1, 2))
        self.fails = 0.006 * level
        self.loses = 0.006 * level
        self.dawdles = 0.02
        self.away: dict[str, tuple[str, float]] = {}
        self.away_for_long: dict[str, tuple[str, float]] = {}
        self.struck: Counter[str] = Counter()
        self.calm = False

    def calm_down(self) -> None:
        """Stop all faults."""
        self.calm = True
        self.away.clear()

    def error(self, port: str, method: str, server: str, now: float) -> BasegateError | None:
        """The error of a place with an outage, or None."""
        for place in (port, f"{port}@{server}") if server else (port,):
            how, until = self.away_for_long.get(place) or self.away.get(place) or ("", 0.0)
            if until > now:
                self.struck[how] += 1
                return _refused(how, f"{place} {method}")
        return None


def _refused(how: str, what: str) -> BasegateError:
    match how:
        case "throttled":
            return Throttled(f"{what}: 429", 30.0)
        case "forbidden":
            return Misconfigured(f"{what}: 403", remedy="give the app its role")
        case "locked":
            return Rejected(f"{what}: it is locked")
    return Retry(f"{what}: 503", 5.0)


class Calls:
    """Creates the ports of the app. `between` is called between two calls while anything is `waiting`."""

    def __init__(self, scheduler: Scheduler, outside: Outside, chaos: Chaos, story: Story) -> None:
        self._scheduler, self._chaos, self._story = scheduler, chaos, story
        self._random = chaos.random
        self.made = 0
        self.between: Callable[[str, str], None] = lambda port, method: None
        self.waiting: Sequence[object] = ()
        self.reading: Callable[[str, tuple[Any, ...]], None] = lambda method, arguments: None
        self.acting: Callable[[str, tuple[Any, ...]], None] = lambda method, arguments: None
        real = {name: getattr(outside, name) for name in PORTS if name != "probe"} | {"probe": outside.containers}
        self.ports = {name: self._port(name, real[name], methods) for name, methods in PORTS.items()}

    def _port(self, port: str, real: object, methods: tuple[str, ...]) -> Any:
        return SimpleNamespace(**{method: self._method(port, method, getattr(real, method)) for method in methods})

    def _method(self, port: str, method: str, real: Callable[..., Any]) -> Callable[..., Any]:
        by_server, effect, ledger = port in _BY_SERVER, method in _EFFECTS, port == "ledger"
        scheduler, chaos, story = self._scheduler, self._chaos, self._story
        calmly = self._at_once if ledger and not effect else self._calmly

        def call(*arguments: Any, **named: Any) -> Any:
            self.made += 1
            lost, worker = False, scheduler.current
            if worker is not None:
                if worker.dead:
                    raise Died
                server = arguments[2 if method == "start_copy" else 0].login_server if by_server else ""
                lost = (calmly if chaos.calm else self._through_chaos)(worker, port, method, server)
            if effect:
                self.acting(method, arguments)
                if story.recorded:
                    story.call(port, method, arguments)
            answer = real(*arguments, **named)
            if ledger and worker is not None and arguments and arguments[0] is Veto:
                self.reading(method, arguments)
            if (effect or lost) and not chaos.calm:
                self._after(port, method, lost=lost, effect=effect)
            return answer

        return call

    def _at_once(self, worker: Worker, port: str, method: str, server: str) -> bool:
        """A read of the ledger without faults takes no time: what happens between it and a write, happens before that
        write arrives."""
        return False

    def _calmly(self, worker: Worker, port: str, method: str, server: str) -> bool:
        self._scheduler.sleep(0.005)
        if port in self._chaos.away_for_long:
            self._refuse(port, method, server)
        return False

    def _through_chaos(self, worker: Worker, port: str, method: str, server: str) -> bool:
        """Wait for the call to arrive, if it does; returns whether its response is to be lost."""
        chaos, random = self._chaos, self._random.random
        if self.waiting:
            self.between(port, method)
        wait, fate = 0.005 + 0.05 * random(), random()
        if fate < chaos.dawdles:
            chaos.struck["slow call"] += 1
            wait += 8.0 * random()
        elif fate < chaos.dawdles + chaos.pauses:
            wait += self._pause()
        self._scheduler.sleep(wait)
        fate, dies = random(), chaos.dies * worker.frailty
        if fate < dies:
            self._die("died before a call", method)
        if chaos.away or chaos.away_for_long:
            self._refuse(port, method, server)
        if fate < dies + chaos.fails:
            chaos.struck["passing fault"] += 1
            self._story.tell(f"{port} {method} fails")
            raise Retry(f"{port} {method}: 503", 1.0)
        return fate < dies + chaos.fails + chaos.loses

    def _refuse(self, port: str, method: str, server: str) -> None:
        if error := self._chaos.error(port, method, server, self._scheduler.seconds):
            self._story.tell(f"{port} {method}: {error}")
            raise error

    def _after(self, port: str, method: str, *, lost: bool, effect: bool) -> None:
        scheduler, chaos, random = self._scheduler, self._chaos, self._random
        worker = scheduler.current
        if worker is None:
            return
        if effect:
            if self.waiting:
                self.between(port, method)
            scheduler.sleep(0.005 + 0.05 * random.random())
            if random.random() < chaos.dies * 3 * worker.frailty:
                self._die("died after a call", method)
        if lost:
            chaos.struck["answer lost"] += 1
            self._story.tell(f"the response of {port} {method} is lost")
            raise Retry(f"{port} {method}: no response", 1.0)

    def _pause(self) -> float:
        seconds = self._random.choice((20.0, 60.0, 90.0, 200.0, 340.0, 700.0))
        worker = self._scheduler.current
        assert worker is not None
        worker.paused_until = self._scheduler.seconds + seconds
        worker.paused()
        self._chaos.struck["paused beyond its claim" if seconds > 330 else "paused"] += 1
        self._story.tell(f"is paused for {seconds:.0f} s")
        return seconds

    def _die(self, kind: str, method: str) -> None:
        worker = self._scheduler.current
        assert worker is not None
        self._chaos.struck[kind] += 1
        self._story.tell(f"dies at {method}")
        worker.dead = True
        raise Died


class Clock:
    """The clock of the current worker."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.now = scheduler.now
