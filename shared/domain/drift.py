"""What is different from the ledger, in the base registry and on a container group. Pure: others have asked."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from shared.domain.image import Digest
from shared.domain.rollout import BuiltImage
from shared.domain.stable_tag import StableTag

RESTART_LIMIT = 3
"""How many restarts of a container count as a loop."""


class TagState(msgspec.Struct, frozen=True):
    """What a tag points at, and whether it is locked against writes and deletes (None: that was not asked for)."""

    digest: Digest
    locked: bool | None = False


class TagDifference(StrEnum):
    """How the tags of a promotion differ from the ledger."""

    STABLE = "stable tag is not the promoted digest"
    UNIQUE_GONE = "unique tag is gone"
    UNIQUE_MOVED = "unique tag is another digest"
    UNIQUE_UNLOCKED = "unique tag is not locked"


def read_tags(
    record: StableTag, stable: Digest | None, unique: TagState | None, *, locks: bool
) -> Iterator[TagDifference]:
    """How a stable tag and the unique tag behind it differ from the record, which may say that it stands on nothing.

    `unique` counts where the record names one; `locks` says whether the gate locks its unique tags.
    """
    if stable != record.digest:
        yield TagDifference.STABLE
    if record.digest is None or not record.unique:
        return
    if unique is None:
        yield TagDifference.UNIQUE_GONE
    elif unique.digest != record.digest:
        yield TagDifference.UNIQUE_MOVED
    elif locks and unique.locked is False:
        yield TagDifference.UNIQUE_UNLOCKED


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A container group as it was found; none where `exists` is false. `problem` is what its health check said."""

    exists: bool
    image: str = ""
    running: bool = False
    failed: bool = False
    stopped: bool = False
    restarts: int = 0
    detail: str = ""
    problem: str = ""


def read_container(live: BuiltImage, seen: Running) -> str:
    """How a container group differs from the last good deployment, as words; "" where it does not."""
    if not seen.exists:
        return "it is gone"
    if seen.image != live.reference:
        return f"it shows {seen.image or 'nothing'}"
    if seen.stopped:
        return "it was stopped"
    if seen.failed:
        return f"it has failed: {seen.detail}" if seen.detail else "it has failed"
    if not seen.running:
        return f"it does not run: {seen.detail}" if seen.detail else "it does not run"
    if seen.restarts >= RESTART_LIMIT:
        return f"it restarts in a loop, {seen.restarts} times so far"
    return f"it is not well: {seen.problem}" if seen.problem else ""
