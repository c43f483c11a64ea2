"""The base of an app as people and programs are shown it is that of the image that runs, in every order of events."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from shared.board.drift import drift_page
from shared.board.overview import overview_page
from shared.board.parts import short_image
from shared.domain.errors import BasegateError
from shared.domain.image import Digest
from shared.domain.stable_tag import HoldUntil
from shared.operations import Who
from shared.queries.drift import DriftQuery
from shared.queries.records import Queries
from tests.fakes import World, digest

APP, GROUP, TAG = "hello-world", "hello-world-aci", "15-alpine"
WHO = Who("ada", "because")


class Scene:
    """A world whose app was rolled out on two bases, one after the other."""

    def __init__(self) -> None:
        self.world = World()
        self._made = 0
        promote(self)
        promote(self)

    def new(self, what: str) -> Digest:
        """A digest that was not there before."""
        self._made += 1
        return digest(f"{what} {self._made}")

    def settle(self) -> None:
        """Everything that was begun ends, and two sweeps go by: one may repair, the next one sees it."""
        for _ in range(2):
            self.world.settle()
            self.world.clock.forward(60)
            self.world.sweep_now()
        self.world.settle()

    def page(self) -> str:
        """What the page in the container prints: the `BASE_IMAGE` that its build was given, without one `unknown`."""
        image = self.world.containers.groups[GROUP][0].partition("@")[2]
        return next(
            (run.values["BASE_IMAGE"] for run in self.world.tasks.runs.values() if run.image == image), "unknown"
        )

    def shown(self) -> dict[str, str | None]:
        """What is shown, by where."""
        queries, drift = Queries(self.world.services), DriftQuery(self.world.services).drift()
        now = self.world.clock.now()
        rows = [row for gate in overview_page(self.world.services, now).gates for row in (*gate.rows, *gate.quiet)]
        container = next(app.cells[1] for row in rows for app in row.apps)
        return {
            "status": queries.status().apps[0].base,
            "apps": queries.apps().items[0].base,
            "drift": drift.apps[0].base,
            "the board": container.reason,
            "the board's drift page": drift_page(self.world.services, now).apps[0].cells[1].full,
        }

    def next_build(self) -> str:
        """How the image of the next build ends."""
        builds = [run for run in self.world.tasks.runs.values() if run.registry == "team"]
        return f":ct{len(builds) + 1}"


def promote(scene: Scene) -> None:
    scene.world.push(TAG, scene.new("base"))
    scene.settle()


def promote_and_put_back(scene: Scene) -> None:
    scene.world.probe.sick[scene.next_build()] = "HTTP 500"
    promote(scene)


def rebuild(scene: Scene) -> None:
    scene.world.operate.apps.rebuild(APP, WHO).act()
    scene.settle()


def rebuild_and_put_back(scene: Scene) -> None:
    scene.world.probe.sick[scene.next_build()] = "HTTP 500"
    rebuild(scene)


def redeploy_the_first_image(scene: Scene) -> None:
    scene.world.operate.apps.redeploy(APP, "ct1", WHO).act()
    scene.settle()


def roll_the_app_back(scene: Scene) -> None:
    scene.world.operate.apps.roll_back(APP, WHO).act()
    scene.settle()


def roll_the_base_back(scene: Scene) -> None:
    first = scene.world.unique_tags(digest("base 1"))[0].rpartition(":")[2]
    scene.world.operate.gates.roll_back("node", TAG, first, HoldUntil.NEWER, WHO).act()
    scene.settle()


def commit(scene: Scene) -> None:
    scene.world.push(f"x{len(scene.world.tasks.others)}", scene.new("commit"), registry="team", repository=APP)
    scene.settle()


def delete_the_container(scene: Scene) -> None:
    scene.world.containers.groups.pop(GROUP)
    scene.settle()


def veto_the_base(scene: Scene) -> None:
    stable = scene.world.stable_tag()
    assert stable
    scene.world.operate.vetoes.veto("node", stable, WHO).act()
    scene.settle()


EVENTS = (
    promote,
    promote_and_put_back,
    rebuild,
    rebuild_and_put_back,
    redeploy_the_first_image,
    roll_the_app_back,
    roll_the_base_back,
    commit,
    delete_the_container,
    veto_the_base,
)


def play(*events: Callable[[Scene], None]) -> None:
    """Let events happen; after each, what is shown must be what the page prints."""
    scene, happened = Scene(), list[str]()
    for event in events:
        with suppress(BasegateError):  # an operator may be refused
            event(scene)
        happened.append(event.__name__)
        if GROUP not in scene.world.containers.groups:
            assert veto_the_base in events, "what was deleted with a vetoed base is not put back"
            continue
        page, shown = scene.page(), scene.shown()
        short = f"on {short_image(page)}"
        assert shown == dict.fromkeys(shown, page) | {"the board": short}, f"after {', '.join(happened)}"


@pytest.mark.parametrize("event", EVENTS)
def test_the_base_that_is_shown_is_that_of_the_page_whatever_happened_before(event: Callable[[Scene], None]) -> None:
    for before in EVENTS:
        play(before, event)


def test_the_base_that_is_shown_is_that_of_the_page_in_long_stories_too() -> None:
    orders = random.Random(0)
    for _ in range(15):
        play(*orders.sample(EVENTS, len(EVENTS)))
