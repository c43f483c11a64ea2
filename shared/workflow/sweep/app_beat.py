"""The app beat: whether an app is built from the current base, and runs as its last good deployment."""

from __future__ import annotations

from collections.abc import Iterator

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import FoundBy
from shared.domain.drift import Running, read_container
from shared.domain.event import Push
from shared.domain.image import ImageRef, parse_repository, parse_tag
from shared.domain.policy import App, DeployRule, Drift
from shared.domain.rollout import AppRecord, Rollout, RolloutState
from shared.domain.track import Track
from shared.ports import TagPush
from shared.workflow.admit import Admit, image_rollout
from shared.workflow.dependents import AppRecords, Dependents
from shared.workflow.services import Services
from shared.workflow.sweep.alarms import Alarms, Every
from shared.workflow.sweep.redeploy import Redeploy
from shared.workflow.sweep.tour import Tour

_NEWEST_TAGS = 10
"""How many of the newest images are looked through for one that somebody else built."""


class AppBeat:
    """Looks at one app: its base by the ledger, its container group by one request and one health check."""

    every_seconds = 0.0

    def __init__(self, services: Services, app: App) -> None:
        self._services, self._app = services, app
        self._records, self._dependents = AppRecords(services), Dependents(services)
        self._alarms, self._admit = Alarms(services), Admit(services)
        self.name, self.lane = f"app.{app.name}", f"app {app.name}"
        self._scope = f"apps/{app.name}"
        self._redeploy = Redeploy(services, app, self._scope)

    def slices(self, tour: Tour) -> Iterator[str]:
        """One slice: an app is looked at in one go. While a rollout is under way, that one sees to it."""
        if not any(self._services.ledger.open(Rollout, self._app.name)):
            record = self._records.read(self._app.name)
            self._pushed_image(tour, record)
            found = [*self._lineage(tour, record), *self._container(tour, record)]
            looked_at = frozenset((AlarmKind.NOT_ON_BASE, AlarmKind.CONTAINER))
            self._alarms.settle(tour, self._scope, Every(looked_at), found)
        yield self._app.name

    @property
    def _base_name(self) -> str:
        return self._app.base.tag

    @property
    def _group_name(self) -> str:
        return self._app.deploy.container_group if self._app.deploy else ""

    def _pushed_image(self, tour: Tour, record: AppRecord) -> None:
        """The newest image that somebody else built for the app must be known: with an older one nothing is to be done.

        An app that was never deployed has nothing to be newer than: its first image is built on its base.
        """
        build = self._app.build
        if self._app.deploy is None or record.live is None:
            return
        registry = self._services.registry_rule(build.registry)
        for pushed in self._services.registry.newest_tags(registry, build.repository, _NEWEST_TAGS):
            if pushed.tag == record.live.tag or pushed.pushed_at <= record.live.built_at:
                return
            run_id = build.run_of(pushed.tag)
            if run_id is not None and run_id not in record.runs:
                self._take_in(tour, pushed)
                return

    def _take_in(self, tour: Tour, pushed: TagPush) -> None:
        name = image_rollout(pushed.digest, pushed.tag)
        if self._services.ledger.load(Rollout, self._app.name, name) is not None:
            return
        build, now = self._app.build, self._services.clock.now()
        tour.note("deploy an image that no event told of", f"{build.repository}:{pushed.tag} for app {self._app.name}")
        if tour.dry_run:
            return
        push = Push(
            repository=parse_repository(build.repository),
            tag=parse_tag(pushed.tag),
            digest=pushed.digest,
            at=pushed.pushed_at,
            told=f"found by sweep at {now:%Y-%m-%dT%H:%M:%SZ}, and no event had told",
            found_by=FoundBy.SWEEP,
        )
        for look in self._admit.image(push, self._app).looks:
            self._services.queue.send(look, 0)

    def _lineage(self, tour: Tour, record: AppRecord) -> Iterator[Alarm]:
        """The promotion of the base must have led to a rollout; one that failed is an alarm, not begun again."""
        gate = self._services.policy.gates[self._app.base.gate]
        stored = self._services.ledger.load(Track, gate.name, self._app.base.tag)
        track = stored.record if stored else None
        if track is None or track.digest is None or track.moved_at is None:
            return
        if track.is_moving(self._services.clock.now()):
            return
        rollout = self._dependents.rollout_of(self._app, track)
        if rollout is None and self._app.drift is Drift.REPAIR:
            target = self._services.registry_rule(gate.promote.registry)
            image = ImageRef(target.login_server, parse_repository(gate.promote.repository), track.digest)
            tour.note("rebuild and redeploy", f"{self._app.name} on {image}")
            if not tour.dry_run:
                self._dependents.begin(self._app, image, track.moved_at)
            return
        failed = rollout is not None and rollout.state in (RolloutState.FAILED, RolloutState.RESTORED)
        built_later = record.live is not None and record.live.built_at > track.moved_at
        if (rollout is None or failed) and not built_later:
            why = f"its rollout {rollout.state}: {rollout.reason}" if rollout else "no rollout was begun"
            words = f"app {self._app.name} is not built from {self._base_name} as it is ({track.digest}): {why}"
            plan = "rebuild it when the reason is mended" if rollout else "reported only: its rule says `drift: report`"
            yield self._alarm(AlarmKind.NOT_ON_BASE, self._base_name, words, plan)

    def _container(self, tour: Tour, record: AppRecord) -> Iterator[Alarm]:
        """The container group must be the last good deployment, running and well."""
        if self._app.deploy is None or record.live is None:
            return
        wrong = read_container(record.live, self._seen(self._app.deploy))
        if not wrong:
            return
        words = f"container group {self._group_name} is not {record.live}: {wrong}"
        plan = self._redeploy.mend(tour, record.live, wrong)
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
