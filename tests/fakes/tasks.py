"""Registry tasks and their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from shared.domain.image import Digest
from shared.domain.policy import RegistryRule
from shared.ports import OutputImage, Run, RunStatus
from tests.fakes.clock import FakeClock
from tests.fakes.registries import FakeRegistry
from tests.fakes.rules import digest


@dataclass
class FakeRun:
    """One run, and when and how it ends. `image` is the digest that it pushed, known once it has ended."""

    registry: str
    run_id: str
    task: str
    values: dict[str, str]
    token: str
    started_at: datetime
    ends_at: datetime
    status: RunStatus
    log: str
    cancelled: bool = False
    image: Digest | None = None


class FakeTasks:
    """Runs that take `seconds` and end as in `failing` and `broken`; builds push the image they are named after.

    Each registry has its own counter of runs, with the prefix of `prefixes`: with the same prefix, two have equal run
    ids. A run is stored by its id, or by `<registry>/<id>` if another registry has that id already. `others` are runs
    of the app's task that others started, with their start: they pushed what is under their tag when they are first
    read. With `unlisted`, no run lists the images it pushed: they used `docker push`.
    """

    def __init__(self, clock: FakeClock, registry: FakeRegistry) -> None:
        self._clock, self._registry = clock, registry
        self.runs: dict[str, FakeRun] = {}
        self.others: dict[str, datetime] = {}
        self.prefixes: dict[str, str] = {}
        self.seconds = 3.0
        self.unlisted = False
        self.failing: dict[str, str] = {}
        self.broken: set[str] = set()
        self.log_fault: Exception | None = None
        self.start_fault: Exception | None = None
        self.log_of: Callable[[FakeRun], str] = lambda run: run.log
        self.start_faults: dict[str, Exception] = {}
        self.get_faults: dict[str, Exception] = {}
        self._counts: dict[str, int] = {}
        self._others_images: dict[str, Digest] = {}

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        if fault := self.start_faults.get(task, self.start_fault):
            raise fault
        self._counts[registry.name] = count = self._counts.get(registry.name, 0) + 1
        run_id = f"{self.prefixes.get(registry.name, 'c' + registry.name[0])}{count}"
        image = values.get("IMAGE", "")
        problem = next((log for needle, log in self.failing.items() if needle in image or needle == task), None)
        status = RunStatus.FAILED if problem else RunStatus.SUCCEEDED
        if any(needle in image or needle == task for needle in self.broken):
            status = RunStatus.BROKEN
        now = self._clock.now()
        ends_at = now + timedelta(seconds=self.seconds)
        log = problem or f"Run ID: {run_id} was successful"
        run = FakeRun(registry.name, run_id, task, dict(values), token, now, ends_at, status, log)
        self.runs[f"{registry.name}/{run_id}" if run_id in self.runs else run_id] = run
        return run_id

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        return next((run_id for run_id, mark in self.marked(registry, task, since) if mark == token), None)

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        early = since - timedelta(seconds=30)  # clocks may differ
        for run in reversed(list(self.runs.values())):
            if (run.registry, run.task) == (registry.name, task) and run.started_at >= early:
                yield run.run_id, run.token

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        run = self._run(registry, run_id)
        if run is None:
            return self._get_other(registry, run_id)
        if fault := self.get_faults.get(run.task):
            raise fault
        going = Run(
            run_id=run_id,
            status=RunStatus.RUNNING,
            task=run.task,
            mark=run.token,
            created_at=run.started_at,
            started_at=run.started_at,
        )
        if self._clock.now() < run.ends_at:
            return going
        self._push(run)
        outputs = self._outputs(registry, run.task, run_id, run.image)
        return msgspec.structs.replace(
            going, status=run.status, detail=run.status.value, finished_at=run.ends_at, outputs=outputs
        )

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        if self.log_fault:
            raise self.log_fault
        run = self._run(registry, run_id)
        assert run, f"{registry.name} has no run {run_id}"
        return self.log_of(run)

    def raw_log(self, registry: RegistryRule, run_id: str) -> Iterator[bytes]:
        yield self.log(registry, run_id, 0).encode()

    def check(self, registry: RegistryRule, task: str) -> None:
        if self.start_fault:
            raise self.start_fault

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        run = self._run(registry, run_id)
        if run is not None and self._clock.now() < run.ends_at:
            run.cancelled, run.ends_at, run.status = True, self._clock.now(), RunStatus.BROKEN

    def pushed_by(self, run_id: str) -> Digest:
        """The digest of the app's image that a run pushes, unless another image was pushed under its tag first."""
        return digest(f"app {run_id}")

    def _run(self, registry: RegistryRule, run_id: str) -> FakeRun | None:
        found = (self.runs.get(key) for key in (f"{registry.name}/{run_id}", run_id))
        return next((run for run in found if run is not None and run.registry == registry.name), None)

    def _push(self, run: FakeRun) -> None:
        """Push the image of a build at its end: Basegate's builds overwrite the tag, others' may have pushed before."""
        if run.image is not None or run.status is not RunStatus.SUCCEEDED or run.registry != "team":
            return
        place = (run.registry, f"{run.task}:{run.run_id}")
        there = None if run.token.startswith("basegate/") else self._registry.tags.get(place)
        run.image = there or self.pushed_by(run.run_id)
        if there is None:
            self._registry.tags[place] = run.image
            self._registry.pushed[place] = run.ends_at

    def _get_other(self, registry: RegistryRule, run_id: str) -> Run | None:
        at = self.others.get(run_id)
        if at is None or registry.name != "team":
            return None
        there = self._registry.tags.get((registry.name, f"hello-world:{run_id}"))
        if there is not None:
            self._others_images.setdefault(run_id, there)
        return Run(
            run_id=run_id,
            status=RunStatus.SUCCEEDED,
            task="hello-world",
            created_at=at,
            started_at=at,
            finished_at=at,
            outputs=self._outputs(registry, "hello-world", run_id, self._others_images.get(run_id)),
        )

    def _outputs(
        self, registry: RegistryRule, repository: str, run_id: str, image: Digest | None
    ) -> tuple[OutputImage, ...]:
        if image is None or self.unlisted:
            return ()
        return (OutputImage(registry.login_server, repository, run_id, image),)
