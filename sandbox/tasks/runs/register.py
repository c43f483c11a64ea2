"""The register of runs: their ids, their states, and how many of them are stored."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sandbox.store import Collection
from sandbox.tasks.outcome import ImageReference
from sandbox.tasks.records import ImageDescriptor, RunRecord, timestamp
from sandbox.tasks.runs.order import Order
from sandbox.web import Fault

_KEPT_PER_REGISTRY = 1000


class RunRegister:
    """Stores runs in a file.

    Ids are a prefix of two letters and a number: `ca1`, `ca2`, … in one registry, `cb1`, `cb2`, … in the next, so
    that no two registries have a run with the same id.
    """

    def __init__(self, file: Path) -> None:
        self._records = Collection(file, RunRecord)

    def add(self, order: Order) -> RunRecord:
        """Add a new run, queued. If a registry has a thousand, the oldest that have ended are deleted."""
        name, now = order.registry.name, timestamp(datetime.now(UTC))
        self._forget_oldest(name)
        run_id, number = self._next_id(name)
        run = RunRecord(
            id=run_id,
            number=number,
            registry=name,
            registry_id=order.registry.id,
            login_server=order.registry.login_server,
            status="Queued",
            type=order.type,
            created=now,
            updated=now,
            platform=order.platform,
            agent=order.agent,
            task=order.task,
            cause=order.cause,
            work=order.work,
            archived=order.archived,
            update_trigger_token=order.update_trigger_token,
        )
        return self._records.put(run.key, run)

    def get(self, registry: str, run_id: str) -> RunRecord:
        """Get a run.

        Raises:
            Fault: 404 if the registry has no run with that id.
        """
        run = self._records.get(f"{registry}/{run_id}")
        if run is None:
            raise Fault(404, "RunNotFound", f"The registry '{registry}' has no run '{run_id}'.")
        return run

    def all(self) -> list[RunRecord]:
        """The runs of every registry, oldest first."""
        return list(self._records.values())

    def newest_first(self, registry: str) -> list[RunRecord]:
        """The runs of a registry, newest first."""
        return sorted(self._records.values(f"{registry}/"), key=lambda run: run.number, reverse=True)

    def registries(self) -> dict[str, str]:
        """The names and ARM ids of the registries that have runs."""
        return {run.registry: run.registry_id for run in self._records.values()}

    def change(self, key: str, **changes: Any) -> RunRecord:
        """Update fields of a run."""
        run = self._records.get(key)
        assert run is not None
        return self._records.put(key, replace(run, updated=timestamp(datetime.now(UTC)), **changes))

    def finish(self, key: str, status: str, error: str, images: tuple[ImageReference, ...] = ()) -> RunRecord:
        """Record the outcome of a run, and delete its work."""
        return self.change(
            key,
            status=status,
            finished=timestamp(datetime.now(UTC)),
            error=error or None,
            output_images=[_descriptor(image) for image in images],
            work=None,
        )

    def remove(self, key: str) -> None:
        """Delete a run."""
        self._records.remove(key)

    def _next_id(self, registry: str) -> tuple[str, int]:
        runs = self.newest_first(registry)
        if runs:
            prefix, number = _prefix(runs[0]), runs[0].number + 1
        else:
            taken = {_prefix(run) for run in self._records.values()}
            prefix, number = next(name for name in _prefixes() if name not in taken), 1
        return f"{prefix}{number}", number

    def _forget_oldest(self, registry: str) -> None:
        for run in self.newest_first(registry)[_KEPT_PER_REGISTRY - 1 :]:
            if run.ended:
                self._records.remove(run.key)


def _prefix(run: RunRecord) -> str:
    return run.id.rstrip(string.digits)


def _prefixes() -> Iterator[str]:
    return ("".join(pair) for pair in itertools.product("cdefghij", string.ascii_lowercase))


def _descriptor(image: ImageReference) -> ImageDescriptor:
    return ImageDescriptor(
        registry=image.registry, repository=image.repository, tag=image.tag or None, digest=image.digest or None
    )
