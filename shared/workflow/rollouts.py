"""The course of a rollout: from its first look to its announced end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.domain.decide_rollout import decide_rollout
from shared.domain.decision import Action, Decision
from shared.domain.policy import App
from shared.domain.rollout import Rollout, RolloutState
from shared.ports import Notice, Stored
from shared.workflow.build import Build
from shared.workflow.dependents import AppRecords
from shared.workflow.deploy import Deploy
from shared.workflow.services import Services
from shared.workflow.step import Step

AppAction = Callable[[Step[Rollout], App], Rollout]


class RolloutCourse:
    """How a rollout advances."""

    def __init__(self, services: Services) -> None:
        self._services, self._records = services, AppRecords(services)
        self._deploy = Deploy(services)
        build, deploy = Build(services), self._deploy
        self._actions: dict[Action, AppAction] = {
            Action.TRACE_BUILD: build.trace,
            Action.START_BUILD: build.start,
            Action.ADOPT_BUILD: build.adopt,
            Action.WATCH_BUILD: build.watch,
            Action.REBUILD: build.rebuild,
            Action.DEPLOY: deploy.deploy,
            Action.VERIFY: deploy.verify,
            Action.RESTORE: deploy.restore,
            Action.VERIFY_RESTORED: deploy.verify_restored,
            Action.SUPERSEDE: self._supersede,
        }

    def load(self, partition: str, row: str) -> Stored[Rollout] | None:
        """The rollout of a look."""
        return self._services.ledger.load(Rollout, partition, row)

    def decide(self, record: Rollout) -> Decision:
        """Its next step; a rollout whose app is gone from the rules has come to its end."""
        app = self._services.app(record.app)
        if app is None and not record.finished:
            return Decision(Action.FAIL, f"the app {record.app} is not in the rules any more")
        if app is None:
            return Decision(Action.DONE, "its app is gone")
        return decide_rollout(record, self._records.load(app.name).record, app, self._services.clock.now())

    def act(self, step: Step[Rollout]) -> Rollout:
        """Take the step that was decided."""
        app = self._services.policy.apps[step.record.app]
        return self._actions[step.decision.action](step, app)

    def fail(self, record: Rollout, reason: str) -> Rollout:
        """The rollout after a step that cannot be taken: what was put on the container group is put back first."""
        if record.deploy.touched and record.state in (RolloutState.DEPLOYING, RolloutState.VERIFYING):
            restoring = msgspec.structs.replace(record, state=RolloutState.RESTORING, reason=reason)
            return restoring.noting(self._services.clock.now(), "failed after deployment", reason)
        return self._deploy.end(record, RolloutState.FAILED, reason)

    def notice(self, record: Rollout) -> Notice:
        """What to tell about a finished rollout."""
        return Notice(
            name=f"Rollout{record.state.value.capitalize()}",
            subject=f"apps/{record.app}/rollouts/{record.name}",
            page=f"rollouts/{record.id}",
            data={
                "app": record.app,
                "cause": record.cause.value,
                "state": record.state.value,
                "reason": record.reason,
                "image": str(record.image or ""),
                "digest": record.image.digest if record.image else "",
                "base": str(record.base or ""),
                "logTail": list(record.build.evidence.log_tail) if record.state is RolloutState.FAILED else [],
            },
        )

    def _supersede(self, step: Step[Rollout], app: App) -> Rollout:
        """Close a rollout that something newer has overtaken."""
        return self._deploy.end(step.record, RolloutState.SUPERSEDED, step.decision.reason)
