"""One hand-written fake per port, and a world that combines them.

A world acts as the queue: `settle()` delivers hints and work items in the order they become visible, advancing the
clock, until nothing is queued but what is stalled or due much later. Time is simulated.

    world = World()
    world.push("15-alpine", GOOD)
    world.settle()
    assert world.stable_tag() == GOOD
"""

from tests.fakes.clock import START, FakeClock
from tests.fakes.containers import FakeContainers, FakeProbe
from tests.fakes.registries import FakeReferrers, FakeRegistry, FakeSecrets, FakeSubscriptions, FakeTags
from tests.fakes.rules import SUBSCRIPTION, digest, registry_rule, sample_policy
from tests.fakes.storage import FakeArchive, FakeLedger, FakeQueue
from tests.fakes.tasks import FakeRun, FakeTasks
from tests.fakes.world import FakeAnnouncer, FakeMeter, ProcessDied, World

__all__ = [
    "START",
    "SUBSCRIPTION",
    "FakeAnnouncer",
    "FakeArchive",
    "FakeClock",
    "FakeContainers",
    "FakeLedger",
    "FakeMeter",
    "FakeProbe",
    "FakeQueue",
    "FakeReferrers",
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
