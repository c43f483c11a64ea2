"""Deploying an app's last good image again, where its container group is something else."""

from __future__ import annotations

from shared.deployment.dependents import BaseVetoes
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.policy import App, Drift
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout, RolloutState
from shared.operations.writing import insert
from shared.ports.services import Services
from shared.sweep.job import JobRun
from shared.workflow.alarms import Alarms

_NEEDS_TIME = ("it does not run", "it is not well")
"""A container that comes up, or is busy, looks so for a while: only the second sweep in a row believes it."""

_IN_VAIN = (RolloutState.FAILED, RolloutState.RESTORED)


class Redeploy:
    """What the sweep does about the container group of one app."""

    def __init__(self, services: Services, app: App, scope: str) -> None:
        self._services, self._app, self._scope = services, app, scope
        self._alarms, self._vetoes = Alarms(services), BaseVetoes(services)
        self._group = app.deploy.container_group if app.deploy else ""

    def repair(self, run: JobRun, record: AppRecord, live: BuiltImage, wrong: str) -> str:
        """Deploy the last good image again, once for each time that something is wrong; returns what is done.

        An image on a base that an operator has banned is not deployed again.
        """
        if self._app.drift is Drift.REPORT:
            return "reported only: its rule says `drift: report`"
        alarm = self._standing()
        if wrong.startswith(_NEEDS_TIME) and alarm is None:
            return "the next sweep redeploys it if it does not come up by itself"
        if vetoed := self._vetoes.against(self._app, live):
            return f"not redeployed: {vetoed}; rebuild it, or roll it back"
        last = self._latest()
        if last is not None and last.state in _IN_VAIN and last.image == live and _is_about(last, alarm):
            return f"redeploying it did not help ({last.reason}): roll back, or rebuild"
        rollout = self._rollout(run, record, live, wrong)
        run.note("redeploy", f"{live} on {self._group}", logged=alarm is None)  # a new alarm says it too
        if not run.dry_run:
            insert(self._services, rollout)
        return f"redeployed by rollout {rollout.name}"

    def _rollout(self, run: JobRun, record: AppRecord, live: BuiltImage, wrong: str) -> Rollout:
        now = self._services.clock.now()
        return Rollout(
            app=self._app.name,
            name=f"drift-{run.record.round:06}",
            cause=Cause.DRIFT,
            state=RolloutState.DEPLOYING,
            created_at=now,
            image=live,
            base=live.base,
            after=record.lives,
        ).noting(now, "started", f"found by sweep: {self._group}: {wrong}")

    def _standing(self) -> Alarm | None:
        """The alarm about the container group, if an earlier sweep has raised it."""
        alarms = self._alarms.standing(self._scope)
        return next((a for a in alarms if (a.kind, a.subject) == (AlarmKind.CONTAINER, self._group)), None)

    def _latest(self) -> Rollout | None:
        drifts = [stored.record for stored in self._services.ledger.list(Rollout, self._app.name, "drift-")]
        return drifts[-1] if drifts else None


def _is_about(rollout: Rollout, alarm: Alarm | None) -> bool:
    """Whether a rollout was tried against what is wrong now: all has been well since where no alarm stands."""
    ended_at = rollout.history[-1].at if rollout.history else rollout.created_at
    return alarm is not None and alarm.since <= ended_at
