"""Building an app on a promoted base: start the run, watch it, find the image it pushed."""

from __future__ import annotations

import msgspec

from shared.domain.errors import Rejected
from shared.domain.image import ImageRef
from shared.domain.policy import App
from shared.domain.record import seconds_between
from shared.domain.rollout import AppRecord, BuildRecord, BuiltImage, Rollout, RolloutState
from shared.ports import Run, RunStatus
from shared.workflow.dependents import AppRecords
from shared.workflow.evidence import gather_evidence, telling_line
from shared.workflow.services import Services
from shared.workflow.step import Step

_REMEMBERED_RUNS = 50


class Build:
    """The steps of a rollout up to its image."""

    def __init__(self, services: Services) -> None:
        self._services, self._records = services, AppRecords(services)

    def trace(self, step: Step[Rollout], app: App) -> Rollout:
        """Find out when an image that someone else pushed was built: its tag names the run, the run its start.

        A tag that names no run of the registry may move at any time: such an image is not deployed.
        """
        rollout, now = step.record, self._services.clock.now()
        image = rollout.image
        assert image is not None  # decide traces images only
        run_id = app.build.run_of(image.tag)
        registry = self._services.registry_rule(app.build.registry)
        run = self._services.tasks.get(registry, run_id) if run_id else None
        if run is None:
            reason = f"{image.tag} names no run of {registry.login_server}: a tag that may move is not deployed"
            canceled = msgspec.structs.replace(rollout, state=RolloutState.CANCELED, reason=reason)
            return canceled.noting(now, "canceled", reason)
        started_at = run.started_at or image.built_at
        traced = msgspec.structs.replace(
            rollout,
            build=BuildRecord(traced=True, started_at=started_at, run_id=run.run_id),
            image=msgspec.structs.replace(image, built_at=started_at),
        )
        return traced.noting(now, "build traced", f"run {run.run_id} of the app's registry")

    def start(self, step: Step[Rollout], app: App) -> Rollout:
        """Start the build.

        1. Claim it in the ledger: of two workers only one gets further.
        2. Start the run on the base by digest, marked so that it can be found if this process dies before 3.
        3. Remember the run with the app, so that the push it makes is known for an echo; record its id.
        """
        now, rollout = self._services.clock.now(), step.record
        build = BuildRecord(claimed_at=now, times=rollout.build.times + 1)
        rollout = step.save(msgspec.structs.replace(rollout, build=build))  # 1
        base = self._base(rollout, app)
        values = {**app.build.values, **({"BASE_IMAGE": str(base)} if base else {})}
        registry = self._services.registry_rule(app.build.registry)
        run_id = self._services.tasks.start(registry, app.build.task, values, _mark(rollout))  # 2
        return self._begun(rollout, app, run_id, "build started", f"run {run_id} on {base or 'its own base'}")  # 3

    def adopt(self, step: Step[Rollout], app: App) -> Rollout:
        """Find the run that a dead worker started, or let the build be started again."""
        rollout, now = step.record, self._services.clock.now()
        claimed_at = rollout.build.claimed_at
        assert claimed_at is not None  # decide adopts nothing that was not claimed
        registry = self._services.registry_rule(app.build.registry)
        run_id = self._services.tasks.find(registry, app.build.task, _mark(rollout), claimed_at)
        if run_id is None:
            build = msgspec.structs.replace(rollout.build, claimed_at=None, times=rollout.build.times - 1)
            dropped = msgspec.structs.replace(rollout, build=build)
            return dropped.noting(now, "claim dropped", "no run was started")
        return self._begun(rollout, app, run_id, "run adopted", f"run {run_id} was not recorded")

    def watch(self, step: Step[Rollout], app: App) -> Rollout:
        """Look at the build; at its end find the image it pushed.

        Raises:
            Rejected: it failed, took too long, or pushed nothing under the tag that the rule says.
        """
        rollout = step.record
        registry = self._services.registry_rule(app.build.registry)
        run = self._services.tasks.get(registry, rollout.build.run_id)
        if run is None:
            raise Rejected(f"run {rollout.build.run_id} of task {app.build.task} is gone")
        if run.status is RunStatus.RUNNING:
            self._cancel_if_overdue(rollout, app)
            return rollout
        name = f"apps/{app.name}/{run.run_id}.log"
        evidence = gather_evidence(self._services.tasks, self._services.archive, registry, run, name)
        ended = msgspec.structs.replace(
            rollout,
            build=msgspec.structs.replace(
                rollout.build,
                evidence=evidence,
                started_at=run.started_at or rollout.build.claimed_at,
                finished_at=run.finished_at or self._services.clock.now(),
            ),
        )
        if run.status is not RunStatus.SUCCEEDED:
            step.save(ended)
            raise Rejected(f"run {run.run_id} of task {app.build.task} {run.status}: {telling_line(evidence)}")
        return self._built(ended, app, run)

    def _cancel_if_overdue(self, rollout: Rollout, app: App) -> None:
        claimed_at = rollout.build.claimed_at
        assert claimed_at is not None  # only a claimed build is watched
        if seconds_between(claimed_at, self._services.clock.now()) > app.build.timeout_seconds:
            self._services.tasks.cancel(self._services.registry_rule(app.build.registry), rollout.build.run_id)
            raise Rejected(f"run {rollout.build.run_id} did not end within {app.build.timeout_seconds} s, canceled")

    def _built(self, rollout: Rollout, app: App, run: Run) -> Rollout:
        registry = self._services.registry_rule(app.build.registry)
        tag = app.build.tag_of(run.run_id)
        digest = self._services.registry.digest_of(registry, app.build.repository, tag)
        name = f"{registry.login_server}/{app.build.repository}:{tag}"
        if digest is None:
            raise Rejected(f"run {run.run_id} succeeded and pushed no {name}: the rule build.image names another tag")
        image = BuiltImage(
            login_server=registry.login_server,
            repository=app.build.repository,
            tag=tag,
            digest=digest,
            built_at=rollout.build.started_at or self._services.clock.now(),
        )
        state = RolloutState.DEPLOYING if app.deploy else RolloutState.BUILT
        built = msgspec.structs.replace(
            rollout,
            image=image,
            state=state,
            build=msgspec.structs.replace(rollout.build, traced=True),
            reason="built" if state is RolloutState.BUILT else rollout.reason,
        )
        return built.noting(self._services.clock.now(), "built", f"{name} is {digest}")

    def rebuild(self, step: Step[Rollout], app: App) -> Rollout:
        """Forget the image: something newer came in since its build began."""
        rollout = step.record
        again = msgspec.structs.replace(
            rollout,
            state=RolloutState.BUILDING,
            image=None,
            build=BuildRecord(times=rollout.build.times),
        )
        return again.noting(self._services.clock.now(), "build again", step.decision.reason)

    def _base(self, rollout: Rollout, app: App) -> ImageRef | None:
        return rollout.base or self._records.load(app.name).record.base

    def _begun(self, rollout: Rollout, app: App, run_id: str, what: str, why: str) -> Rollout:
        def remember(record: AppRecord) -> AppRecord:
            runs = (*record.runs, run_id)[-_REMEMBERED_RUNS:]
            return record if run_id in record.runs else msgspec.structs.replace(record, runs=runs)

        self._records.change(app.name, remember)
        build = msgspec.structs.replace(rollout.build, run_id=run_id)
        return msgspec.structs.replace(rollout, build=build).noting(self._services.clock.now(), what, why)


def _mark(rollout: Rollout) -> str:
    """What tells this build of this rollout from every other."""
    return f"basegate/{rollout.app}/{rollout.name}/{rollout.build.times}"
