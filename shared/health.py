"""Health checks: whether every dependency of the rules can be used, each with a remedy if not."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import partial
from itertools import islice
from threading import Lock

import msgspec

from shared.checks import KINDS
from shared.domain.alarm import STALLS, AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.errors import EVIDENCE, BasegateError, Misconfigured, Retry
from shared.domain.outcome import LISTENERS, Listener
from shared.domain.policy import Gate, Policy, RegistryRule
from shared.domain.promotion import Promotion
from shared.domain.record import Record
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.sweep import SWEEPS, SweepRecord
from shared.ports import Services, Signer
from shared.records.alarms import Alarms
from shared.settings import HINT_QUEUE, POISON, WORK_QUEUE

TIMEOUT_SECONDS = 8.0
"""The time limit of a check. All checks start at the same time, so it is also the time limit of all of them."""

RULES_SECONDS = 2.0
"""How long the checks wait for the rules to be complete."""

RECENT_SECONDS = 60.0
"""The maximum age of the results that the board shows."""

SKEW_WARNS_SECONDS = 60.0
SKEW_STOPS_SECONDS = 15 * 60.0
"""With more skew the app's tokens may be refused, and claims outlive their workers."""

SWEEP_WARNS_MINUTES = 60.0
_MAX_THREADS = 64
_NO_TAG = "basegate-readyz"
"""A tag that does not exist: a request for it shows whether the app may read."""

_OPEN_LIMIT = 50
"""How many open records of a kind are read, of a gate or an app."""

_STATES = (
    (Misconfigured, "misconfigured", "fix what is named here"),
    (Retry, "unavailable", "this is usually temporary; if it persists, check the service's health"),
    (BasegateError, "refused", "read the service's error, and fix the rule or the resource that it names"),
)
"""The state and the default remedy by the type of an error; the first match counts."""

_SLOW_REMEDY = "a firewall may drop the app's packets: check the network rules, then the service's health"
_CLOCK_REMEDY = "restart the app, so that it moves to another host; on your own machine, enable its time service (NTP)"
_POISON_REMEDY = (
    "read in the log why work-poison or hints-poison cannot handle them, fix it, then clear that queue: the sweep "
    "enqueues the records again"
)
_SWEEP_REMEDY = "check that the function drift-timer exists and is enabled, its log, and BASEGATE_SWEEP_SCHEDULE"
_SERVER_REMEDY = "add its `server` to the rules, beside its `id`"
_STALL_REMEDY = "fix what is named here; the record resumes automatically"
_KEY_REMEDY = "check that the key of BASEGATE_SIGNING_KEY exists and is enabled"
_REFUSED_REMEDY = "read the listener's error; the outcome is sent again once a day"


class HealthResult(msgspec.Struct, frozen=True):
    """The result of a check of one dependency.

    `state` is `ok`, `warning` (it works, but check it), `misconfigured` (an operator must fix it), `unavailable`
    (usually temporary), `refused` or `slow`; `cause` one of `shared.domain.errors.Cause`, `clock`, `poison`, `stalled`,
    `outcomes`, `sweep`, or "".
    """

    dependency: str
    state: str
    detail: str = ""
    cause: str = ""
    remedy: str = ""

    @property
    def stops(self) -> bool:
        """Whether the app cannot work because of this."""
        return self.state not in ("ok", "warning")


class Readiness(msgspec.Struct, frozen=True):
    """Whether everything that the rules need can be used."""

    ready: bool
    results: tuple[HealthResult, ...]


Check = Callable[[], object]
"""Checks one dependency: returns a list of results, anything else for `ok`, or raises a `BasegateError`."""


class HealthChecks:
    """Checks each dependency once, all at the same time, with cheap requests that change nothing.

    A check of a service that hangs is left running, and not started again before it has ended: the number of hanging
    threads is limited to that of dependencies, however often the checks are requested.
    """

    def __init__(self, services: Services, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._services, self._timeout = services, timeout_seconds
        self._running: dict[str, Future[Sequence[HealthResult]]] = {}
        self._starting, self._started_at = Lock(), -math.inf
        self._requested: dict[str, Future[Sequence[HealthResult]]] = {}
        self._recent: list[HealthResult] | None = None

    def run(self) -> list[HealthResult]:
        """The results of all dependencies, in the order of the rules; `slow` for those without an answer in time."""
        futures = self._start(dict(_checks(self._services)))
        wait(futures.values(), timeout=self._timeout)
        return [result for name, future in futures.items() for result in self._results(name, future)]

    def readiness(self) -> Readiness:
        """What each dependency says, and whether none of that stops the app."""
        results = tuple(self.run())
        return Readiness(not any(result.stops for result in results), results)

    def recent(self) -> list[HealthResult] | None:
        """The results that stop the app, about a minute old at most; None until the first checks have ended.

        It does not wait: a call starts the checks whose results a later call returns.
        """
        age = time.monotonic() - self._started_at
        if age > 2 * RECENT_SECONDS:
            self._recent = None  # no call in the meantime: the results are out of date
        elif age > self._timeout or all(future.done() for future in self._requested.values()):
            results = (one for name, future in self._requested.items() for one in self._results(name, future))
            self._recent = [one for one in results if one.stops]
        if age > RECENT_SECONDS:
            self._requested, self._started_at = self._start(dict(_checks(self._services))), time.monotonic()
        return self._recent

    def _start(self, wanted: dict[str, Check]) -> dict[str, Future[Sequence[HealthResult]]]:
        with self._starting:
            running = {name: future for name, future in self._running.items() if not future.done()}
            pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="readyz")  # it creates threads as needed
            new = {name: pool.submit(_checked, name, check) for name, check in wanted.items() if name not in running}
            pool.shutdown(wait=False)
            self._running = running | new
            return {name: self._running[name] for name in wanted}

    def _results(self, name: str, future: Future[Sequence[HealthResult]]) -> Sequence[HealthResult]:
        if future.done():
            return future.result()
        return [HealthResult(name, "slow", f"no answer within {self._timeout:.0f} s", "network", _SLOW_REMEDY)]


def _checked(name: str, check: Check) -> Sequence[HealthResult]:
    """The results of a check, `ok` if it has none, or its error as a result."""
    try:
        results = check()
    except BasegateError as error:
        state, remedy = next((state, remedy) for kind, state, remedy in _STATES if isinstance(error, kind))
        return [HealthResult(name, state, error.problem, error.cause or "", error.remedy or remedy)]
    return results if results and isinstance(results, list) else [HealthResult(name, "ok")]


def _checks(services: Services) -> Iterator[tuple[str, Check]]:
    """The checks with the names of their dependencies, in the order of the rules, possibly with duplicates."""
    yield "ledger (tables)", partial(services.ledger.load, AppRecord, "readyz", "app")
    yield "queues", partial(_queues, services)
    yield EVIDENCE, services.archive.check
    yield "signing key", partial(_signing_key, services.signer)
    policy = _rules(services)
    if policy is None:
        yield "login servers", services.rules
        return
    for registry in policy.registries.values():
        yield from _registry(services, registry)
    for gate in policy.gates.values():
        yield from _gate(services, gate)
    for app in policy.apps.values():
        yield _task(services, app.build.registry, app.build.task)
        if app.deploy is not None:
            yield app.deploy.place, partial(services.target(app.deploy).get, app.deploy)
    for kind, names, kinds in (("gate", policy.gates, (Candidate, Promotion)), ("app", policy.apps, (Rollout,))):
        for name in names:
            yield f"records of {kind} {name}", partial(_records, f"records of {kind} {name}", services, kinds, name)
    yield "outcomes", partial(_outcomes, services)
    yield "sweep", partial(_sweeps, services)


def _signing_key(signer: Signer | None) -> list[HealthResult]:
    """Whether decision records are signed. Promotions do not wait for them: a key that does not sign is a warning."""
    if signer is None:
        return [HealthResult("signing key", "ok", "none is set: promotions get no signed decision record")]
    try:
        signer.check()
    except BasegateError as error:
        detail = f"{error.problem}; promotions go on, their decision records are signed later"
        return [HealthResult("signing key", "warning", detail, error.cause or "", error.remedy or _KEY_REMEDY)]
    return []


def _rules(services: Services) -> Policy | None:
    """The rules; None if their login servers are not known in time: a new process has to ask Azure."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="readyz-rules")
    rules = pool.submit(services.rules)
    pool.shutdown(wait=False)
    try:
        return rules.result(RULES_SECONDS)
    except (TimeoutError, Retry):
        return None


def _registry(services: Services, rule: RegistryRule) -> Iterator[tuple[str, Check]]:
    """The checks of a registry itself."""
    if rule.is_azure:
        name = f"login server of registry {rule.name}"
        yield name, partial(_login_server, name, services, rule)
    if stem := rule.credentials:
        yield f"secrets {stem}-user and -password", partial(services.secrets.credentials, rule)


def _login_server(name: str, services: Services, rule: RegistryRule) -> list[HealthResult]:
    """Whether a registry has the login server of the rules, or of the ledger. If Azure does not answer, it may."""
    try:
        actual = services.registry.login_server(rule)
    except Misconfigured as error:
        detail = f"assumed to be {rule.login_server}: {error.problem}"
        return [HealthResult(name, "warning", detail, error.cause or "", error.remedy or _SERVER_REMEDY)]
    if actual == rule.login_server:
        return []
    detail = f"Azure reports {actual}, Basegate uses {rule.login_server}"
    return [HealthResult(name, "misconfigured", detail, "", f"{_SERVER_REMEDY}: {actual}")]


def _gate(services: Services, gate: Gate) -> Iterator[tuple[str, Check]]:
    """What is asked about a gate: its repositories, and what its checks need."""
    yield _repository(services, gate.source.registry, gate.source.repository)
    yield _repository(services, gate.promote.registry, gate.promote.repository)
    for check in gate.checks:
        yield from KINDS[check.kind](services).readiness(check)


def _repository(services: Services, registry: str, repository: str) -> tuple[str, Check]:
    rule = services.registry_rule(registry)
    reader = services.registry if rule.is_azure else services.tags
    return f"registry {rule.login_server}/{repository}", partial(reader.digest_of, rule, repository, _NO_TAG)


def _task(services: Services, registry: str, task: str) -> tuple[str, Check]:
    rule = services.registry_rule(registry)
    return f"task {task} of {rule.login_server}", partial(services.tasks.check, rule, task)


def _queues(services: Services) -> Sequence[HealthResult]:
    """The queues, their poison messages, and the clock by the queue service."""
    state, poison = services.queue.check(), HealthResult("poison queues", "ok")
    if state.given_up:
        queues = f"{WORK_QUEUE}{POISON} or {HINT_QUEUE}{POISON}"
        detail = f"{state.given_up} messages in {queues}: they failed at every delivery"
        poison = HealthResult("poison queues", "warning", detail, "poison", _POISON_REMEDY)
    return [HealthResult("queues", "ok"), poison, _clock(state.server_time, services.clock.now())]


def _clock(server_time: datetime | None, now: datetime) -> HealthResult:
    """The skew between the app and the storage service: claims and leases end by the clocks of many workers."""
    if server_time is None:
        return HealthResult("clock", "ok", "the storage service returned no time")
    ahead = (now - server_time).total_seconds()
    if abs(ahead) <= SKEW_WARNS_SECONDS:
        return HealthResult("clock", "ok")
    skew = f"the app's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the storage service's"
    state, harm = "warning", "runs that it started may not be found again"
    if abs(ahead) > SKEW_STOPS_SECONDS:
        state, harm = "misconfigured", "claims end too early or too late"
    return HealthResult("clock", state, f"{skew}; {harm}", "clock", _CLOCK_REMEDY)


def _sweeps(services: Services) -> Sequence[HealthResult] | None:
    """Whether the timer runs the sweep: nothing else monitors it."""
    records = (stored.record for stored in services.ledger.list(SweepRecord, SWEEPS))
    last = max((record.last_began_at for record in records if record.last_began_at), default=None)
    minutes = (services.clock.now() - last).total_seconds() / 60 if last else 0.0
    if last and minutes <= SWEEP_WARNS_MINUTES:
        return None
    since = f"for {minutes:.0f} minutes: drift that no event reports is not found" if last else "yet"
    return [HealthResult("sweep", "warning", f"no sweep has run {since}", "sweep", _SWEEP_REMEDY)]


def _records(name: str, services: Services, kinds: tuple[type[Record], ...], partition: str) -> list[HealthResult]:
    """A warning for each cause that open records are stalled on."""
    results: dict[str, HealthResult] = {}
    for kind in kinds:
        for stored in islice(services.ledger.open(kind, partition), _OPEN_LIMIT):
            record: Record = stored.record
            stall = record.stall
            if stall is not None and not record.settled:
                since = f"{stall.since:%Y-%m-%d %H:%M}"
                detail = f"{record.id} is stalled since {since} on {stall.dependency}: {stall.reason}"
                cause, remedy = stall.cause or "stalled", stall.remedy or _STALL_REMEDY
                result = HealthResult(name, "warning", detail, cause, remedy)
                results.setdefault(stall.dependency + stall.cause, result)
    return [*results.values()]


def _outcomes(services: Services) -> list[HealthResult]:
    """A warning for each listener that is unavailable, and for each that refuses outcomes."""
    alarms = (alarm for alarm in Alarms(services).active(STALLS) if alarm.kind is AlarmKind.REFUSED)
    refused = [(f"{alarm.subject} refuses {alarm.words}", "outcomes", _REFUSED_REMEDY) for alarm in alarms]
    unavailable = _records("outcomes", services, (Listener,), LISTENERS)
    return [*unavailable, *(HealthResult("outcomes", "warning", *parts) for parts in refused)]
