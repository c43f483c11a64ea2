"""Deploying an app, looking whether it is healthy, and putting the last good one back if not."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from shared.domain.decide_rollout import staleness
from shared.domain.errors import Busy, NeedsRecreation
from shared.domain.policy import App, DeployRule
from shared.domain.record import seconds_between
from shared.domain.rollout import AppRecord, BuiltImage, DeployRecord, Rollout, RolloutState
from shared.ports import GroupState
from shared.workflow.dependents import AppRecords
from shared.workflow.services import Services
from shared.workflow.step import Step

PROVISION_TIMEOUT_SECONDS = 900.0
"""How long a container group may take to run: pulling a large image takes minutes."""

_CLAIM_MARGIN_SECONDS = 300.0
_RESTART_LIMIT = 3
_ON_THE_GROUP = frozenset((RolloutState.DEPLOYING, RolloutState.VERIFYING, RolloutState.RESTORING))


class Deploy:
    """The steps of a rollout from its image on. One rollout an app has the container group at a time."""

    def __init__(self, services: Services) -> None:
        self._services, self._records = services, AppRecords(services)

    def deploy(self, step: Step[Rollout], app: App) -> Rollout:
        """Take the container group and put the image on it.

        1. Take the group: the rollouts of an app take turns.
        2. What the app's record says by now counts: something newer may have gone live since this look began.
        3. An image that is live already, and well, stays as it is.
        4. Save once more: of two workers with this rollout, only one gets further.
        5. Send the definition.
        """
        rollout, rule, now = step.record, _rule(app), self._services.clock.now()
        image = rollout.image
        assert image is not None  # decide deploys images only
        record = self._claim(rollout, rule)  # 1
        if stale := staleness(rollout, record):  # 2
            raise Busy(stale.reason, delay_seconds=1.0)
        same = record.live is not None and (record.live.tag, record.live.digest) == (image.tag, image.digest)
        if same and self._examine(DeployRecord(), image, rule)[1] is None:  # 3
            return self._live(rollout, "it was live already")
        step.save(rollout)  # 4
        notes = self._put(step, image, app)  # 5
        put = msgspec.structs.replace(rollout, state=RolloutState.VERIFYING, deploy=DeployRecord(put_at=now), reason="")
        return put.noting(now, "deployed", f"{image} on {rule.container_group}{notes}")

    def verify(self, step: Step[Rollout], app: App) -> Rollout:
        """Look at the new deployment: live, not yet, or never."""
        rollout, now = step.record, self._services.clock.now()
        image = rollout.image
        assert image is not None  # decide verifies what was deployed
        deploy, problem = self._examine(rollout.deploy, image, _rule(app))
        rollout = msgspec.structs.replace(rollout, deploy=deploy)
        if problem is None:
            return self._live(rollout, f"{deploy.address}{_rule(app).health.path} answers")
        if not _is_lost(deploy, _rule(app), problem.failed, self._services.clock.now()):
            return rollout
        reason = f"{image} is not healthy: {problem.detail}"
        unhealthy = msgspec.structs.replace(rollout, state=RolloutState.RESTORING, reason=reason)
        return unhealthy.noting(now, "unhealthy", reason)

    def restore(self, step: Step[Rollout], app: App) -> Rollout:
        """Put the last good image back, if nobody else has taken the container group meanwhile."""
        rollout, now = step.record, self._services.clock.now()
        self._claim(rollout, _rule(app))
        last_good = self._records.load(app.name).record.live
        if last_good is None:
            return self.end(rollout, RolloutState.FAILED, f"{rollout.reason}; there is no earlier image to put back")
        notes = self._put(step, last_good, app)
        rollout = step.record
        restoring = msgspec.structs.replace(rollout, restore=DeployRecord(put_at=now))
        return restoring.noting(now, "putting back", f"{last_good}{notes}")

    def verify_restored(self, step: Step[Rollout], app: App) -> Rollout:
        """Look whether the last good one is healthy again."""
        rollout = step.record
        last_good = self._records.load(app.name).record.live
        if last_good is None:
            return self.end(
                rollout, RolloutState.FAILED, f"{rollout.reason}; the last good image is not known any more"
            )
        restore, problem = self._examine(rollout.restore, last_good, _rule(app))
        rollout = msgspec.structs.replace(rollout, restore=restore)
        if problem is None:
            return self.end(
                rollout, RolloutState.RESTORED, f"{rollout.reason}; {last_good} was put back and is healthy"
            )
        if not _is_lost(restore, _rule(app), problem.failed, self._services.clock.now()):
            return rollout
        reason = f"{rollout.reason}; {last_good} was put back and is not healthy either: {problem.detail}"
        return self.end(rollout, RolloutState.FAILED, reason)

    def end(self, rollout: Rollout, state: RolloutState, reason: str) -> Rollout:
        """Close the rollout; its hold on the container group ends with it."""
        ended = msgspec.structs.replace(rollout, state=state, reason=reason)
        return ended.noting(self._services.clock.now(), state.value, reason)

    def _live(self, rollout: Rollout, why: str) -> Rollout:
        self._go_live(rollout)
        live = msgspec.structs.replace(rollout, state=RolloutState.LIVE, reason=why)
        return live.noting(self._services.clock.now(), "live", why)

    def _claim(self, rollout: Rollout, rule: DeployRule) -> AppRecord:
        """Take the container group for as long as a deployment and its restoration can last.

        Nobody lets it go: whether its holder still has it is what the holder's own record says.
        """
        now = self._services.clock.now()
        lasts = 2 * (PROVISION_TIMEOUT_SECONDS + rule.health.within_seconds) + _CLAIM_MARGIN_SECONDS

        def claim(record: AppRecord) -> AppRecord:
            due = record.deploying_until is None or record.deploying_until <= now
            if record.deploying != rollout.name and not due and self._has_the_group(record):
                raise Busy(f"rollout {record.deploying} has the container group", delay_seconds=2.0)
            until = now + timedelta(seconds=lasts)
            return msgspec.structs.replace(record, deploying=rollout.name, deploying_until=until)

        return self._records.change(rollout.app, claim)

    def _has_the_group(self, record: AppRecord) -> bool:
        holder = self._services.ledger.load(Rollout, record.app, record.deploying)
        return holder is not None and holder.record.state in _ON_THE_GROUP

    def _go_live(self, rollout: Rollout) -> None:
        now = self._services.clock.now()
        self._records.change(
            rollout.app, lambda record: msgspec.structs.replace(record, live=rollout.image, live_since=now)
        )

    def _put(self, step: Step[Rollout], image: BuiltImage, app: App) -> str:
        """Send the definition; returns what the history must say besides.

        Before a group is deleted, the record says so: if it cannot be created anew, the last good one must be.
        """
        rule, registry = _rule(app), self._services.registry_rule(app.build.registry)
        try:
            self._services.containers.put(rule, image, registry)
        except NeedsRecreation as error:
            deleted = msgspec.structs.replace(step.record.deploy, deleted_at=self._services.clock.now())
            step.save(msgspec.structs.replace(step.record, deploy=deleted))
            self._services.containers.delete(rule)
            self._services.containers.put(rule, image, registry)
            return f", deleted and created anew: {error}"
        return ""

    def _examine(
        self, deploy: DeployRecord, image: BuiltImage, rule: DeployRule
    ) -> tuple[DeployRecord, GroupState | None]:
        """What is seen of a deployment now, and None where it is healthy."""
        group = self._services.containers.get(rule)
        if group is None:
            gone = GroupState(image="", running=False, failed=True, detail="the container group is gone")
            return msgspec.structs.replace(deploy, seen=gone.detail), gone
        seen = msgspec.structs.replace(deploy, address=group.address, seen=group.detail)
        if group.image != str(image):
            return seen, msgspec.structs.replace(
                group, failed=False, detail=f"it shows {group.image or 'nothing'} still"
            )
        if group.failed or group.restarts >= _RESTART_LIMIT:
            detail = group.detail or f"it restarted {group.restarts} times"
            return seen, msgspec.structs.replace(group, failed=True, detail=detail)
        if not group.running or not group.address:
            return seen, msgspec.structs.replace(group, detail=group.detail or "it does not run yet")
        if seen.running_at is None:
            seen = msgspec.structs.replace(seen, running_at=self._services.clock.now())
        problem = self._services.probe.check(group.address, rule.health.path)
        seen = msgspec.structs.replace(seen, seen=problem or "healthy")
        return seen, None if problem is None else msgspec.structs.replace(group, detail=problem)


def _rule(app: App) -> DeployRule:
    assert app.deploy is not None  # an app without a deploy rule ends when it is built
    return app.deploy


def _is_lost(deploy: DeployRecord, rule: DeployRule, failed: bool, now: datetime) -> bool:
    """Whether to wait no longer: it failed, does not come up, or runs and does not get well in time."""
    if failed:
        return True
    if deploy.running_at is not None:
        return seconds_between(deploy.running_at, now) > rule.health.within_seconds
    return deploy.put_at is not None and seconds_between(deploy.put_at, now) > PROVISION_TIMEOUT_SECONDS
