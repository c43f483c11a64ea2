"""Worlds for screenshots: a busy hour, a blocked night, an active rollback, drift. Data and clock never change."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.checks.approval import ApprovalCheck
from shared.domain.candidate import Candidate, CandidateSummary
from shared.domain.errors import Cause, Misconfigured, Retry
from shared.domain.policy import App, BaseRule, Gate, Policy, Source
from shared.domain.promotion import Promotion
from shared.domain.stable_tag import HoldUntil
from shared.domain.targets.aci import AciRule
from shared.operations import Who
from tests.fakes import World, digest, sample_policy

MINUTE, HOUR = 60.0, 3600.0
MARA, ADA = "mara (by key)", "ada (by key)"
RED_LOG = """Step 3/4 : RUN sh /test.sh
BACKGROUND_COLOR is Red
ERROR: Invalid Color: Red
The command '/bin/sh -c sh /test.sh' returned a non-zero code: 1"""


def busy() -> World:
    """One image is being examined, one copied, one app built; nothing needs a person."""
    world = _quiet_world()
    world.tasks.seconds = world.registry.copy_seconds = 10 * MINUTE
    world.push("15-alpine", digest("blue"))
    _until(world, lambda: newest(world).check == "task")
    world.tasks.seconds = 3.0
    world.push("1.29-alpine", digest("nginx 2"), repository="nginx")
    _until(world, lambda: _progress(world, "nginx") == "copying")
    world.tasks.seconds = 10 * MINUTE
    runs = len(world.tasks.runs)
    world.operate.apps.rebuild("handbook", Who.of(MARA, "a new cover")).act()
    _until(world, lambda: len(world.tasks.runs) > runs)
    world.clock.forward(40)
    return world


def blocked() -> World:
    """An image failed its test, another waits for approval, a third cannot be copied, and an app was rolled back."""
    world = _quiet_world()
    world.push("3.13-slim", digest("python 2"), repository="python")
    world.settle()
    world.clock.forward(2 * HOUR)
    world.tasks.failing[digest("red")] = RED_LOG
    world.push("15-alpine", digest("red"))
    world.settle()
    world.clock.forward(35 * MINUTE)
    next_run = 1 + sum(run.registry == "team" for run in world.tasks.runs.values())
    world.probe.sick[f"hello-world:ct{next_run}"] = "10.0.0.4:80/ answered 503"
    world.operate.apps.rebuild("hello-world", Who.of(MARA, "the new greeting")).act()
    world.settle()
    role = "give the app AcrPush on the registry"
    world.registry.copy_fault = Misconfigured("copying nginx: 403", cause=Cause.ROLE, remedy=role)
    world.push("1.29-alpine", digest("nginx 2"), repository="nginx")
    world.settle()
    world.pass_time(4 * MINUTE)
    return world


def rolled_back() -> World:
    """The stable tag went back to Orange and is held there, while a newer image that passed waits."""
    world = _quiet_world()
    unique = world.unique_tags(digest("orange"))[0].rpartition(":")[2]
    who = Who.of(MARA, "Green hurts the eyes; Orange until the designers agree")
    world.operate.gates.roll_back("node", "15-alpine", unique, HoldUntil.LIFTED, who).act()
    world.settle()
    world.clock.forward(50 * MINUTE)
    world.push("15-alpine", digest("green again"))
    world.settle()
    world.clock.forward(2 * HOUR)
    return world


def drifted() -> World:
    """Drift: a stable tag moved and a container replaced by hand, pushes without an event, an upstream that fails.

    Drift of the gate nginx and the app storefront is only reported, so it is not repaired.
    """
    world = _quiet_world()
    world.policy = _watched(world.policy)
    world.restart()
    world.subscriptions.reaching = False
    world.sweep_now()
    _pass(world, "1.29-alpine", "nginx 2", 40 * MINUTE, repository="nginx")
    world.registry.tags["base", "nginx:1.29-alpine"] = digest("by hand")
    world.containers.groups["storefront-aci"] = ("contoso.azurecr.io/storefront:dev", world.clock.now())
    world.sweep_now()
    world.clock.forward(6 * MINUTE)
    world.registry.tags["public", "python:3.13-slim"] = digest("python 2")
    world.tasks.failing["node@"] = RED_LOG
    world.registry.tags["public", "node:15-alpine"] = digest("red")
    world.sweep_now()
    world.settle()
    world.sweep_now()
    world.tags.faults["public"] = Retry("publicregistry.azurecr.io answered 503 three times")
    world.clock.forward(2 * MINUTE)
    world.sweep_now()
    world.clock.forward(20)
    return world


def _watched(policy: Policy) -> Policy:
    """The rules with one gate and one app whose drift is reported only."""
    nginx, shop = policy.gates["nginx"], policy.apps["storefront"]
    return msgspec.structs.replace(
        policy,
        gates={**policy.gates, "nginx": msgspec.structs.replace(nginx, drift="report")},
        apps={**policy.apps, "storefront": msgspec.structs.replace(shop, drift="report")},
    )


SCENES: dict[str, Callable[[], World]] = {
    "busy": busy,
    "blocked": blocked,
    "rolled-back": rolled_back,
    "drift": drifted,
}


def newest(world: World, gate: str = "node") -> CandidateSummary:
    """The newest candidate."""
    return world.ledger.page(Candidate, gate, 1).items[0]


def _progress(world: World, gate: str) -> str:
    """The progress of the newest promotion."""
    return world.ledger.page(Promotion, gate, 1).items[0].progress


def policy() -> Policy:
    """Three gates; images of `python` wait for approval."""
    sample = sample_policy()
    node, hello = sample.gates["node"], sample.apps["hello-world"]
    assert hello.deploy is not None
    gates = {
        "node": node,
        "nginx": _gate(node, "nginx", "1.29-alpine"),
        "python": msgspec.structs.replace(
            _gate(node, "python", "3.13-slim"), checks=(*node.checks, ApprovalCheck(two_persons=True))
        ),
    }
    apps = {
        "hello-world": hello,
        "storefront": _app(hello, "storefront", BaseRule(gate="nginx", tag="1.29-alpine")),
        "handbook": _app(hello, "handbook", BaseRule(gate="nginx", tag="1.29-alpine")),
    }
    return msgspec.structs.replace(sample, gates=gates, apps=apps)


def _gate(like: Gate, name: str, tag: str) -> Gate:
    promote = msgspec.structs.replace(like.promote, repository=name)
    source = Source(registry="public", repository=name, tags=(tag,))
    return msgspec.structs.replace(like, name=name, source=source, promote=promote)


def _app(like: App, name: str, base: BaseRule) -> App:
    assert isinstance(like.deploy, AciRule)  # the reference scenario deploys there
    build = msgspec.structs.replace(like.build, task=name, image=f"{name}:{{run}}")
    return msgspec.structs.replace(
        like,
        name=name,
        base=base,
        build=build,
        deploy=msgspec.structs.replace(like.deploy, name=f"{name}-aci"),
    )


def _quiet_world() -> World:
    """A world in which everything is promoted and live, since different times."""
    world = World(policy())
    _pass(world, "15-alpine", "orange", 3 * 24 * HOUR)
    _pass(world, "1.29-alpine", "nginx 1", 20 * HOUR, repository="nginx")
    world.push("3.13-slim", digest("python 1"), repository="python")
    world.settle()
    world.operate.candidates.approve(newest(world, "python").id, Who.of(ADA, "the release notes are fine")).act()
    world.settle()
    world.clock.forward(HOUR)
    _pass(world, "15-alpine", "green", 90 * MINUTE)
    return world


def _pass(world: World, tag: str, content: str, then: float, repository: str = "node") -> None:
    world.push(tag, digest(content), repository=repository)
    world.settle()
    world.clock.forward(then)


def _until(world: World, reached: Callable[[], bool], limit: int = 60) -> None:
    """Deliver hints and work items until a condition holds."""
    for _ in range(limit):
        if reached():
            return
        world.next_item()
    raise AssertionError("the scene is not reached")
