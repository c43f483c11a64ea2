"""The app job: whether an app is built from the current base, and runs its last good deployment."""

from collections.abc import Iterator

from shared.deployment.build import Build
from shared.deployment.dependents import Dependents
from shared.deployment.deploy import UNRECORDED_REMEDY, Condition, Health, health_of
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.image import Tag, short
from shared.domain.policy import App
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout, RolloutState, image_rollout
from shared.domain.stable_tag import StableTag
from shared.intake.hints import AppImages
from shared.ports import Services, last, read
from shared.promotion.vetoes import Vetoes
from shared.reconcile.begin import enqueue, save
from shared.sweep.job import JobRun, SweepJob
from shared.sweep.jobs.at_risk import scans_again

_NEWEST_TAGS = 10
"""How many of the newest images are searched for one that somebody else built."""

_FAILED = (RolloutState.FAILED, RolloutState.RESTORED)


class AppJob(SweepJob):
    """Checks one app: its base against the ledger, its deployment with one request and one health check."""

    def __init__(self, services: Services, app: App) -> None:
        super().__init__(services, f"app.{app.name}", f"app {app.name}", f"apps/{app.name}")
        self._app, self._base_name = app, app.base.tag
        self._name = app.deploy.name if app.deploy else ""
        self._dependents, self._vetoes, self._images = Dependents(services), Vetoes(services), AppImages(services)
        self._build = Build(services)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: an app is checked as a whole. An active rollout reconciles itself; one that still builds, or is
        stalled, leaves the deployment to this job.
        """
        known = [stored.record for stored in self._services.ledger.open(Rollout, self._app.name)]
        under_way = [rollout.state for rollout in known if not rollout.settled]
        record = read(self._services.ledger, AppRecord(app=self._app.name))
        found, checked = list[Alarm](), set[AlarmKind]()
        if not scans_again(self._services.policy.gates[self._app.base.gate]):
            checked.add(AlarmKind.AT_RISK)  # its base may have been of a gate that does
        if not under_way:
            self._pushed_image(run, record)
            found += self._lineage(run, record)
            checked.add(AlarmKind.NOT_ON_BASE)
        if all(state is RolloutState.BUILDING for state in under_way):
            found += self._container(run, record)
            checked.add(AlarmKind.CONTAINER)
        self._settle(run, checked, found)
        yield self._app.name

    def _pushed_image(self, run: JobRun, record: AppRecord) -> None:
        """The newest image that somebody else built for the app must be recorded; an older one needs nothing. An app
        without a deployment has nothing to compare with: its first image is built on its base.
        """
        build = self._app.build
        if self._app.deploy is None or record.newest_built_at is None:
            return
        registry = self._services.registry_rule(build.registry)
        newest = self._services.registry.newest_tags(registry, build.repository, _NEWEST_TAGS)
        pushed = next((one for one in newest if self._images.takes(self._app, one.tag, record)), None)
        if pushed is None or pushed.pushed_at <= record.newest_built_at:  # both are the registry's times
            return
        row = image_rollout(pushed.tag, pushed.digest)
        if self._services.ledger.load(Rollout, self._app.name, row) is not None:
            return
        run.note("deploy an image that no event reported", f"{build.repository}:{pushed.tag} for app {self._app.name}")
        if not run.dry_run:
            why = "found by the sweep: no event had reported it"
            if rollout := self._images.roll_out(self._app, pushed.tag, pushed.digest, why):
                self._services.queue.send(rollout.work_item, 0)

    def _lineage(self, run: JobRun, record: AppRecord) -> Iterator[Alarm]:
        """The last move of the base must have caused a rollout; for one that failed there is an alarm, and no new
        attempt.
        """
        gate = self._services.policy.gates[self._app.base.gate]
        stable = read(self._services.ledger, StableTag(gate=gate.name, tag=Tag(self._base_name)))
        if stable.digest is None or stable.is_moving(self._services.clock.now()):
            return
        rollout = self._dependents.rollout_of(self._app, stable)
        if rollout is None and self._app.drift == "repair":
            run.note("rebuild and redeploy", f"{self._app.name} on {self._base_name}, {short(stable.digest)}")
            if not run.dry_run:
                begun = self._dependents.begin(self._app, stable)
                enqueue(self._services, [begun[0].record.work_item] if begun else [])
            return
        failed = rollout is not None and rollout.state in (*_FAILED, RolloutState.CANCELED)
        if (rollout is None or failed) and not _is_on_base(record, rollout):
            why = f"its rollout {rollout.state}: {rollout.reason}" if rollout else "no rollout was begun"
            words = f"app {self._app.name} is not built from {self._base_name}, {short(stable.digest)}: {why}"
            plan = "rebuild it when the cause is fixed" if rollout else "reported only: its rule says `drift: report`"
            yield self._alarm(AlarmKind.NOT_ON_BASE, self._base_name, words, plan)

    def _container(self, run: JobRun, record: AppRecord) -> Iterator[Alarm]:
        """The deployment must be the last good image, running and healthy."""
        if self._app.deploy is None or record.live is None:
            return
        health = health_of(self._services, self._app.deploy, record.live)
        if health.condition is Condition.HEALTHY:
            return
        words = f"{self._app.deploy.place} is not {record.live}: {health.problem}"
        plan = self._redeploy(run, record, record.live, health)
        yield self._alarm(AlarmKind.CONTAINER, self._name, words, plan)

    def _redeploy(self, run: JobRun, record: AppRecord, live: BuiltImage, health: Health) -> str:
        """Redeploy the last good image, once for each problem; returns the effect. An image on a vetoed base is not
        redeployed. A transient problem counts when a second sweep in a row finds it.
        """
        if self._app.drift == "report":
            return "reported only: its rule says `drift: report`"
        other = health.state.image if health.state and health.condition is Condition.OTHER_IMAGE else ""
        if other and self._build.identify_unrecorded(self._app, other):
            return f"not redeployed: the ledger has no record of what it shows; {UNRECORDED_REMEDY}"
        about = (AlarmKind.CONTAINER, self._name)
        alarm = next((one for one in self._alarms.active(self._scope) if one.about == about), None)
        if health.condition.is_transient and alarm is None:
            return "the next sweep redeploys it if it does not come up by itself"
        if vetoed := self._vetoes.against_image(self._app, live):
            return f"not redeployed: {vetoed}; rebuild it, or roll it back"
        tried = last(self._services.ledger, Rollout, self._app.name, "drift-")
        failed = tried is not None and tried.record.state in _FAILED and tried.record.image == live
        if tried and failed and alarm and alarm.since <= tried.record.history[-1].at:  # else it was healthy since
            return f"redeploying it did not help ({tried.record.reason}): roll back, or rebuild"
        name, now = f"drift-{run.record.round:06}", self._services.clock.now()
        why = f"found by sweep: {self._name}: {health.problem}"
        run.note("redeploy", f"{live} on {self._name}", logged=alarm is None)  # a new alarm is logged, too
        if not run.dry_run:
            save(self._services, record.new_rollout(name, Cause.DRIFT, now, why, image=live, base=live.base))
        return f"redeployed by rollout {name}"


def _is_on_base(record: AppRecord, rollout: Rollout | None) -> bool:
    """Whether the live image was built on the base of a failed rollout, or later: its base may not be known."""
    if record.live is None or rollout is None:
        return False
    if record.live.base is not None:
        return record.live.base == rollout.base
    built_at = rollout.build.created_at
    return built_at is not None and record.live.built_at > built_at
