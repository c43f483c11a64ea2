"""Deploys an app, checks its health, and restores the last good image if it is not healthy."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from shared.deployment.build import Build
from shared.domain.decide import staleness
from shared.domain.errors import Busy, Misconfigured, NeedsRecreation
from shared.domain.policy import App, DeployRule, seconds
from shared.domain.record import seconds_between
from shared.domain.rollout import AppRecord, BuiltImage, Cause, DeployRecord, Rollout, RolloutState
from shared.ports import DeploymentState, Services, read
from shared.promotion.vetoes import Vetoes
from shared.records.step import Step

PROVISION_TIMEOUT_SECONDS = 900.0
"""How long a deployment may take to run: pulling a large image takes minutes."""

_CLAIM_MARGIN_SECONDS = 300.0

UNRECORDED_REMEDY = "was the ledger lost, or an old one restored? Then `basegate rebuild-ledger`; else delete it"

_DEPLOYING = frozenset((RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING))

RESTART_LIMIT = 3
"""How many restarts of a container count as a loop."""


class Condition(StrEnum):
    """What a deployment is, compared with the image that it should run."""

    HEALTHY = "healthy"
    GONE = "gone"
    OTHER_IMAGE = "other image"
    STOPPED = "stopped"
    FAILED = "failed"
    RESTARTING = "restarting in a loop"
    NOT_RUNNING = "not running"
    UNHEALTHY = "unhealthy"

    @property
    def is_transient(self) -> bool:
        """Whether it may pass by itself: a container that is starting, or busy."""
        return self in (Condition.NOT_RUNNING, Condition.UNHEALTHY)


class Health(NamedTuple):
    """The condition of a deployment, the problem in words ("": healthy), and its state (None: it is gone)."""

    condition: Condition
    problem: str = ""
    state: DeploymentState | None = None


def health_of(services: Services, rule: DeployRule, image: BuiltImage) -> Health:
    """Read the deployment, and probe its container if it runs the image.

    Raises:
        BasegateError: the deployment target does not answer.
    """
    state = services.target(rule).get(rule)
    if state is None:
        return Health(Condition.GONE, "it is gone")
    condition, problem = _condition(state, image)
    if condition is Condition.HEALTHY and (unhealthy := services.probe.check(state.address, rule.health.path)):
        condition, problem = Condition.UNHEALTHY, unhealthy
    return Health(condition, problem, state)


def _condition(state: DeploymentState, image: BuiltImage) -> tuple[Condition, str]:
    """Without the probe. An image is compared first: of another one nothing else counts."""
    detail = f": {state.detail}" if state.detail else ""
    if state.image != image.reference:
        return Condition.OTHER_IMAGE, f"it shows {state.image or 'nothing'}"
    if state.stopped:
        return Condition.STOPPED, "it was stopped"
    if state.failed:
        return Condition.FAILED, f"it has failed{detail}"
    if state.restarts >= RESTART_LIMIT:
        return Condition.RESTARTING, f"it restarts in a loop, {state.restarts} times so far{detail}"
    if not state.running or not state.address:
        return Condition.NOT_RUNNING, f"it does not run{detail}"
    return Condition.HEALTHY, ""


class Deploy:
    """The steps of a rollout once it has an image. One rollout of an app deploys at a time."""

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes, self._build = services, Vetoes(services), Build(services)

    def deploy(self, step: Step[Rollout], app: App) -> Rollout:
        """Claim the deployment, and put the image there by digest.

        1. An image on a vetoed base is not deployed; if an earlier try may have done that, the last good one is
           restored. A deployment that the ledger does not record is not replaced.
        2. Claim the deployment, and record that in the rollout: the rollouts of an app take turns, and of two workers
           with this rollout one gets a conflict. The app's current record counts.
        3. An image that is live and healthy already is not deployed again.
        4. Put the definition. Decisions are read again before the rollout settles.
        """
        rollout, rule, now = step.record, _rule(app), self._services.clock.now()
        image = rollout.image
        assert image is not None  # decide deploys images only
        if vetoed := self._vetoes.against_image(app, image):  # 1
            state = RolloutState.RESTORING if rollout.deploy.claimed_at else RolloutState.CANCELED
            return self._ended(rollout, state, vetoed)
        self._refuse_over_unrecorded(app, rule)
        taken = replace(rollout, deploy=replace(rollout.deploy, claimed_at=now))
        record = step.commit_with(taken, AppRecord(app=app.name), self._claim(rollout, rule))  # 2
        same = record.live is not None and record.live.digest == image.digest
        if same and health_of(self._services, rule, image).condition is Condition.HEALTHY:  # 3
            return self._live(step, step.record, app, "it was live already")
        notes = self._put(step, image, app)  # 4
        deployed = replace(step.record.deploy, put_at=now)
        put = replace(step.record, state=RolloutState.VERIFYING, deploy=deployed, reason="")
        return put.noting(now, "deployed", f"{image} ({image.digest}) on {rule.name}{notes}")

    def _refuse_over_unrecorded(self, app: App, rule: DeployRule) -> None:
        """Refuse to replace a deployment that the ledger does not record: the ledger may have been lost.

        Raises:
            Misconfigured: it is one.
        """
        record, state = read(self._services.ledger, AppRecord(app=app.name)), self._services.target(rule).get(rule)
        if state is None or (record.live is not None and state.image == record.live.reference):
            return
        if image := self._build.identify_unrecorded(app, state.image):
            shows = f"{rule.place} shows {image}, and the ledger has no record of that"
            raise Misconfigured(shows, remedy=UNRECORDED_REMEDY)

    def verify(self, step: Step[Rollout], app: App) -> Rollout:
        """Check the new deployment: it becomes live, is checked again, or is replaced by the last good image.

        Decisions are read before it is live, which a worker may not survive, and again after that is saved: an operator
        who decides in between reads what is live after the decision.
        """
        rollout, image = step.record, step.record.image
        assert image is not None  # decide verifies what was deployed
        deploy, health = self._examine(rollout.deploy, image, _rule(app))
        rollout = replace(rollout, deploy=deploy)
        if vetoed := self._vetoes.against_image(app, image):
            return self._ended(rollout, RolloutState.RESTORING, vetoed)
        if health.condition is Condition.HEALTHY:
            return self._live(step, rollout, app, f"{deploy.address}{_rule(app).health.path} answers")
        if not self._is_lost(deploy, _rule(app), health):
            return rollout
        return self._ended(rollout, RolloutState.RESTORING, f"{image} is not healthy: {health.problem}")

    def restore(self, step: Step[Rollout], app: App) -> Rollout:
        """Deploy the last good image whose base is not vetoed, unless another rollout deploys."""
        rollout, now = step.record, self._services.clock.now()
        target = self._good(rollout, app, read(self._services.ledger, AppRecord(app=app.name)))
        if target is None:
            return self._ended(rollout, RolloutState.FAILED, f"{rollout.reason}; there is no earlier image to put back")
        self._refuse_over_unrecorded(app, _rule(app))
        taken = replace(rollout, restore=DeployRecord(claimed_at=now, image=target))
        step.commit_with(taken, AppRecord(app=app.name), self._claim(rollout, _rule(app)))
        notes = self._put(step, target, app)
        restoring = replace(step.record, restore=replace(step.record.restore, put_at=now))
        return restoring.noting(now, "putting back", f"{target} ({target.digest}){notes}")

    def verify_restored(self, step: Step[Rollout], app: App) -> Rollout:
        """Check the health of the restored image; if it is vetoed by now, the one before it is restored."""
        rollout, target = step.record, step.record.restore.image
        if target is None or self._vetoes.against_image(app, target):
            return replace(rollout, restore=DeployRecord())
        restore, health = self._examine(rollout.restore, target, _rule(app))
        rollout = replace(rollout, restore=restore)
        if health.condition is Condition.HEALTHY:
            reason = f"{rollout.reason}; {target} was put back and is healthy"
            restored = self._ended(rollout, RolloutState.RESTORED, reason)
            step.commit_with(restored, AppRecord(app=app.name), lambda record: self._restored(record, target))
            return restored
        if not self._is_lost(restore, _rule(app), health):
            return rollout
        reason = f"{rollout.reason}; {target} was put back and is not healthy either: {health.problem}"
        return self._ended(rollout, RolloutState.FAILED, reason)

    def _ended(self, rollout: Rollout, state: RolloutState, reason: str) -> Rollout:
        return rollout.ended(self._services.clock.now(), state, reason)

    def _live(self, step: Step[Rollout], rollout: Rollout, app: App, why: str) -> Rollout:
        """Settle the rollout and the live image in one transaction; vetoes are read after it."""
        live, now, image = self._ended(rollout, RolloutState.LIVE, why), self._services.clock.now(), rollout.image
        live = replace(live, next_step_at=None)
        assert image is not None  # decide makes images live only
        back, by = rollout.goes_back, rollout if rollout.cause is Cause.OPERATOR else None

        def settled(record: AppRecord) -> AppRecord:
            return record.with_live(image, now, back=back, by=by).released(rollout.name)

        step.commit_with(live, AppRecord(app=app.name), settled)
        vetoed = self._vetoes.against_image(app, image)
        return self._ended(live, RolloutState.RESTORING, vetoed) if vetoed else live

    def _restored(self, record: AppRecord, target: BuiltImage) -> AppRecord:
        same = record.live is not None and record.live.digest == target.digest
        return record if same else record.with_live(target, self._services.clock.now(), back=True)

    def _good(self, rollout: Rollout, app: App, record: AppRecord) -> BuiltImage | None:
        """The newest image that was live and healthy, and may be deployed."""
        new = rollout.image.digest if rollout.image else ""
        others = (image for image in record.good if image.digest != new or image == record.live)
        return next((image for image in others if not self._vetoes.against_image(app, image)), None)

    def _claim(self, rollout: Rollout, rule: DeployRule) -> Callable[[AppRecord], AppRecord]:
        """Claims the deployment for as long as a deployment and its restoration can last.

        It is released when the image is live. For any other rollout, its own record says whether it still deploys.
        """
        now = self._services.clock.now()
        lasts = 2 * (PROVISION_TIMEOUT_SECONDS + seconds(rule.health.within)) + _CLAIM_MARGIN_SECONDS

        def claim(record: AppRecord) -> AppRecord:
            due = record.deploying_until is None or record.deploying_until <= now
            if record.deploying != rollout.name and not due and self._deploys(record):
                raise Busy(f"rollout {record.deploying} has {rule.place}", delay_seconds=2.0)
            if stale := staleness(rollout, record):
                raise Busy(stale.reason, delay_seconds=1.0)
            until = now + timedelta(seconds=lasts)
            return replace(record, deploying=rollout.name, deploying_until=until)

        return claim

    def _deploys(self, record: AppRecord) -> bool:
        holder = self._services.ledger.load(Rollout, record.app, record.deploying)
        return holder is not None and holder.record.state in _DEPLOYING

    def _put(self, step: Step[Rollout], image: BuiltImage, app: App) -> str:
        """Put the definition; returns what the history must mention besides.

        Before a deployment is deleted, the record says so: if it cannot be created again, the last good one must be.
        """
        rule, registry = _rule(app), self._services.registry_rule(app.build.registry)
        target = self._services.target(rule)
        try:
            target.put(rule, image, registry)
        except NeedsRecreation as error:
            deleted = replace(step.record.deploy, deleted_at=self._services.clock.now())
            step.save(replace(step.record, deploy=deleted))
            target.delete(rule)
            target.put(rule, image, registry)
            return f", deleted and created again: {error}"
        return ""

    def _examine(self, deploy: DeployRecord, image: BuiltImage, rule: DeployRule) -> tuple[DeployRecord, Health]:
        """The health of a deployment now, and its record with that."""
        health = health_of(self._services, rule, image)
        address = deploy.address if health.state is None else health.state.address
        deploy = replace(deploy, seen=health.problem or "healthy", address=address)
        if health.condition in (Condition.HEALTHY, Condition.UNHEALTHY) and deploy.running_at is None:
            deploy = replace(deploy, running_at=self._services.clock.now())
        return deploy, health

    def _is_lost(self, deploy: DeployRecord, rule: DeployRule, health: Health) -> bool:
        """Whether to wait no longer: it failed, does not start, or runs and does not become healthy in time."""
        now = self._services.clock.now()
        if health.condition in (Condition.GONE, Condition.FAILED, Condition.RESTARTING):  # never passes by itself
            return True
        if deploy.running_at is not None:
            return seconds_between(deploy.running_at, now) > seconds(rule.health.within)
        return deploy.put_at is not None and seconds_between(deploy.put_at, now) > PROVISION_TIMEOUT_SECONDS


def _rule(app: App) -> DeployRule:
    assert app.deploy is not None  # an app without a deploy rule ends when it is built
    return app.deploy
