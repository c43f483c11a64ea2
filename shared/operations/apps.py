"""Roll out, roll out a given image, roll back, cancel a rollout."""

import hashlib

from shared.domain.decide import is_waiting
from shared.domain.effect import Effect
from shared.domain.errors import NotFound, Refused
from shared.domain.policy import App
from shared.domain.retention import KEPT
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout, RolloutState
from shared.operations.plan import Plan, Who
from shared.ports import Services, Stored, read
from shared.promotion.vetoes import Vetoes
from shared.queries.lookup import Lookup
from shared.reconcile.begin import Done, cancel, save


class AppOperations:
    """What an operator does with apps."""

    def __init__(self, services: Services) -> None:
        self._services, self._find = services, Lookup(services)
        self._vetoes = Vetoes(services)

    def rebuild(self, app_name: str, who: Who) -> Plan:
        """Build an app again on the current base, and deploy it.

        Raises:
            Refused: its base is vetoed.
        """
        app = self._find.app(app_name)
        if repeated := self._repeated(app, "rebuild", who):
            return repeated
        record = read(self._services.ledger, AppRecord(app=app.name))
        if vetoed := self._vetoes.against_base(record.base):
            raise Refused(f"app {app.name} is not rebuilt: {vetoed}")
        effects = [Effect("build", f"{app.name} on {record.base or 'its own base'}")]
        if app.deploy:
            effects.append(Effect("redeploy", f"{app.deploy.aci}, now {record.live}"))
        return self._plan(record, "rebuild", who, tuple(effects), base=record.base)

    def redeploy(self, app_name: str, image_text: object, who: Who) -> Plan:
        """Deploy an image of the app that was built before, by its tag or its digest.

        Raises:
            Malformed, NotFound: that names no image, or none that was built for this app and still is what was built.
            Refused: the app is not deployed by Basegate, or the image stands on a base that is vetoed.
        """
        app = self._deployed(app_name)
        if repeated := self._repeated(app, "redeploy", who):
            return repeated
        image = self._find.built(app, image_text)
        if vetoed := self._vetoes.against_image(app, image):
            raise Refused(f"{image} is not deployed: {vetoed}")
        return self._named(app, "redeploy", who, image)

    def roll_back(self, app_name: str, who: Who) -> Plan:
        """Deploy what was live before the current deployment, and stands on no vetoed base.

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
            raise NotFound(f"app {app.name} has no earlier image that was live")
        return self._named(app, "rollback", who, earlier)

    def cancel(self, identifier: str, who: Who) -> Plan:
        """Stop a rollout that is being built, or waits for the container group.

        Raises:
            Refused: it is settled, or on the container group already.
        """
        stored = self._find.rollout(identifier)
        record = stored.record
        if not is_waiting(record) or record.deploy.claimed_at is not None:
            raise Refused(f"{identifier} is {record.state}: only one that has not begun to deploy can be canceled")
        return Plan((Effect("cancel", identifier),), lambda: self._cancel(stored, who))

    def _deployed(self, app_name: str) -> App:
        app = self._find.app(app_name)
        if app.deploy is None:
            raise Refused(f"app {app.name} is built and not deployed")
        return app

    def _named(self, app: App, verb: str, who: Who, image: BuiltImage) -> Plan:
        """The plan of deploying an image that was built before."""
        record = read(self._services.ledger, AppRecord(app=app.name))
        effects = (Effect("deploy", f"{image} in place of {record.live}"),)
        return self._plan(record, verb, who, effects, image=image, base=image.base, goes_back=verb == "rollback")

    def _plan(self, record: AppRecord, verb: str, who: Who, effects: tuple[Effect, ...], **parts: object) -> Plan:
        now = self._services.clock.now()
        name = _name(verb, who) or f"{verb}-{now:%Y%m%dT%H%M%S%f}"
        rollout = record.new_rollout(name, Cause.OPERATOR, now, f"asked for by {who}", **parts)
        return Plan(effects, lambda: save(self._services, rollout))

    def _repeated(self, app: App, verb: str, who: Who) -> Plan | None:
        """The plan of a call that was made before with the same key: what it began is there, and goes on.

        Raises:
            Refused: the key is an old one.
        """
        stored = self._services.ledger.load(Rollout, app.name, _name(verb, who)) if who.key else None
        if stored is None:
            return None
        if stored.record.created_at + KEPT < self._services.clock.now():
            raise Refused("this Idempotency-Key was used more than a week ago: take a new one")
        effects = (Effect("go on with", f"{stored.record.id}, {stored.record.state_name}"),)
        return Plan(effects, lambda: save(self._services, stored.record))

    def _cancel(self, stored: Stored[Rollout], who: Who) -> Done:
        build, done = stored.record.build, cancel(self._services, stored, RolloutState.CANCELED, who)
        registry = self._services.policy.registry_at(build.registry)
        if registry is not None and build.run_id:
            self._services.tasks.cancel(registry, build.run_id)
        return done


def _name(verb: str, who: Who) -> str:
    """The name of a rollout that is begun once for each key, "" where there is none."""
    return f"{verb}-{hashlib.sha256(who.key.encode()).hexdigest()[:24]}" if who.key else ""
