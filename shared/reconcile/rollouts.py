"""The controller of rollouts: builds and deploys an app, and restores the last good image if it is not healthy."""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from shared.deployment.build import Build
from shared.deployment.deploy import Deploy
from shared.domain.decide import Action, Decision, decide_rollout, is_waiting
from shared.domain.errors import BasegateError, Malformed, NeedsRecreation, Rejected
from shared.domain.outcome import Outcome
from shared.domain.policy import App
from shared.domain.rollout import AppRecord, Cause, Rollout, RolloutState
from shared.ports import Services, read
from shared.records.step import Controller, Step

_DEPLOYING = frozenset((Action.DEPLOY, Action.VERIFY, Action.RESTORE, Action.VERIFY_RESTORED))


class RolloutController(Controller[Rollout]):
    """Rolls out an app."""

    kind = Rollout

    def __init__(self, services: Services) -> None:
        self._services, build, deploy = services, Build(services), Deploy(services)
        self._actions: dict[Action, Callable[[Step[Rollout], App], Rollout]] = {
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

    def decide(self, record: Rollout, step: Step[Rollout] | None = None) -> Decision:
        """The next step. The app's record is read only before a build and before a deployment, to see what is newer."""
        app, now, known = self._services.app(record.app), self._services.clock.now(), None
        blank, base_built_at = AppRecord(app=record.app), None
        if is_waiting(record) and not (record.build.run_id and record.image is None):
            known = step.beside(blank).record if step else read(self._services.ledger, blank)
            base_built_at = self._base_built_at(record, known)
        claimed = step is not None and step.is_claimed
        return decide_rollout(record, known, app, now, base_built_at, claimed=claimed)

    def act(self, step: Step[Rollout]) -> Rollout:
        """Take the step that was decided."""
        app = self._services.app(step.record.app)
        if app is None:
            return self._rule_removed(step)
        return self._actions[step.decision.action](step, app)

    def dependency(self, record: Rollout, decision: Decision) -> str:
        """The task that builds, or what is deployed to."""
        app = self._services.app(record.app)
        if app is None:
            return f"app {record.app}"
        if app.deploy is not None and decision.action in _DEPLOYING:
            return app.deploy.place
        return f"task {app.build.registry}/{app.build.task}"

    def ended_by(self, record: Rollout, decision: Decision, error: BasegateError) -> Rollout | None:
        """A definite error ends it, after the last good image was restored. Everything else is retried."""
        if not isinstance(error, Rejected | NeedsRecreation | Malformed):
            return None
        now = self._services.clock.now()
        if record.deploy.touched and record.state is not RolloutState.RESTORING:
            return record.ended(now, RolloutState.RESTORING, str(error))
        why = f"{record.reason}; {error}" if record.state is RolloutState.RESTORING else str(error)
        return record.ended(now, RolloutState.FAILED, why)

    def _base_built_at(self, record: Rollout, app_record: AppRecord) -> datetime | None:
        """When the last build on the app's base was made: an image from before may be built on another base."""
        if record.cause is not Cause.IMAGE or not app_record.base_rollout:
            return None
        stored = self._services.ledger.load(Rollout, record.app, app_record.base_rollout)
        return stored.record.build.created_at if stored else None

    def outcome(self, record: Rollout) -> Outcome | None:
        """The outcome of a settled rollout."""
        if not record.settled:
            return None
        data = {
            "app": record.app,
            "cause": record.cause.value,
            "state": record.state.value,
            "reason": record.reason,
            "image": str(record.image or ""),
            "digest": record.image.digest if record.image else "",
            "base": record.known_base,
            "logTail": list(record.build.evidence.log_tail) if record.state is RolloutState.FAILED else [],
        }
        name, page = f"Rollout{record.state.value.title().replace(' ', '')}", f"rollouts/{record.id}"
        return Outcome(name=name, subject=f"apps/{record.app}/rollouts/{record.name}", page=page, data=data)

    def _rule_removed(self, step: Step[Rollout]) -> Rollout:
        """End it, and forget its base: if the rule is added again, the app is rolled out on that base again."""
        ended = step.record.ended(self._services.clock.now(), RolloutState.RULE_REMOVED, step.decision.reason)

        def forget(record: AppRecord) -> AppRecord:
            if record.base_rollout != ended.name:
                return record
            return replace(record, base_tag="", base_move=0, base_changes=record.base_changes + 1)

        step.commit_with(ended, AppRecord(app=ended.app), forget)
        return ended

    def _supersede(self, step: Step[Rollout], app: App) -> Rollout:
        """End a rollout that a newer one supersedes."""
        return step.record.ended(self._services.clock.now(), RolloutState.SUPERSEDED, step.decision.reason)
