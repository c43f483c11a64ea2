"""Health checks: whether everything that the rules need can be used, each with what to do if not."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from itertools import islice
from threading import Lock

import msgspec

from shared.domain.alarm import STALLS, AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.errors import BasegateError, Misconfigured, Retry
from shared.domain.outcome import LISTENERS, Listener
from shared.domain.policy import Policy, RegistryRule
from shared.domain.promotion import Promotion
from shared.domain.record import Record
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.sweep import SWEEPS, SweepRecord
from shared.ports import Services
from shared.records.alarms import Alarms
from shared.settings import HINT_QUEUE, POISON, WORK_QUEUE

TIMEOUT_SECONDS = 8.0
"""How long a check may take. They all begin at the same time, so it is how long all of them may take, too."""

RULES_SECONDS = 2.0
"""How long the checks wait for the rules to be complete, before they do without."""

RECENT_SECONDS = 60.0
"""How old what the board shows of the checks may be."""

SKEW_WARNS_SECONDS = 60.0
SKEW_STOPS_SECONDS = 15 * 60.0
"""From here on the tokens that the app signs in with may be refused, and claims outlive whoever made them."""

SWEEP_WARNS_MINUTES = 60.0
_CHECKS_AT_A_TIME = 64
_NO_TAG = "basegate-readyz"
"""Nothing is called so: asking for it tells whether one may ask."""

_OPEN = 50
"""How many of the open records of a kind are read of a gate or an app."""

_FAULTS = (
    (Misconfigured, "misconfigured", "fix what is named here"),
    (Retry, "away", "it passes by itself; if it stays so, check the service's health"),
    (BasegateError, "refused", "read what the service says, and fix the rule or the resource that it names"),
)
"""What state an error means, and what to do where it does not say so itself; the first that fits."""

_SLOW_REMEDY = "a firewall that drops what the app sends looks so: check the network rules, then the service's health"
_CLOCK_REMEDY = (
    "restart the app, so that it comes up on another host; on a machine of your own, switch its time service (NTP) on"
)
_POISON_REMEDY = (
    "read in the log why work-poison or hints-poison cannot take them up, fix it, then clear that queue: the sweep "
    "brings up the records"
)
_SWEEP_REMEDY = (
    "see that the function drift-timer is there and enabled, what it says in the log, and BASEGATE_SWEEP_SCHEDULE"
)
_SERVER_REMEDY = "write its `server` into the rules, beside its `id`"
_STALL_REMEDY = "fix what is named here; the record goes on by itself"
_REFUSED_REMEDY = "see what the listener says against it; it is sent again once a day"


class HealthResult(msgspec.Struct, frozen=True):
    """One dependency.

    `state` is `ok`, `warning` (it works, but check it), `misconfigured` (a person must fix it), `away` (it passes),
    `refused` or `slow`; `cause` one of `shared.domain.errors.Cause`, `clock`, `poison`, `stalled`, `outcomes`, `sweep`,
    or "".
    """

    dependency: str
    state: str
    detail: str = ""
    cause: str = ""
    remedy: str = ""

    @property
    def stops(self) -> bool:
        """Whether the app cannot do its work for this."""
        return self.state not in ("ok", "warning")


Check = Callable[[], object]
"""Asks one thing: a list has its results, any other answer is `ok`, and a `BasegateError` says what is wrong."""


class HealthChecks:
    """Asks each dependency once, cheaply and without changing anything, all at the same time.

    A client waits for a service that hangs far longer than a person does for an answer. Its check is left behind then,
    and not begun again before it has ended: however often one asks, no more threads hang than there are dependencies.
    """

    def __init__(self, services: Services, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._services, self._timeout = services, timeout_seconds
        self._begun: dict[str, Future[Sequence[HealthResult]]] = {}
        self._beginning, self._begun_at = Lock(), -math.inf
        self._asked: dict[str, Future[Sequence[HealthResult]]] = {}
        self._known: list[HealthResult] | None = None

    def run(self) -> list[HealthResult]:
        """What each dependency says, in the order of the rules; one that is too slow is said to be so."""
        futures = self._begin(dict(_checks(self._services)))
        wait(futures.values(), timeout=self._timeout)
        return [result for name, future in futures.items() for result in self._results(name, future)]

    def recent(self) -> list[HealthResult] | None:
        """What stops the app, as of a minute ago at most while somebody asks; None until the first checks have ended.

        It waits for nothing: who asks begins the checks whose results the next one gets.
        """
        age = time.monotonic() - self._begun_at
        if age > 2 * RECENT_SECONDS:
            self._known = None  # nobody has asked since: what was so then is no news
        elif age > self._timeout or all(future.done() for future in self._asked.values()):
            results = (one for name, future in self._asked.items() for one in self._results(name, future))
            self._known = [one for one in results if one.stops]
        if age > RECENT_SECONDS:
            self._asked, self._begun_at = self._begin(dict(_checks(self._services))), time.monotonic()
        return self._known

    def _begin(self, wanted: dict[str, Check]) -> dict[str, Future[Sequence[HealthResult]]]:
        with self._beginning:
            going = {name: future for name, future in self._begun.items() if not future.done()}
            pool = ThreadPoolExecutor(_CHECKS_AT_A_TIME, thread_name_prefix="readyz")  # it makes threads as needed
            new = {name: pool.submit(_checked, name, check) for name, check in wanted.items() if name not in going}
            pool.shutdown(wait=False)
            self._begun = going | new
            return {name: self._begun[name] for name in wanted}

    def _results(self, name: str, future: Future[Sequence[HealthResult]]) -> Sequence[HealthResult]:
        if future.done():
            return future.result()
        return [HealthResult(name, "slow", f"no answer within {self._timeout:.0f} s", "network", _SLOW_REMEDY)]


def _checked(name: str, check: Check) -> Sequence[HealthResult]:
    """The check's own results, `ok` where it has none, or what its error says."""
    try:
        found = check()
    except BasegateError as error:
        state, remedy = next((state, remedy) for kind, state, remedy in _FAULTS if isinstance(error, kind))
        return [HealthResult(name, state, error.problem, error.cause or "", error.remedy or remedy)]
    return found if found and isinstance(found, list) else [HealthResult(name, "ok")]


def _checks(services: Services) -> Iterator[tuple[str, Check]]:
    """The checks by what they ask, in the order of the rules; a thing that two rules name is there twice."""
    yield "ledger (tables)", partial(services.ledger.load, AppRecord, "readyz", "app")
    yield "queues", partial(_queues, services)
    yield "evidence (blobs)", services.archive.check
    policy = _rules(services)
    if policy is None:
        yield "login servers", services.rules
        return
    for registry in policy.registries.values():
        yield from _registry(services, registry)
    for gate in policy.gates.values():
        yield _repository(services, gate.source.registry, gate.source.repository)
        yield _repository(services, gate.promote.registry, gate.promote.repository)
        yield from (_task(services, one.task.registry, one.task.task) for one in gate.checks if one.task)
    for app in policy.apps.values():
        yield _task(services, app.build.registry, app.build.task)
        if app.deploy is not None:
            yield f"container group {app.deploy.aci}", partial(services.containers.get, app.deploy)
    for kind, names, kinds in (("gate", policy.gates, (Candidate, Promotion)), ("app", policy.apps, (Rollout,))):
        for name in names:
            yield f"records of {kind} {name}", partial(_records, f"records of {kind} {name}", services, kinds, name)
    yield "outcomes", partial(_outcomes, services)
    yield "sweep", partial(_sweeps, services)


def _rules(services: Services) -> Policy | None:
    """The rules, None where nobody knows in time where their registries are: a new process asks Azure first."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="readyz-rules")
    asked = pool.submit(services.rules)
    pool.shutdown(wait=False)
    try:
        return asked.result(RULES_SECONDS)
    except (TimeoutError, Retry):
        return None


def _registry(services: Services, rule: RegistryRule) -> Iterator[tuple[str, Check]]:
    """What is asked about a registry itself."""
    if rule.is_azure:
        name = f"login server of registry {rule.name}"
        yield name, partial(_login_server, name, services, rule)
    if stem := rule.credentials:
        yield f"secrets {stem}-user and -password", partial(services.secrets.credentials, rule)


def _login_server(name: str, services: Services, rule: RegistryRule) -> list[HealthResult]:
    """Whether a registry is where the rules, or their ledger, say. A server that cannot be asked for may be right."""
    try:
        there = services.registry.login_server(rule)
    except Misconfigured as error:
        said = f"it is taken to be {rule.login_server}: {error.problem}"
        return [HealthResult(name, "warning", said, error.cause or "", error.remedy or _SERVER_REMEDY)]
    if there == rule.login_server:
        return []
    said = f"Azure says {there}, and it is taken to be {rule.login_server}"
    return [HealthResult(name, "misconfigured", said, "", f"{_SERVER_REMEDY}: {there}")]


def _repository(services: Services, registry: str, repository: str) -> tuple[str, Check]:
    rule = services.registry_rule(registry)
    reader = services.registry if rule.is_azure else services.tags
    return f"registry {rule.login_server}/{repository}", partial(reader.digest_of, rule, repository, _NO_TAG)


def _task(services: Services, registry: str, task: str) -> tuple[str, Check]:
    rule = services.registry_rule(registry)
    return f"task {task} of {rule.login_server}", partial(services.tasks.check, rule, task)


def _queues(services: Services) -> Sequence[HealthResult]:
    """The queues, the messages that the host gave up on, and the clock that the queue service says."""
    state, poison = services.queue.check(), HealthResult("poison queues", "ok")
    if state.given_up:
        queues = f"{WORK_QUEUE}{POISON} or {HINT_QUEUE}{POISON}"
        detail = f"{state.given_up} messages lie in {queues}: they crashed at every delivery"
        poison = HealthResult("poison queues", "warning", detail, "poison", _POISON_REMEDY)
    return [HealthResult("queues", "ok"), poison, _clock(state.server_time, services.clock.now())]


def _clock(server_time: datetime | None, now: datetime) -> HealthResult:
    """How far the app's clock is from the storage service's: claims and leases end by the clock of many workers."""
    if server_time is None:
        return HealthResult("clock", "ok", "the storage service says no time")
    ahead = (now - server_time).total_seconds()
    if abs(ahead) <= SKEW_WARNS_SECONDS:
        return HealthResult("clock", "ok")
    said = f"the app's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the storage service's"
    state, harm = "warning", "runs that it started may not be found again"
    if abs(ahead) > SKEW_STOPS_SECONDS:
        state, harm = "misconfigured", "claims end too early or too late"
    return HealthResult("clock", state, f"{said}; {harm}", "clock", _CLOCK_REMEDY)


def _sweeps(services: Services) -> Sequence[HealthResult] | None:
    """Whether the timer's sweep comes by: it finds what is silent, and nobody else would report its own silence."""
    records = (stored.record for stored in services.ledger.list(SweepRecord, SWEEPS))
    last = max((record.last_began_at for record in records if record.last_began_at), default=None)
    minutes = (services.clock.now() - last).total_seconds() / 60 if last else 0.0
    if last and minutes <= SWEEP_WARNS_MINUTES:
        return None
    silent = f"for {minutes:.0f} minutes: what no event reports is not found" if last else "yet"
    return [HealthResult("sweep", "warning", f"no sweep has come by {silent}", "sweep", _SWEEP_REMEDY)]


def _records(name: str, services: Services, kinds: tuple[type[Record], ...], partition: str) -> list[HealthResult]:
    """A warning for each cause that open records stall on."""
    found: dict[str, HealthResult] = {}
    for kind in kinds:
        for stored in islice(services.ledger.open(kind, partition), _OPEN):
            record: Record = stored.record
            stall = record.stall
            if stall is not None and not record.settled:
                since = f"{stall.since:%Y-%m-%d %H:%M}"
                said = f"{record.id} is stalled since {since} on {stall.dependency}: {stall.reason}"
                cause, remedy = stall.cause or "stalled", stall.remedy or _STALL_REMEDY
                result = HealthResult(name, "warning", said, cause, remedy)
                found.setdefault(stall.dependency + stall.cause, result)
    return [*found.values()]


def _outcomes(services: Services) -> list[HealthResult]:
    """A warning for each listener that is away, and for each that refuses outcomes."""
    alarms = (alarm for alarm in Alarms(services).active(STALLS) if alarm.kind is AlarmKind.REFUSED)
    refused = [(f"{alarm.subject} refuses {alarm.words}", "outcomes", _REFUSED_REMEDY) for alarm in alarms]
    away = _records("outcomes", services, (Listener,), LISTENERS)
    return [*away, *(HealthResult("outcomes", "warning", *parts) for parts in refused)]
