"""Outcomes that say where to read more of them."""

from __future__ import annotations

from shared.adapters.listeners.kind import LinkingAnnouncer, board_link
from shared.domain.outcome import Outcome
from shared.queries.records import Queries
from shared.reconcile.candidates import CandidateController
from shared.reconcile.rollouts import RolloutController
from tests.fakes import FakeAnnouncer, World, digest

URL = "https://gate.contoso.com"


def linked(outcome: Outcome, url: str = URL) -> Outcome:
    heard = FakeAnnouncer()
    LinkingAnnouncer(url, heard).announce(outcome)
    return heard.announced[0]


def test_an_outcome_links_to_the_page_and_the_story_of_its_record() -> None:
    world = World()
    world.push("15-alpine", digest("Green"))
    world.settle()
    candidate, rollout = world.candidates()[0], world.rollouts()[0]
    said, rolled_out = CandidateController(world.services).outcome(candidate), RolloutController(world.services)
    deployed = rolled_out.outcome(rollout)
    assert said and deployed
    links = linked(said).data["links"]
    assert links == {
        "board": f"{URL}/api/board/candidates/{candidate.id}",
        "api": f"{URL}/api/v1/candidates/{candidate.id}",
    }
    links = linked(deployed).data["links"]
    assert links == {"board": f"{URL}/api/board/rollouts/{rollout.id}", "api": f"{URL}/api/v1/rollouts/{rollout.id}"}


def test_the_record_is_found_by_the_end_of_the_link() -> None:
    world = World()
    world.push("15-alpine", digest("Green"))
    world.settle()
    queries = Queries(world.services)
    for outcome in world.announcer.announced:
        kind, identifier = outcome.page.split("/")
        story = queries.candidate(identifier)[0] if kind == "candidates" else queries.rollout(identifier)[0]
        assert story.id == identifier
    assert {outcome.page.split("/")[0] for outcome in world.announcer.announced} == {"candidates", "rollouts"}


def test_without_an_address_or_a_page_nothing_is_linked_and_all_is_told() -> None:
    outcome = Outcome(name="N", subject="s", page="candidates/node.1", data={"gate": "node"})
    assert linked(outcome, "") == outcome
    assert board_link(outcome) == ""
    bare = Outcome(name="N", subject="s", data={})
    assert linked(bare) == bare


def test_what_an_id_holds_cannot_break_out_of_the_link() -> None:
    outcome = Outcome(name="N", subject="s", page="candidates/a|b> c?code=1#x", data={})
    assert board_link(linked(outcome)) == f"{URL}/api/board/candidates/a%7Cb%3E%20c%3Fcode%3D1%23x"
