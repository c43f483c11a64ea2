"""A rollout: one rebuild and redeployment of an app, with its reason."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from shared.domain.candidate import Evidence
from shared.domain.image import Digest, ImageRef
from shared.domain.record import TEXT_LIMIT, Look, Record


class RolloutState(StrEnum):
    """Where a rollout stands. Those from `live` on are final."""

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


FINAL_STATES = frozenset(
    (
        RolloutState.LIVE,
        RolloutState.BUILT,
        RolloutState.RESTORED,
        RolloutState.FAILED,
        RolloutState.SUPERSEDED,
        RolloutState.CANCELED,
    )
)


class Cause(StrEnum):
    """Why an app is rolled out."""

    BASE = "base"
    """The image it stands on was promoted."""

    IMAGE = "image"
    """Someone else pushed a new image of it: a commit-triggered task, say."""

    OPERATOR = "operator"
    """An operator asked for it."""

    DRIFT = "drift"
    """The sweep found that the container group is not the last good deployment."""


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The build of the app's image. `traced` says that the run's times are known (or cannot be known)."""

    claimed_at: datetime | None = None
    run_id: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    times: int = 0
    traced: bool = False
    evidence: Evidence = Evidence()


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """An app image: deployed by its unique tag, known by its digest, dated by the start of its build."""

    login_server: str
    repository: str
    tag: str
    digest: Digest
    built_at: datetime

    def __str__(self) -> str:
        return f"{self.login_server}/{self.repository}:{self.tag}"


class DeployRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment: when the definition was put, since when its container runs, and what was seen of it last.

    `deleted_at` is set where the group had to be deleted to be created anew.
    """

    put_at: datetime | None = None
    deleted_at: datetime | None = None
    running_at: datetime | None = None
    address: str = ""
    seen: str = ""

    @property
    def touched(self) -> bool:
        """Whether the container group is not any more what it was before."""
        return self.put_at is not None or self.deleted_at is not None


class Rollout(Record, frozen=True, kw_only=True):
    """The record of one rollout of one app.

    `base` is the promoted image it is built on (none for an image that someone else built), `base_moved_at`
    when the stable tag came to it.
    """

    app: str
    name: str
    cause: Cause
    state: RolloutState
    base: ImageRef | None = None
    base_moved_at: datetime | None = None
    build: BuildRecord = BuildRecord()
    image: BuiltImage | None = None
    deploy: DeployRecord = DeployRecord()
    restore: DeployRecord = DeployRecord()

    @property
    def partition(self) -> str:
        """The ledger partition: the app."""
        return self.app

    @property
    def row(self) -> str:
        """The ledger row: the rollout's name."""
        return self.name

    @property
    def look(self) -> Look:
        """The message that brings this record up again."""
        return Look("rollout", self.partition, self.row)

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL_STATES

    def summary(self) -> dict[str, Any]:
        """The rollout as it reads in a list."""
        return {
            "id": self.id,
            "app": self.app,
            "cause": self.cause.value,
            "image": str(self.image) if self.image else None,
            "base": str(self.base) if self.base else None,
            "state": self.state.value,
            "reason": self.reason[:TEXT_LIMIT],
            "createdAt": self.created_at.isoformat(),
            **self.last_change(),
        }


class AppRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One app: its last good image, the newest base, and which rollout took the container group last.

    `base_tag` is the gate and the stable tag that `base` stood under, `node:15-alpine` ("": not known).
    `runs` are the last builds that Basegate started: the push of one of them is an echo.
    """

    app: str
    live: BuiltImage | None = None
    live_since: datetime | None = None
    base: ImageRef | None = None
    base_moved_at: datetime | None = None
    base_tag: str = ""
    deploying: str = ""
    deploying_until: datetime | None = None
    runs: tuple[str, ...] = ()

    @property
    def partition(self) -> str:
        """The ledger partition: the app."""
        return self.app

    @property
    def row(self) -> str:
        """The ledger row: there is one an app."""
        return "app"
