"""Container groups and their health probe."""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.domain.policy import DeployRule, RegistryRule
from shared.domain.rollout import BuiltImage
from shared.ports import DeploymentState
from tests.fakes.clock import FakeClock


class FakeContainers:
    """One container group per name: `groups` has the image of each, and since when it runs.

    It runs `seconds` after it was put. `puts` are the images that were put, by their readable names; `crashing` and
    `failed` have images by the name in the group, or by their readable names.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.groups: dict[str, tuple[str, datetime]] = {}
        self.puts: list[str] = []
        self.seconds = 1.0
        self.faults: list[Exception] = []
        self.deleted: list[str] = []
        self.crashing: set[str] = set()
        self.failed: set[str] = set()
        self._names: dict[str, set[str]] = {}

    def put(self, rule: DeployRule, image: BuiltImage, registry: RegistryRule) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.puts.append(str(image))
        self._names.setdefault(image.reference, {image.reference}).add(str(image))
        self.groups[rule.name] = (image.reference, self._clock.now() + timedelta(seconds=self.seconds))

    def get(self, rule: DeployRule) -> DeploymentState | None:
        found = self.groups.get(rule.name)
        if found is None:
            return None
        image, runs_at = found
        running = self._clock.now() >= runs_at
        restarts = 5 if self.names(image) & self.crashing else 0
        address = "10.0.0.4:80" if running else ""
        failed = bool(self.names(image) & self.failed)
        return DeploymentState(image=image, running=running, failed=failed, restarts=restarts, address=address)

    def delete(self, rule: DeployRule) -> None:
        self.deleted.append(rule.name)
        self.groups.pop(rule.name, None)

    def names(self, image: str) -> set[str]:
        """The names of an image of a group: by digest, and by every tag it was put under."""
        return self._names.get(image, {image})

    def runs_for(self, image: str) -> float:
        """The seconds since an image of a group began to run."""
        return (self._clock.now() - next(at for shown, at in self.groups.values() if shown == image)).total_seconds()


class FakeProbe:
    """Everything is healthy `seconds` after it began to run, except what is in `sick`."""

    def __init__(self, containers: FakeContainers) -> None:
        self._containers = containers
        self.seconds = 0.0
        self.sick: dict[str, str] = {}

    def check(self, address: str, path: str) -> str | None:
        image = next(iter(self._containers.groups.values()))[0]
        if self._containers.runs_for(image) < self.seconds:
            return f"http://{address}{path} refuses connections"
        names = self._containers.names(image)
        return next((problem for needle, problem in self.sick.items() if any(needle in name for name in names)), None)
