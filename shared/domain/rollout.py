"""A rollout: one rebuild and redeployment of an app, with its reason."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

import msgspec

from shared.domain.candidate import Evidence
from shared.domain.image import Digest, ImageRef, short
from shared.domain.record import Record, RecordSummary, Row, list_item

_REMEMBERED_DEPLOYMENTS = 20
"""How many deployments an app can be rolled back."""


class RolloutState(StrEnum):
    """The states of a rollout. Those from `live` on are final."""

    BUILDING = "building"
    DEPLOYING = "deploying"
    VERIFYING = "verifying"
    RESTORING = "restoring"
    LIVE = "live"
    BUILT = "built"
    RESTORED = "restored"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELED = "canceled"
    RULE_REMOVED = "rule removed"


FINAL_STATES = frozenset(tuple(RolloutState)[4:])


class Cause(StrEnum):
    """Why an app is rolled out."""

    BASE = "base"
    """Its base image was promoted."""

    IMAGE = "image"
    """Someone else pushed a new image of it, e.g. a commit-triggered task."""

    OPERATOR = "operator"
    """An operator asked for it."""

    DRIFT = "drift"
    """The sweep found that what is deployed is not the last good image."""


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A build of the app's image by Basegate.

    `nonce` is the random part of its run's mark, `registry` the login server where the run is, `times` how often a
    build was started, `created_at` when the registry created the run, `unlisted_since` when the run was first found to
    have succeeded without listing its image.
    """

    claimed_at: datetime | None = None
    nonce: str = ""
    registry: str = ""
    run_id: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    unlisted_since: datetime | None = None
    times: int = 0
    evidence: Evidence = Evidence()

    def claimed(self, now: datetime, nonce: str) -> "BuildRecord":
        """The build after a worker has claimed its next run: it keeps only the count from the last one."""
        return BuildRecord(claimed_at=now, nonce=nonce, times=self.times + 1)


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """An app image: deployed by its digest, shown by its tag.

    `run_id` is the run of the app's task, in the registry that has the image, that has verifiably built it ("": not
    known yet); `built_at` is when the registry created that run, and orders the images of an app. `base` is the image
    it was built on, None if unknown.
    """

    login_server: str
    repository: str
    tag: str
    digest: Digest
    built_at: datetime
    run_id: str = ""
    base: ImageRef | None = None

    def __str__(self) -> str:
        return f"{self.login_server}/{self.repository}:{self.tag}"

    @property
    def reference(self) -> str:
        """The reference to deploy: by digest, wherever the tag points by now."""
        return f"{self.login_server}/{self.repository}@{self.digest}"


class DeployRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment: when it was claimed, when the definition was put, since when its container runs, what was seen.

    `deleted_at` is set if it had to be deleted to be created again, `image` if it puts an earlier image back.
    """

    claimed_at: datetime | None = None
    put_at: datetime | None = None
    deleted_at: datetime | None = None
    running_at: datetime | None = None
    image: BuiltImage | None = None
    address: str = ""
    seen: str = ""

    @property
    def touched(self) -> bool:
        """Whether it has changed the deployment."""
        return self.put_at is not None or self.deleted_at is not None


class RolloutSummary(RecordSummary, frozen=True, kw_only=True):
    """A rollout as a list item."""

    app: str
    cause: Cause
    image: str | None
    base: str | None


class Rollout(Record, frozen=True, kw_only=True):
    """The record of one rollout of one app.

    `base` is the promoted image it is built on (None for an image that someone else built), `base_move` the move of
    the stable tag to it; `after` is how many deployments of the app had gone live when it began. `goes_back` says that
    it is a rollback.
    """

    item: ClassVar = RolloutSummary

    key_fields = ("app", "name")

    app: str
    name: str
    cause: Cause
    state: RolloutState
    base: ImageRef | None = None
    base_move: int = 0
    after: int = 0
    goes_back: bool = False
    build: BuildRecord = BuildRecord()
    image: BuiltImage | None = None
    deploy: DeployRecord = DeployRecord()
    restore: DeployRecord = DeployRecord()

    @property
    def settled(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL_STATES

    @property
    def deploys_existing_image(self) -> bool:
        """Whether it deploys an existing image, without a build."""
        return self.cause in (Cause.OPERATOR, Cause.DRIFT) and self.image is not None and not self.build.times

    @property
    def known_base(self) -> str:
        """The base of its image, as shown: "" while there is no image."""
        if self.base is not None:
            return str(self.base)
        return "unknown" if self.image is not None else ""

    def summary(self) -> RolloutSummary:
        """The rollout as a list item."""
        image, base = str(self.image) if self.image else None, self.known_base or None
        return list_item(RolloutSummary, self, **self._summarized(), image=image, base=base)


def image_rollout(tag: str, digest: str) -> str:
    """The name of the rollout of an image that someone else built: the same each time the image is found."""
    return f"image-{short(digest)}-{tag}"


class AppRecord(Row, frozen=True, kw_only=True):
    """One app: its live image, the earlier ones, the newest base, and which rollout has the deployment.

    `earlier` are the deployments to roll back to, the last one last; `lives` counts the deployments that went live,
    `decided` is that count when an operator last chose an image, `asked_at` when the last operator's rollout that went
    live was requested, `newest_built_at` the time of the newest build that was ever live.
    `base` is what `base_rollout` is built on: the stable tag `base_tag`, `<gate>:<tag>`, after its move `base_move`;
    `base_changes` counts how often the rules changed the app's base tag. `runs` are the last builds that Basegate
    started, `<login server>/<run id>`: their pushes need no rollout.
    """

    key_fields = ("app", "app")

    app: str
    live: BuiltImage | None = None
    live_since: datetime | None = None
    earlier: tuple[BuiltImage, ...] = ()
    lives: int = 0
    decided: int = 0
    asked_at: datetime | None = None
    newest_built_at: datetime | None = None
    base: ImageRef | None = None
    base_tag: str = ""
    base_move: int = 0
    base_changes: int = 0
    base_rollout: str = ""
    deploying: str = ""
    deploying_until: datetime | None = None
    runs: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """The ledger row: there is one for each app."""
        return "app"

    @property
    def good(self) -> Iterator[BuiltImage]:
        """The images that were live and healthy, the newest first."""
        return (image for image in (self.live, *reversed(self.earlier)) if image is not None)

    def new_rollout(self, name: str, cause: Cause, now: datetime, why: str, **parts: Any) -> Rollout:
        """A rollout of the app that begins now. It builds, unless `parts` has the `image` to deploy."""
        state = RolloutState.DEPLOYING if "image" in parts else RolloutState.BUILDING
        begun = Rollout(app=self.app, name=name, cause=cause, state=state, created_at=now, after=self.lives, **parts)
        return begun.noting(now, "started", why)

    def is_newer(self, built_at: datetime | None) -> bool:
        """Whether a build newer than `built_at` is live, or was."""
        return built_at is not None and self.newest_built_at is not None and self.newest_built_at > built_at

    def released(self, name: str) -> Self:
        """The record after a rollout has released the deployment, if it has it."""
        return msgspec.structs.replace(self, deploying="", deploying_until=None) if self.deploying == name else self

    def with_live(self, image: BuiltImage, now: datetime, *, back: bool = False, by: Rollout | None = None) -> Self:
        """The record after an image has gone live; with `back`, the deployments after its last one are forgotten.

        `by` is the operator's rollout that deployed it, if it was one.
        """
        decided = by is not None and by.deploys_existing_image
        same = self.live is not None and self.live.digest == image.digest
        lives = self.lives if same and not decided else self.lives + 1
        earlier = self.earlier
        if back:
            places = [place for place, one in enumerate(earlier) if one.digest == image.digest]
            earlier = earlier[: places[-1]] if places else earlier
        elif self.live is not None and not same:
            earlier = (*earlier, self.live)[-_REMEMBERED_DEPLOYMENTS:]
        return msgspec.structs.replace(
            self,
            live=image,
            live_since=now,
            earlier=earlier,
            lives=lives,
            decided=lives if decided else self.decided,
            asked_at=by.created_at if by else self.asked_at,
            newest_built_at=max(filter(None, (self.newest_built_at, image.built_at))),
        )
