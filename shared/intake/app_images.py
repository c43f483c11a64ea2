"""Images of apps that somebody else built: a commit-triggered task, say."""

import logging

from shared.domain.event import Hint
from shared.domain.image import Digest, short
from shared.domain.policy import App
from shared.domain.record import WorkItem
from shared.domain.rollout import AppRecord, BuiltImage, Cause, Rollout
from shared.ports import Services, read

log = logging.getLogger(__name__)


class AppImages:
    """Takes in the images of apps. Which run built one, and so whether it is deployed, is its rollout's to find out."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def handle(self, hint: Hint) -> list[WorkItem]:
        """Read the tag that a hint is about; the rollout of the image that is there, where there is anything to do."""
        app = self._services.app(hint.subject)
        if app is None or not self.takes(app, hint.tag, read(self._services.ledger, AppRecord(app=app.name))):
            return []
        registry = self._services.registry_rule(app.build.registry)
        digest = self._services.registry.digest_of(registry, app.build.repository, hint.tag)
        if digest is None:
            log.info("hint dropped: there is no %s/%s:%s", registry.login_server, app.build.repository, hint.tag)
            return []
        rollout = self.take_in(app, hint.tag, digest, "pushed by someone else")
        return [rollout.work_item] if rollout else []

    def takes(self, app: App, tag: str, record: AppRecord) -> bool:
        """Whether a tag may be of an image to deploy: it names a run, and none that Basegate started."""
        run_id, server = app.build.run_of(tag), self._services.registry_rule(app.build.registry).login_server
        return app.deploy is not None and run_id is not None and f"{server}/{run_id}" not in record.runs

    def is_known(self, app: App, tag: str, digest: Digest) -> bool:
        """Whether an image has its rollout already."""
        return self._services.ledger.load(Rollout, app.name, _name(tag, digest)) is not None

    def take_in(self, app: App, tag: str, digest: Digest, why: str) -> Rollout | None:
        """The rollout of an image, one however often it is found; None where it is under way or settled already."""
        now, registry = self._services.clock.now(), self._services.registry_rule(app.build.registry)
        server, repository = registry.login_server, app.build.repository
        image = BuiltImage(login_server=server, repository=repository, tag=tag, digest=digest, built_at=now)
        why, record = f"{image} ({digest}) was {why}", read(self._services.ledger, AppRecord(app=app.name))
        rollout = record.new_rollout(_name(tag, digest), Cause.IMAGE, now, why, image=image)
        if self._services.ledger.insert(rollout) is not None:
            return rollout
        known = self._services.ledger.load(Rollout, app.name, rollout.name)
        left = known is not None and not known.record.settled and known.record.next_step_at is None
        return known.record if known is not None and left else None


def _name(tag: str, digest: Digest) -> str:
    return f"image-{short(digest)}-{tag}"
