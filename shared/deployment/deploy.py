"""Deploying an app, checking its health, and putting the last good image back if it is not well."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import msgspec

from shared.deployment.build import Build
from shared.domain.decide import staleness
from shared.domain.errors import Busy, Misconfigured, NeedsRecreation
from shared.domain.policy import App, DeployRule
from shared.domain.record import seconds_between
from shared.domain.rollout import AppRecord, BuiltImage, Cause, DeployRecord, Rollout, RolloutState
from shared.ports import Services, read
from shared.promotion.vetoes import Vetoes
from shared.records.step import Step

PROVISION_TIMEOUT_SECONDS = 900.0
"""How long a deployment may take to run: pulling a large image takes minutes."""

_CLAIM_MARGIN_SECONDS = 300.0

UNRECORDED_REMEDY = "was the ledger lost, or an old one restored? Then `basegate rebuild-ledger`; else delete it"

RESTART_LIMIT = 3
"""How many restarts of a container count as a loop."""

_DEPLOYING = frozenset((RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING))


class _Problem(NamedTuple):
    """Why a deployment is not healthy; a final one does not get well by itself."""

    words: str
    is_final: bool = False


class Deploy:
    """The steps of a rollout from its image on. One rollout of an app deploys at a time."""

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes, self._build = services, Vetoes(services), Build(services)

    def deploy(self, step: Step[Rollout], app: App) -> Rollout:
        """Claim the deployment and put the image there, by digest.

        1. What stands on a banned base is not deployed; where an earlier try may have put it, it is put back. Nothing
           is deployed over what an earlier ledger had on record.
        2. Claim the deployment, and say so in the rollout: the rollouts of an app take turns, and of two workers with
           this one only one gets further. What the app's record says by now counts.
        3. An image that is live already, and well, stays as it is.
        4. Send the definition. Decisions are read again before the rollout settles.
        """
        rollout, rule, now = step.record, _rule(app), self._services.clock.now()
        image = rollout.image
        assert image is not None  # decide deploys images only
        if vetoed := self._vetoes.against_image(app, image):  # 1
            state = RolloutState.RESTORING if rollout.deploy.claimed_at else RolloutState.CANCELED
            return self._ended(rollout, state, vetoed)
        self._refuse_over_unrecorded(app, rule)
        claimed = msgspec.structs.replace(rollout.deploy, claimed_at=now)
        taken = msgspec.structs.replace(rollout, deploy=claimed)
        record = step.commit_with(taken, AppRecord(app=app.name), self._claim(rollout, rule))  # 2
        same = record.live is not None and record.live.digest == image.digest
        if same and self._examine(DeployRecord(), image, rule)[1] is None:  # 3
            return self._live(step, step.record, app, "it was live already")
        notes = self._put(step, image, app)  # 4
        deployed = msgspec.structs.replace(step.record.deploy, put_at=now)
        put = msgspec.structs.replace(step.record, state=RolloutState.VERIFYING, deploy=deployed, reason="")
        return put.noting(now, "deployed", f"{image} ({image.digest}) on {rule.name}{notes}")

    def _refuse_over_unrecorded(self, app: App, rule: DeployRule) -> None:
        """See that nothing is deployed by the word of a ledger that was lost.

        Raises:
            Misconfigured: something is.
        """
        record, state = read(self._services.ledger, AppRecord(app=app.name)), self._services.target(rule).get(rule)
        if state is None or (record.live is not None and state.image == record.live.reference):
            return
        if image := self._build.identify_unrecorded(app, state.image):
            shows = f"{rule.place} shows {image}, and the ledger has no record of that"
            raise Misconfigured(shows, remedy=UNRECORDED_REMEDY)

    def verify(self, step: Step[Rollout], app: App) -> Rollout:
        """Check the new deployment: live, not yet, or never; what stands on a base that was banned is put back.

        Decisions are read before it is live, which a worker may not survive, and again once that is saved: whoever
        decides in between reads what is live after the decision.
        """
        rollout, image = step.record, step.record.image
        assert image is not None  # decide verifies what was deployed
        deploy, problem = self._examine(rollout.deploy, image, _rule(app))
        rollout = msgspec.structs.replace(rollout, deploy=deploy)
        if vetoed := self._vetoes.against_image(app, image):
            return self._ended(rollout, RolloutState.RESTORING, vetoed)
        if problem is None:
            return self._live(step, rollout, app, f"{deploy.address}{_rule(app).health.path} answers")
        if not self._is_lost(deploy, _rule(app), problem):
            return rollout
        return self._ended(rollout, RolloutState.RESTORING, f"{image} is not healthy: {problem.words}")

    def restore(self, step: Step[Rollout], app: App) -> Rollout:
        """Put the last good image back that stands on no banned base, unless another rollout deploys."""
        rollout, now = step.record, self._services.clock.now()
        target = self._good(rollout, app, read(self._services.ledger, AppRecord(app=app.name)))
        if target is None:
            return self._ended(rollout, RolloutState.FAILED, f"{rollout.reason}; there is no earlier image to put back")
        self._refuse_over_unrecorded(app, _rule(app))
        restore = DeployRecord(claimed_at=now, image=target)
        taken = msgspec.structs.replace(rollout, restore=restore)
        step.commit_with(taken, AppRecord(app=app.name), self._claim(rollout, _rule(app)))
        notes = self._put(step, target, app)
        restore = msgspec.structs.replace(step.record.restore, put_at=now)
        restoring = msgspec.structs.replace(step.record, restore=restore)
        return restoring.noting(now, "putting back", f"{target} ({target.digest}){notes}")

    def verify_restored(self, step: Step[Rollout], app: App) -> Rollout:
        """Check whether what was put back is healthy; what is banned by now makes room for the one before it."""
        rollout, target = step.record, step.record.restore.image
        if target is None or self._vetoes.against_image(app, target):
            return msgspec.structs.replace(rollout, restore=DeployRecord())
        restore, problem = self._examine(rollout.restore, target, _rule(app))
        rollout = msgspec.structs.replace(rollout, restore=restore)
        if problem is None:
            reason = f"{rollout.reason}; {target} was put back and is healthy"
            restored = self._ended(rollout, RolloutState.RESTORED, reason)
            step.commit_with(restored, AppRecord(app=app.name), lambda record: self._restored(record, target))
            return restored
        if not self._is_lost(restore, _rule(app), problem):
            return rollout
        reason = f"{rollout.reason}; {target} was put back and is not healthy either: {problem.words}"
        return self._ended(rollout, RolloutState.FAILED, reason)

    def _ended(self, rollout: Rollout, state: RolloutState, reason: str) -> Rollout:
        return rollout.ended(self._services.clock.now(), state, reason)

    def _live(self, step: Step[Rollout], rollout: Rollout, app: App, why: str) -> Rollout:
        """Settle the rollout and what is live now in one transaction; a veto that came meanwhile is seen after it."""
        live, now, image = self._ended(rollout, RolloutState.LIVE, why), self._services.clock.now(), rollout.image
        live = msgspec.structs.replace(live, next_step_at=None)
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
        """The newest image that was live and well, and may be deployed."""
        new = rollout.image.digest if rollout.image else ""
        others = (image for image in record.good if image.digest != new or image == record.live)
        return next((image for image in others if not self._vetoes.against_image(app, image)), None)

    def _claim(self, rollout: Rollout, rule: DeployRule) -> Callable[[AppRecord], AppRecord]:
        """Claims the deployment for as long as a deployment and its restoration can last.

        Who goes live releases it. Of any other, its own record says whether it still deploys.
        """
        now = self._services.clock.now()
        lasts = 2 * (PROVISION_TIMEOUT_SECONDS + rule.health.within_seconds) + _CLAIM_MARGIN_SECONDS

        def claim(record: AppRecord) -> AppRecord:
            due = record.deploying_until is None or record.deploying_until <= now
            if record.deploying != rollout.name and not due and self._deploys(record):
                raise Busy(f"rollout {record.deploying} has {rule.place}", delay_seconds=2.0)
            if stale := staleness(rollout, record):
                raise Busy(stale.reason, delay_seconds=1.0)
            until = now + timedelta(seconds=lasts)
            return msgspec.structs.replace(record, deploying=rollout.name, deploying_until=until)

        return claim

    def _deploys(self, record: AppRecord) -> bool:
        holder = self._services.ledger.load(Rollout, record.app, record.deploying)
        return holder is not None and holder.record.state in _DEPLOYING

    def _put(self, step: Step[Rollout], image: BuiltImage, app: App) -> str:
        """Send the definition; returns what the history must say besides.

        Before what is there is deleted, the record says so: if it cannot be created anew, the last good one must be.
        """
        rule, registry = _rule(app), self._services.registry_rule(app.build.registry)
        target = self._services.target(rule)
        try:
            target.put(rule, image, registry)
        except NeedsRecreation as error:
            deleted = msgspec.structs.replace(step.record.deploy, deleted_at=self._services.clock.now())
            step.save(msgspec.structs.replace(step.record, deploy=deleted))
            target.delete(rule)
            target.put(rule, image, registry)
            return f", deleted and created anew: {error}"
        return ""

    def _examine(
        self, deploy: DeployRecord, image: BuiltImage, rule: DeployRule
    ) -> tuple[DeployRecord, _Problem | None]:
        """What is seen of a deployment now, and None where it is healthy."""
        state = self._services.target(rule).get(rule)
        if state is None:
            gone = f"{rule.place} is gone"
            return msgspec.structs.replace(deploy, seen=gone), _Problem(gone, is_final=True)
        seen = msgspec.structs.replace(deploy, address=state.address, seen=state.detail)
        if state.image != image.reference:
            return seen, _Problem(f"it shows {state.image or 'nothing'} still")
        if state.failed or state.restarts >= RESTART_LIMIT:
            return seen, _Problem(state.detail or f"it restarted {state.restarts} times", is_final=True)
        if not state.running or not state.address:
            return seen, _Problem(state.detail or "it does not run yet")
        problem = self._services.probe.check(state.address, rule.health.path)
        running_at = seen.running_at or self._services.clock.now()
        seen = msgspec.structs.replace(seen, running_at=running_at, seen=problem or "healthy")
        return seen, _Problem(problem) if problem is not None else None

    def _is_lost(self, deploy: DeployRecord, rule: DeployRule, problem: _Problem) -> bool:
        """Whether to wait no longer: it failed, does not come up, or runs and does not get well in time."""
        now = self._services.clock.now()
        if problem.is_final:
            return True
        if deploy.running_at is not None:
            return seconds_between(deploy.running_at, now) > rule.health.within_seconds
        return deploy.put_at is not None and seconds_between(deploy.put_at, now) > PROVISION_TIMEOUT_SECONDS


def _rule(app: App) -> DeployRule:
    assert app.deploy is not None  # an app without a deploy rule ends when it is built
    return app.deploy
