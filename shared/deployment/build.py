"""Builds an app on a promoted base: starts the run, watches it, finds the image that it pushed."""

import secrets
from itertools import chain

from msgspec.structs import replace

from shared.checks.task import gather_evidence, telling_line
from shared.domain.decide import require_start_failed, rerun_wait
from shared.domain.errors import Inconclusive, Rejected
from shared.domain.image import Digest
from shared.domain.policy import App, RegistryRule, seconds
from shared.domain.record import seconds_between
from shared.domain.rollout import AppRecord, BuildRecord, BuiltImage, Cause, Rollout, RolloutState, image_rollout
from shared.ports import Run, RunStatus, Services, read
from shared.promotion.vetoes import Vetoes
from shared.records.step import Step

UNLISTED_SECONDS = 60.0
"""How long a run that has ended may take to list the images that it built."""

_REMEMBERED_RUNS = 50
_NEWEST_TAGS = 100


class Build:
    """The steps of a rollout up to its image."""

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes = services, Vetoes(services)

    def trace(self, step: Step[Rollout], app: App) -> Rollout:
        """Find the run that built an image which someone else pushed: a successful run of the app's own task.

        The tag names the run, and the digest must be an output of that run. Anyone could have pushed another image, so
        it is not deployed.
        """
        rollout, registry = step.record, self._registry(app)
        image = rollout.image
        assert image is not None  # decide traces only images
        run_id = app.build.run_of(image.tag)
        run = self._services.tasks.get(registry, run_id) if run_id else None
        if run is None:
            return self._canceled(rollout, f"{image.tag} does not name a run of {registry.login_server}")
        if run.status is RunStatus.RUNNING:
            return rollout
        if run.task != app.build.task or run.status is not RunStatus.SUCCEEDED:
            what = f"run {run.run_id} is of {run.task or 'no task'} and {run.status}"
            return self._canceled(rollout, f"{what}: only images built by {app.build.task} are deployed")
        if run.mark.startswith(f"basegate/{app.name}/"):
            return self._canceled(rollout, f"Basegate started run {run.run_id}, which has its own rollout")
        if image.digest not in _outputs(run, app, registry).values():
            if (waiting := self._awaiting_output(rollout)) is not None:
                return waiting
            if problem := self._unproven(run, app, registry, image):
                return self._canceled(rollout, problem)
        traced = replace(rollout, image=replace(image, run_id=run.run_id, built_at=run.created_at or image.built_at))
        return traced.noting(self._services.clock.now(), "build traced", f"run {run.run_id} of {registry.login_server}")

    def start(self, step: Step[Rollout], app: App) -> Rollout:
        """Start the build.

        1. A vetoed base cancels it.
        2. Claim it in the ledger: of two workers only one continues. The worker that has just moved the tag created
           the rollout with its claim.
        3. Start the run on the base by digest, with a mark, so that it can be found if this process dies before 4.
        4. Record its id, also in the app's record, so that its push begins no further rollout.
        """
        now, rollout = self._services.clock.now(), step.record
        base = rollout.base if rollout.cause is Cause.BASE else step.beside(AppRecord(app=app.name)).record.base
        if vetoed := self._vetoes.against_base(base):  # 1
            return self._canceled(rollout, vetoed)
        if not step.is_claimed:
            build = rollout.build.claimed(now, secrets.token_hex(8))
            rollout = step.save(replace(rollout, base=base, build=build))  # 2
        values = {**app.build.values, **({"BASE_IMAGE": str(base)} if base else {})}
        run_id = self._services.tasks.start(self._registry(app), app.build.task, values, _mark(rollout))  # 3
        return self._begun(step, app, run_id, "build started", f"run {run_id} on {base or 'its own base'}")  # 4

    def adopt(self, step: Step[Rollout], app: App) -> Rollout:
        """Find the run that a dead worker started, else release the claim so that the build is started again."""
        rollout, now = step.record, self._services.clock.now()
        claimed_at = rollout.build.claimed_at
        assert claimed_at is not None  # decide adopts only claimed builds
        run_id = self._services.tasks.find(self._registry(app), app.build.task, _mark(rollout), claimed_at)
        if run_id is None:
            require_start_failed(claimed_at, now)
            again = replace(rollout, build=BuildRecord(times=rollout.build.times - 1))
            return again.noting(now, "claim released", "no run was started")
        return self._begun(step, app, run_id, "run adopted", f"run {run_id} was not recorded")

    def watch(self, step: Step[Rollout], app: App) -> Rollout:
        """Read the state of the run; at its end find the image that it pushed. A veto of its base cancels it.

        Raises:
            Rejected: it failed, took too long, or did not verifiably build the image.
            Inconclusive: it ended without a result, and the build is started again.
        """
        rollout, registry = step.record, self._registry(app)
        here = rollout.build.registry == registry.login_server
        run = self._services.tasks.get(registry, rollout.build.run_id) if here else None
        if run is None or run.status is RunStatus.BROKEN:
            how = f"ended without a result: {run.detail}" if run else f"is not in {registry.login_server}"
            step.carry(replace(rollout, build=BuildRecord(times=rollout.build.times)))
            reason = f"run {rollout.build.run_id} of task {app.build.task} {how}"
            raise Inconclusive(reason, rerun_wait(rollout.build.times))
        if run.status is RunStatus.RUNNING:
            return self._running(rollout, app)
        ended = rollout if rollout.build.finished_at else self._ended(rollout, app, run)
        try:
            return self._built(ended, app, run)
        except Rejected:
            step.save(ended)
            raise

    def identify(self, app: App, reference: str) -> BuiltImage | None:
        """The app image with a deployment's digest `reference`, if a run of the app's own task built it.

        None if that cannot be verified: no such run has the digest as its output, or the run is no longer listed.
        """
        registry, repository = self._registry(app), app.build.repository
        digest = reference.removeprefix(f"{registry.login_server}/{repository}@")
        for push in self._services.registry.newest_tags(registry, repository, _NEWEST_TAGS):
            run_id = app.build.run_of(push.tag) if push.digest == digest else None
            run = self._services.tasks.get(registry, run_id) if run_id else None
            if run is None or run.task != app.build.task or run.status is not RunStatus.SUCCEEDED:
                continue
            built_at, server = run.created_at or push.pushed_at, registry.login_server
            image = BuiltImage(
                login_server=server, repository=repository, tag=push.tag, digest=push.digest,
                built_at=built_at, run_id=run.run_id,
            )  # fmt: skip
            if _outputs(run, app, registry).get(push.tag) == digest or not self._unproven(run, app, registry, image):
                return image
        return None

    def identify_unrecorded(self, app: App, reference: str) -> BuiltImage | None:
        """The image that `identify` finds, if neither its run nor a deployment of it is in the ledger: one was lost."""
        image, record = self.identify(app, reference), read(self._services.ledger, AppRecord(app=app.name))
        if image is None or f"{image.login_server}/{image.run_id}" in record.runs:
            return None
        listed = (stored.record for stored in self._services.ledger.list(Rollout, app.name))
        claimed = [rollout for rollout in listed if rollout.deploy.claimed_at is not None]
        good = chain(record.good, (rollout.image for rollout in claimed))
        pushed = image_rollout(image.tag, image.digest)
        known = any(one and one.digest == image.digest for one in good) or any(one.name == pushed for one in claimed)
        return None if known else image

    def rebuild(self, step: Step[Rollout], app: App) -> Rollout:
        """Drop the image and build again: something newer appeared since its build began."""
        rollout, build = step.record, BuildRecord(times=step.record.build.times)
        again = replace(rollout, state=RolloutState.BUILDING, image=None, build=build)
        return again.noting(self._services.clock.now(), "build again", step.decision.reason)

    def _ended(self, rollout: Rollout, app: App, run: Run) -> Rollout:
        registry, now = self._registry(app), self._services.clock.now()
        name = f"apps/{app.name}/{registry.login_server}/{run.run_id}.log"
        build = replace(
            rollout.build,
            evidence=gather_evidence(self._services.tasks, self._services.archive, registry, run, name),
            created_at=run.created_at or rollout.build.claimed_at,
            started_at=run.started_at or rollout.build.claimed_at,
            finished_at=run.finished_at or now,
        )
        return replace(rollout, build=build)

    def _running(self, rollout: Rollout, app: App) -> Rollout:
        if vetoed := self._vetoes.against_base(rollout.base):
            self._services.tasks.cancel(self._registry(app), rollout.build.run_id)
            return self._canceled(rollout, vetoed)
        claimed_at = rollout.build.claimed_at
        assert claimed_at is not None  # only a claimed build is watched
        if seconds_between(claimed_at, self._services.clock.now()) > seconds(app.build.timeout):
            self._services.tasks.cancel(self._registry(app), rollout.build.run_id)
            raise Rejected(f"run {rollout.build.run_id} did not end within {seconds(app.build.timeout)} s: canceled")
        return rollout

    def _built(self, rollout: Rollout, app: App, run: Run) -> Rollout:
        registry, now = self._registry(app), self._services.clock.now()
        if run.status is not RunStatus.SUCCEEDED:
            line = telling_line(rollout.build.evidence)
            raise Rejected(f"run {run.run_id} of task {app.build.task} {run.status}: {line}")
        tag = app.build.tag_of(run.run_id)
        listed = _outputs(run, app, registry).get(tag)
        if listed is None and (waiting := self._awaiting_output(rollout)) is not None:
            return waiting
        digest = listed or self._services.registry.digest_of(registry, app.build.repository, tag)
        if digest is None:
            name = f"{registry.login_server}/{app.build.repository}:{tag}"
            raise Rejected(f"run {run.run_id} succeeded, but did not push {name}: correct build.image in the rules")
        image = BuiltImage(
            login_server=registry.login_server,
            repository=app.build.repository,
            tag=tag,
            digest=digest,
            built_at=rollout.build.created_at or now,
            run_id=run.run_id,
            base=rollout.base,
        )
        if listed is None and (problem := self._unproven(run, app, registry, image)):
            raise Rejected(problem)
        state, reason = (RolloutState.DEPLOYING, "") if app.deploy else (RolloutState.BUILT, "built")
        built = replace(rollout, image=image, state=state, reason=reason)
        return built.noting(now, "built", f"{image} is {digest}")

    def _awaiting_output(self, rollout: Rollout) -> Rollout | None:
        """The rollout while its run, which has ended, may still list its output; None once that takes too long."""
        since, now = rollout.build.unlisted_since, self._services.clock.now()
        if since is not None and seconds_between(since, now) >= UNLISTED_SECONDS:
            return None
        waiting = replace(rollout, build=replace(rollout.build, unlisted_since=since or now))
        return waiting.noting(now, "waiting", "the run has ended and does not list its output yet")

    def _unproven(self, run: Run, app: App, registry: RegistryRule, image: BuiltImage) -> str:
        """Why an image may not be the run's own; "" if the rule accepts its tag, pushed during the run, as proof."""
        problem = f"run {run.run_id} of {registry.login_server} does not list {image} ({image.digest}) as its output"
        if app.build.output != "by-tag":
            return f"{problem}: if the task pushes with docker push or buildx, set `build: {{output: by-tag}}`"
        newest = self._services.registry.newest_tags(registry, app.build.repository, _NEWEST_TAGS)
        pushed = next((push for push in newest if (push.tag, push.digest) == (image.tag, image.digest)), None)
        if pushed and run.started_at and run.finished_at and run.started_at <= pushed.pushed_at <= run.finished_at:
            return ""
        return f"{problem}, and its tag was not last updated while it ran"

    def _begun(self, step: Step[Rollout], app: App, run_id: str, what: str, why: str) -> Rollout:
        server = self._registry(app).login_server

        def remember(record: AppRecord) -> AppRecord:
            runs = (*record.runs, f"{server}/{run_id}")[-_REMEMBERED_RUNS:]
            return replace(record, runs=runs)

        build = replace(step.record.build, registry=server, run_id=run_id)
        begun = replace(step.record, build=build).noting(self._services.clock.now(), what, why)
        step.also_change(AppRecord(app=app.name), remember)
        return begun

    def _canceled(self, rollout: Rollout, reason: str) -> Rollout:
        return rollout.ended(self._services.clock.now(), RolloutState.CANCELED, reason)

    def _registry(self, app: App) -> RegistryRule:
        return self._services.registry_rule(app.build.registry)


def _outputs(run: Run, app: App, registry: RegistryRule) -> dict[str, Digest]:
    """The outputs that a run lists in the app's repository, by tag."""
    place = (registry.login_server, app.build.repository)
    return {image.tag: image.digest for image in run.outputs if (image.login_server, image.repository) == place}


def _mark(rollout: Rollout) -> str:
    """The mark of a build's run: unique to this build of this rollout."""
    return f"basegate/{rollout.app}/{rollout.name}/{rollout.build.times}/{rollout.build.nonce}"
