"""The operations on apps: rebuild, redeploy an image, roll back, cancel a rollout."""

import hashlib

from shared.domain.decide import is_waiting
from shared.domain.errors import NotFound, Refused
from shared.domain.policy import App
from shared.domain.retention import KEPT
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout, RolloutState
from shared.operations import Plan, Who
from shared.ports import Services, Stored, read
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup
from shared.reconcile.begin import Done, Effect, cancel, save


class AppOperations:
    """The operations on apps."""

    def __init__(self, services: Services) -> None:
        self._services, self._lookup, self._vetoes = services, Lookup(services), Vetoes(services)

    def roll_out(self, app_name: str, image: str | None, who: Who) -> Plan:
        """Build an app again and deploy it, or deploy an image that was built before. Raises as these do."""
        return self.rebuild(app_name, who) if image is None else self.redeploy(app_name, image, who)

    def rebuild(self, app_name: str, who: Who) -> Plan:
        """Build an app again on its current base, and deploy it.

        Raises:
            Refused: its base is vetoed.
        """
        app = self._lookup.app(app_name)
        if repeated := self._repeated(app, "rebuild", who):
            return repeated
        record = read(self._services.ledger, AppRecord(app=app.name))
        if vetoed := self._vetoes.against_base(record.base):
            raise Refused(f"app {app.name} is not rebuilt: {vetoed}")
        effects = [Effect("build", f"{app.name} on {record.base or 'its own base'}")]
        if app.deploy:
            effects.append(Effect("redeploy", f"{app.deploy.name}, now {record.live}"))
        return self._plan(record, "rebuild", who, tuple(effects), base=record.base)

    def redeploy(self, app_name: str, image_text: object, who: Who) -> Plan:
        """Deploy an image of an earlier rollout, by its tag or its digest.

        Raises:
            Malformed: it is neither a tag nor a digest.
            NotFound: no recent rollout of this app had the image, or the registry does not have it any more.
            Refused: the app is not deployed by Basegate, or the image is built on a vetoed base.
        """
        app = self._deployed(app_name)
        if repeated := self._repeated(app, "redeploy", who):
            return repeated
        image = self._lookup.built(app, image_text)
        if vetoed := self._vetoes.against_image(app, image):
            raise Refused(f"{image} is not deployed: {vetoed}")
        return self._named(app, "redeploy", who, image)

    def roll_back(self, app_name: str, who: Who) -> Plan:
        """Deploy the last image that was live before the current one, and is not built on a vetoed base.

        Raises:
            NotFound: there is none. Refused: the app is not deployed by Basegate.
        """
        app = self._deployed(app_name)
        if repeated := self._repeated(app, "rollback", who):
            return repeated
        record = read(self._services.ledger, AppRecord(app=app.name))
        others = (image for image in record.good if image != record.live)
        earlier = next((image for image in others if not self._vetoes.against_image(app, image)), None)
        if earlier is None:
            raise NotFound(f"app {app.name} has no earlier live image")
        return self._named(app, "rollback", who, earlier)

    def cancel(self, identifier: str, who: Who) -> Plan:
        """Cancel a rollout that is building, or waiting for its turn to be deployed.

        Raises:
            Refused: it is settled, or has started to deploy.
        """
        stored = self._lookup.rollout(identifier)
        record = stored.record
        if not is_waiting(record) or record.deploy.claimed_at is not None:
            raise Refused(f"{identifier} is {record.state}: a rollout can be canceled only before it starts to deploy")
        return Plan((Effect("cancel", identifier),), lambda: self._cancel(stored, who))

    def _deployed(self, app_name: str) -> App:
        app = self._lookup.app(app_name)
        if app.deploy is None:
            raise Refused(f"app {app.name} has no `deploy` in the rules: it is built and not deployed")
        return app

    def _named(self, app: App, verb: str, who: Who, image: BuiltImage) -> Plan:
        """The plan of deploying an image of an earlier rollout."""
        record = read(self._services.ledger, AppRecord(app=app.name))
        effects = (Effect("deploy", f"{image} in place of {record.live}"),)
        return self._plan(record, verb, who, effects, image=image, base=image.base, goes_back=verb == "rollback")

    def _plan(self, record: AppRecord, verb: str, who: Who, effects: tuple[Effect, ...], **parts: object) -> Plan:
        now = self._services.clock.now()
        name = _name(verb, who) or f"{verb}-{now:%Y%m%dT%H%M%S%f}"
        rollout = record.new_rollout(name, Cause.OPERATOR, now, f"requested by {who}", **parts)
        return Plan(effects, lambda: save(self._services, rollout))

    def _repeated(self, app: App, verb: str, who: Who) -> Plan | None:
        """The plan of a repeated call with the same key: the rollout exists, and continues. None for a new call.

        Raises:
            Refused: the key has expired.
        """
        stored = self._services.ledger.load(Rollout, app.name, _name(verb, who)) if who.key else None
        if stored is None:
            return None
        if stored.record.created_at + KEPT < self._services.clock.now():
            raise Refused("this Idempotency-Key was used more than a week ago: use a new key")
        effects = (Effect("continue", f"{stored.record.id}, {stored.record.state_name}"),)
        return Plan(effects, lambda: save(self._services, stored.record))

    def _cancel(self, stored: Stored[Rollout], who: Who) -> Done:
        build, done = stored.record.build, cancel(self._services, stored, RolloutState.CANCELED, who)
        registry = self._services.policy.registry_at(build.registry)
        if registry is not None and build.run_id:
            self._services.tasks.cancel(registry, build.run_id)
        return done


def _name(verb: str, who: Who) -> str:
    """The name of the rollout of a call with an idempotency key: a repeat has the same name. "" without a key."""
    return f"{verb}-{hashlib.sha256(who.key.encode()).hexdigest()[:24]}" if who.key else ""
