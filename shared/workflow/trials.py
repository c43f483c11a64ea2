"""What is tried to see whether the app can work: one question to each thing that the rules name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from shared.domain.candidate import Candidate
from shared.domain.errors import BasegateError
from shared.domain.policy import Policy, TaskCheck
from shared.domain.record import Record
from shared.domain.rollout import AppRecord, Rollout
from shared.domain.sweeping import SWEEPS, SweepRecord
from shared.settings import LOST_QUEUE
from shared.workflow.findings import Finding, of_clocks, of_error, of_lost_steps, of_sweeps, of_untold
from shared.workflow.services import Services

_NO_TAG = "basegate-readyz"
"""Nothing is called so: asking for it tells whether one may ask."""

_NEWEST = 20
"""How many of the newest records are looked through for the last outcome: those before it are under way."""

Trial = Callable[[], Sequence[Finding]]


def trials(services: Services) -> dict[str, Trial]:
    """The trials by what they try, in the order of the rules, each thing once."""
    return {name: partial(_answers, name, trial) for name, trial in _all(services)}


def _answers(name: str, trial: Callable[[], Sequence[Finding] | None]) -> Sequence[Finding]:
    """The trial's own findings, `ok` where it has none, or what its error says."""
    try:
        return trial() or [Finding(name, "ok")]
    except BasegateError as error:
        return [of_error(name, error)]


_Question = tuple[str, Callable[[], Sequence[Finding] | None]]


def _all(services: Services) -> Iterator[_Question]:
    policy = services.policy
    yield "ledger (tables)", partial(_ignoring, services.ledger.load, AppRecord, "readyz", "app")
    yield "queue of looks", partial(_queue, "queue of looks", services)
    yield "evidence (blobs)", services.archive.check
    for registry in policy.registries.values():
        if registry.credentials:
            yield _secrets_name(registry.credentials), partial(_ignoring, services.secrets.of, registry)
    for gate in policy.gates.values():
        yield _repository(services, gate.source.registry, gate.source.repository)
        yield _repository(services, gate.promote.registry, gate.promote.repository)
        yield from (_task(services, one.registry, one.task) for one in gate.checks if isinstance(one, TaskCheck))
    for app in policy.apps.values():
        yield _task(services, app.build.registry, app.build.task)
        if app.deploy is not None:
            group = partial(_ignoring, services.containers.get, app.deploy)
            yield f"container group {app.deploy.container_group}", group
    yield from _outcomes(services, policy)
    yield "sweep", partial(_sweeps, services)


def _ignoring(ask: Callable[..., object], *arguments: object) -> None:
    """Ask, and be content with any answer."""
    ask(*arguments)


def _secrets_name(stem: str) -> str:
    return f"secrets {stem}-user and -password"


def _queue(name: str, services: Services) -> Sequence[Finding]:
    state = services.queue.check()
    now = services.clock.now()
    return [Finding(name, "ok"), of_lost_steps(LOST_QUEUE, state.given_up), of_clocks(state.server_time, now)]


def _repository(services: Services, registry: str, repository: str) -> _Question:
    rule = services.registry_rule(registry)
    reader = services.registry if rule.is_azure else services.tags
    name = f"registry {rule.login_server}/{repository}"
    return name, partial(_ignoring, reader.digest_of, rule, repository, _NO_TAG)


def _task(services: Services, registry: str, task: str) -> _Question:
    rule = services.registry_rule(registry)
    return f"task {task} of {rule.login_server}", partial(services.tasks.check, rule, task)


def _outcomes(services: Services, policy: Policy) -> Iterator[_Question]:
    """Whether the last outcome of each gate and app could be told: an announcement that fails stops nothing."""
    for gate in policy.gates:
        name = f"outcomes of gate {gate}"
        yield name, partial(_last_outcome, name, services, Candidate, gate)
    for app in policy.apps:
        name = f"outcomes of app {app}"
        yield name, partial(_last_outcome, name, services, Rollout, app)


def _sweeps(services: Services) -> Sequence[Finding]:
    """Whether the timer's sweep comes by: it finds what is silent, and nobody else would notice its own silence."""
    records = (stored.record for stored in services.ledger.list(SweepRecord, SWEEPS))
    last = max((record.last_began_at for record in records if record.last_began_at), default=None)
    return [of_sweeps(last, services.clock.now())]


def _last_outcome(name: str, services: Services, kind: type[Record], partition: str) -> Sequence[Finding]:
    newest = services.ledger.page(kind, partition, _NEWEST, "").items
    last = next((item for item in newest if item.get("announced") or item.get("untold")), None)
    return [of_untold(name, last["id"], last["untold"])] if last and last["untold"] else []
