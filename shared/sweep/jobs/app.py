"""The app job: whether an app is built from the current base, and runs as its last good deployment."""

from __future__ import annotations

from collections.abc import Iterator

from shared.deployment.dependents import AppRecords, Dependents
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.drift import Running, read_container
from shared.domain.image import ImageRef, parse_repository, short
from shared.domain.policy import App, DeployRule, Drift
from shared.domain.rollout import AppRecord, Rollout, RolloutState
from shared.domain.stable_tag import StableTag
from shared.intake.app_images import AppImages
from shared.ports.services import Services
from shared.sweep.job import JobRun
from shared.sweep.redeploy import Redeploy
from shared.workflow.alarms import Alarms, Every

_NEWEST_TAGS = 10
"""How many of the newest images are looked through for one that somebody else built."""


class AppJob:
    """Compares one app: its base by the ledger, its container group by one request and one health check."""

    interval_seconds = 0.0

    def __init__(self, services: Services, app: App) -> None:
        self._services, self._app = services, app
        self._records, self._dependents = AppRecords(services), Dependents(services)
        self._alarms, self._images = Alarms(services), AppImages(services)
        self.name, self.concurrency_key = f"app.{app.name}", f"app {app.name}"
        self._scope = f"apps/{app.name}"
        self._redeploy = Redeploy(services, app, self._scope)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: an app is compared in one go. A rollout that is under way sees to it by itself.

        One that still builds, or cannot, leaves the container group to the sweep.
        """
        known = [stored.record for stored in self._services.ledger.open(Rollout, self._app.name)]
        under_way = [rollout.state for rollout in known if not rollout.settled]
        record, found, checked = self._records.read(self._app.name), list[Alarm](), set[AlarmKind]()
        if not under_way:
            self._pushed_image(run, record)
            found += self._lineage(run, record)
            checked.add(AlarmKind.NOT_ON_BASE)
        if all(state is RolloutState.BUILDING for state in under_way):
            found += self._container(run, record)
            checked.add(AlarmKind.CONTAINER)
        self._alarms.settle(run, self._scope, Every(frozenset(checked)), found)
        yield self._app.name

    @property
    def _base_name(self) -> str:
        return self._app.base.tag

    @property
    def _group_name(self) -> str:
        return self._app.deploy.container_group if self._app.deploy else ""

    def _pushed_image(self, run: JobRun, record: AppRecord) -> None:
        """The newest image that somebody else built for the app must be known: with an older one nothing is to be done.

        An app that was never deployed has nothing to be newer than: its first image is built on its base.
        """
        build = self._app.build
        if self._app.deploy is None or record.newest_built_at is None:
            return
        registry = self._services.registry_rule(build.registry)
        for pushed in self._services.registry.newest_tags(registry, build.repository, _NEWEST_TAGS):
            if pushed.pushed_at <= record.newest_built_at:  # both are the registry's times
                return
            if not self._images.takes(self._app, pushed.tag, record):
                continue
            if not self._images.is_known(self._app, pushed.tag, pushed.digest):
                subject = f"{build.repository}:{pushed.tag} for app {self._app.name}"
                run.note("deploy an image that no event reported", subject)
                if not run.dry_run:
                    why = "found by the sweep: no event had reported it"
                    rollout = self._images.take_in(self._app, pushed.tag, pushed.digest, why)
                    if rollout is not None:
                        self._services.queue.send(rollout.work_item, 0)
            return

    def _lineage(self, run: JobRun, record: AppRecord) -> Iterator[Alarm]:
        """The move of the base must have led to a rollout; one that failed is an alarm, not begun again."""
        gate = self._services.policy.gates[self._app.base.gate]
        stored = self._services.ledger.load(StableTag, gate.name, self._app.base.tag)
        stable = stored.record if stored else None
        if stable is None or stable.digest is None or stable.is_moving(self._services.clock.now()):
            return
        rollout = self._dependents.rollout_of(self._app, stable)
        if rollout is None and self._app.drift is Drift.REPAIR:
            target = self._services.registry_rule(gate.promote.registry)
            image = ImageRef(target.login_server, parse_repository(gate.promote.repository), stable.digest)
            run.note("rebuild and redeploy", f"{self._app.name} on {self._base_name}, {short(image.digest)}")
            if not run.dry_run:
                self._dependents.begin(self._app, stable, image)
            return
        failed = rollout is not None and rollout.state in (RolloutState.FAILED, RolloutState.RESTORED)
        if (rollout is None or failed) and not _is_on_base(record, rollout):
            why = f"its rollout {rollout.state}: {rollout.reason}" if rollout else "no rollout was begun"
            words = f"app {self._app.name} is not built from {self._base_name}, {short(stable.digest)}: {why}"
            plan = "rebuild it when the reason is gone" if rollout else "reported only: its rule says `drift: report`"
            yield self._alarm(AlarmKind.NOT_ON_BASE, self._base_name, words, plan)

    def _container(self, run: JobRun, record: AppRecord) -> Iterator[Alarm]:
        """The container group must be the last good deployment, running and well."""
        if self._app.deploy is None or record.live is None:
            return
        wrong = read_container(record.live, self._seen(self._app.deploy))
        if not wrong:
            return
        words = f"container group {self._group_name} is not {record.live}: {wrong}"
        plan = self._redeploy.repair(run, record, record.live, wrong)
        yield self._alarm(AlarmKind.CONTAINER, self._group_name, words, plan)

    def _seen(self, rule: DeployRule) -> Running:
        group = self._services.containers.get(rule)
        if group is None:
            return Running(exists=False)
        up = group.running and not group.failed and bool(group.address)
        problem = self._services.probe.check(group.address, rule.health.path) if up else None
        return Running(
            exists=True,
            image=group.image,
            running=group.running,
            failed=group.failed,
            stopped=group.stopped,
            restarts=group.restarts,
            detail=group.detail,
            problem=problem or "",
        )

    def _alarm(self, kind: AlarmKind, subject: str, words: str, plan: str) -> Alarm:
        return Alarm(
            scope=self._scope, kind=kind, subject=subject, words=words, plan=plan, since=self._services.clock.now()
        )


def _is_on_base(record: AppRecord, rollout: Rollout | None) -> bool:
    """Whether what is live was built on the base of a rollout that failed, or later: its base may not be known."""
    if record.live is None or rollout is None:
        return False
    if record.live.base is not None:
        return record.live.base == rollout.base
    built_at = rollout.build.created_at
    return built_at is not None and record.live.built_at > built_at
