"""Whether everything that the rules need can be used, each with what to do if not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import msgspec

from shared.domain.errors import BasegateError, Misconfigured, Retry
from shared.domain.policy import Policy, TaskCheck
from shared.domain.rollout import AppRecord
from shared.workflow.services import Services

PATIENCE_SECONDS = 8.0
_NO_TAG, _NO_MARK = "basegate-readyz", "basegate/readyz"
"""Nothing is called so: asking for it tells whether one may ask."""

Trial = tuple[str, Callable[[], object]]


class Finding(msgspec.Struct, frozen=True):
    """One dependency: `ok`, `misconfigured` (a person must mend it), `away` (it passes), or `slow`."""

    dependency: str
    state: str
    detail: str = ""


class Doctor:
    """Tries each dependency once, cheaply and without changing anything, all at the same time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def examine(self) -> list[Finding]:
        """What each dependency says, in the order of the rules; one that is too slow is said to be so."""
        trials = list(self._trials(self._services.policy))
        pool = ThreadPoolExecutor(max_workers=min(16, len(trials)))
        futures = [pool.submit(_try, name, trial) for name, trial in trials]
        wait(futures, timeout=PATIENCE_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)
        slow = f"no answer within {PATIENCE_SECONDS:.0f} s"
        return [
            future.result() if future.done() and not future.cancelled() else Finding(name, "slow", slow)
            for (name, _), future in zip(trials, futures, strict=True)
        ]

    def _trials(self, policy: Policy) -> Iterator[Trial]:
        services = self._services
        yield "ledger (tables)", partial(services.ledger.load, AppRecord, "readyz", "app")
        yield "queue of looks", services.queue.check
        yield "evidence (blobs)", services.archive.check
        for registry in policy.registries.values():
            if registry.credentials:
                yield f"secrets {registry.credentials}-user and -password", partial(services.secrets.of, registry)
        for gate in policy.gates.values():
            yield self._repository(policy, gate.source.registry, gate.source.repository)
            yield self._repository(policy, gate.promote.registry, gate.promote.repository)
            for check in gate.checks:
                if isinstance(check, TaskCheck):
                    yield self._task(policy, check.registry, check.task)
        for app in policy.apps.values():
            yield self._task(policy, app.build.registry, app.build.task)
            if app.deploy is not None:
                yield f"container group {app.deploy.container_group}", partial(services.containers.get, app.deploy)

    def _repository(self, policy: Policy, registry: str, repository: str) -> Trial:
        rule = policy.registries[registry]
        name = f"registry {rule.login_server}/{repository}"
        return name, partial(self._services.registry.digest_of, rule, repository, _NO_TAG)

    def _task(self, policy: Policy, registry: str, task: str) -> Trial:
        rule, now = policy.registries[registry], self._services.clock.now()
        return f"task {task} of {rule.login_server}", partial(self._services.tasks.find, rule, task, _NO_MARK, now)


def _try(name: str, trial: Callable[[], object]) -> Finding:
    try:
        trial()
    except Misconfigured as error:
        return Finding(name, "misconfigured", str(error))
    except Retry as error:
        return Finding(name, "away", str(error))
    except BasegateError as error:
        return Finding(name, "refused", str(error))
    return Finding(name, "ok")
