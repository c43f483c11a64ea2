"""Roll out, roll out a given image, roll back, cancel a rollout."""

from __future__ import annotations

import msgspec

from shared.domain.errors import NotThere, Refused
from shared.domain.policy import App
from shared.domain.rollout import AppRecord, BuildRecord, BuiltImage, Cause, Rollout, RolloutState
from shared.ports import Stored
from shared.workflow.dependents import AppRecords
from shared.workflow.find import Find, rollout_id
from shared.workflow.plan import Effect, Plan, Who
from shared.workflow.services import Services
from shared.workflow.writing import insert, save


class AppVerbs:
    """What an operator does with apps."""

    def __init__(self, services: Services) -> None:
        self._services, self._find, self._records = services, Find(services), AppRecords(services)

    def rebuild(self, app_name: str, who: Who) -> Plan:
        """Build an app again on the current base, and deploy it."""
        app = self._find.app(app_name)
        record = self._records.load(app.name).record
        rollout = self._new(app, "rebuild", who, base=record.base, base_moved_at=record.base_moved_at)
        effects = (Effect("build", f"{app.name} on {record.base or 'its own base'}"), *self._deployment(app, record))
        return Plan(effects, lambda: self._insert(rollout))

    def redeploy(self, app_name: str, image_text: object, who: Who) -> Plan:
        """Deploy an image of the app that was built before, by its tag or its digest.

        Raises:
            Malformed, NotThere: that names no image, or none that was built for this app and still is what was built.
            Refused: the app is not deployed by Basegate, or the image stands on a base that is vetoed.
        """
        app = self._find.app(app_name)
        if app.deploy is None:
            raise Refused(f"app {app.name} is built and not deployed")
        source = self._find.built(app, image_text)
        image = source.image
        assert image is not None  # what was found has an image
        veto = self._find.veto_of_base(app, image)
        if veto is not None:
            raise Refused(f"{image} stands on {veto.digest}, vetoed by {veto.actor}: {veto.reason}")
        built = BuildRecord(traced=True, started_at=self._services.clock.now())
        parts = {"image": image, "build": built, "state": RolloutState.DEPLOYING}
        rollout = self._new(app, "redeploy", who, **parts)
        live = self._records.load(app.name).record.live
        return Plan((Effect("deploy", f"{image} in place of {live}"),), lambda: self._insert(rollout))

    def roll_back(self, app_name: str, who: Who) -> Plan:
        """Deploy the image that was live before the one that is, and stands on no vetoed base.

        Raises:
            NotThere: there is none. Refused: the app is not deployed by Basegate.
        """
        app = self._find.app(app_name)
        if app.deploy is None:
            raise Refused(f"app {app.name} is built and not deployed")
        record = self._records.load(app.name).record
        earlier = self._before(app, record)
        if earlier is None:
            raise NotThere(f"app {app.name} has no earlier image that was live")
        built = BuildRecord(traced=True, started_at=self._services.clock.now())
        rollout = self._new(app, "rollback", who, image=earlier, build=built, state=RolloutState.DEPLOYING)
        effects = (Effect("deploy", f"{earlier} in place of {record.live}"),)
        return Plan(effects, lambda: self._insert(rollout))

    def cancel(self, identifier: str, who: Who) -> Plan:
        """Stop a rollout that is still being built.

        Raises:
            Refused: it is finished, or on the container group already.
        """
        stored = self._find.rollout(identifier)
        if stored.record.state is not RolloutState.BUILDING:
            raise Refused(f"{identifier} is {stored.record.state}: only one that is being built can be canceled")
        return Plan((Effect("cancel", identifier),), lambda: self._cancel(stored, who))

    def _new(self, app: App, verb: str, who: Who, **parts: object) -> Rollout:
        now = self._services.clock.now()
        fields: dict[str, object] = {"state": RolloutState.BUILDING, **parts}
        rollout = Rollout(
            app=app.name,
            name=f"{verb}-{now:%Y%m%dT%H%M%S%f}",
            cause=Cause.OPERATOR,
            created_at=now,
            **fields,  # type: ignore[arg-type]
        )
        return rollout.noting(now, "started", f"asked for by {who}")

    def _deployment(self, app: App, record: AppRecord) -> tuple[Effect, ...]:
        return (Effect("redeploy", f"{app.deploy.container_group}, now {record.live}"),) if app.deploy else ()

    def _before(self, app: App, record: AppRecord) -> BuiltImage | None:
        live = [r.record for r in self._services.ledger.list(Rollout, app.name) if r.record.state is RolloutState.LIVE]
        others = (r for r in live if r.image is not None and r.image != record.live)
        newest_first = sorted(others, key=lambda rollout: rollout.created_at, reverse=True)
        images = (rollout.image for rollout in newest_first if rollout.image is not None)
        return next((image for image in images if self._find.veto_of_base(app, image) is None), None)

    def _insert(self, rollout: Rollout) -> str:
        insert(self._services, rollout)
        return f"rollouts/{rollout_id(rollout)}"

    def _cancel(self, stored: Stored[Rollout], who: Who) -> str:
        record = stored.record
        canceled = msgspec.structs.replace(record, state=RolloutState.CANCELED, reason=f"canceled by {who}").noting(
            self._services.clock.now(), "canceled", str(who)
        )
        save(self._services, stored, canceled)
        app = self._services.app(record.app)
        if app is not None and record.build.run_id:
            self._services.tasks.cancel(self._services.registry_rule(app.build.registry), record.build.run_id)
        return f"rollouts/{rollout_id(record)}"
