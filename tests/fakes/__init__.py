"""One hand-written fake a port, and a world that puts them together.

A world plays the queue: `settle()` delivers hints and work items in the order they become visible, moving the clock
on, until nothing is queued but what is stalled or far off. Time costs nothing here.

    world = World()
    world.push("15-alpine", GOOD)
    world.settle()
    assert world.stable_tag() == GOOD
"""

from tests.fakes.clock import START, FakeClock
from tests.fakes.containers import FakeContainers, FakeProbe
from tests.fakes.registries import FakeRegistry, FakeSecrets, FakeSubscriptions, FakeTags
from tests.fakes.rules import SUBSCRIPTION, digest, registry_rule, sample_policy
from tests.fakes.storage import FakeArchive, FakeLedger, FakeQueue
from tests.fakes.tasks import FakeRun, FakeTasks
from tests.fakes.world import FakeAnnouncer, ProcessDied, World

__all__ = [
    "START",
    "SUBSCRIPTION",
    "FakeAnnouncer",
    "FakeArchive",
    "FakeClock",
    "FakeContainers",
    "FakeLedger",
    "FakeProbe",
    "FakeQueue",
    "FakeRegistry",
    "FakeRun",
    "FakeSecrets",
    "FakeSubscriptions",
    "FakeTags",
    "FakeTasks",
    "ProcessDied",
    "World",
    "digest",
    "registry_rule",
    "sample_policy",
]
