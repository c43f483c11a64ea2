"""A gate on Docker Hub, which sends no events: the sweep finds, a real task examines, Azure copies."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from shared.domain.candidate import Candidate, CandidateState, FoundBy, candidate_row
from shared.domain.promotion import Promotion, PromotionState, promotion_row
from shared.intake.upstreams import UpstreamRecord
from shared.ports import TagState
from shared.sweep.sweep import JobState
from tests.contract.in_process import in_process
from tests.contract.place import Place

pytestmark = pytest.mark.containers

EXAMINE = """
version: v1.1.0
steps:
  - cmd: "{{.Values.IMAGE}} true"
"""
RULES = """
registries:
  hub: {{server: docker.io}}
  base: {{id: {base}}}
gates:
  hub-node:
    source: {{registry: hub, repository: node, tags: ["*-alpine"], versions: {{range: ">=15 <16", newest: 1}}}}
    checks:
      - task: {{registry: base, task: examine-hub}}
    promote: {{registry: base, repository: hub/node}}
"""


def test_a_tag_of_docker_hub_is_found_examined_and_promoted_by_its_digest(place: Place, tmp_path: Path) -> None:
    rules = tmp_path / "gates.yaml"
    rules.write_text(RULES.format(base=place.base.id))
    place.make_task(place.base, "examine-hub", EXAMINE)
    digest = place.hub_digest("library/node", "15-alpine")
    with in_process(rules) as running:
        services, sweep = running.app.services, running.app.sweep
        result = sweep.run(services.clock.now() + timedelta(minutes=1))
        assert {job.job: job.state for job in result.jobs}["upstream.hub-node"] is JobState.DONE
        assert [effect.what for effect in result.effects] == ["examine, new digest"]

        def promotion() -> Promotion | None:
            stored = services.ledger.load(Promotion, "hub-node", promotion_row("15-alpine", 1))
            return stored.record if stored and stored.record.settled else None

        running.settle(promotion)
        done = promotion()
        assert done is not None
        assert done.state is PromotionState.PROMOTED, done.reason
        stored = services.ledger.load(Candidate, "hub-node", candidate_row(digest, 1))
        assert stored is not None
        assert (stored.record.state, stored.record.found_by) == (CandidateState.PASSED, FoundBy.SWEEP)
        assert str(stored.record.image) == f"docker.io/library/node@{digest}"
        base = services.registry_rule("base")
        assert services.registry.tag_state(base, "hub/node", done.unique) == TagState(digest, locked=True)
        assert services.registry.digest_of(base, "hub/node", "15-alpine") == digest

        again = sweep.run(services.clock.now() + timedelta(minutes=1))
        assert again.effects == ()
        pulls = services.ledger.load(UpstreamRecord, "upstream", "docker.io")
        assert pulls is not None
        assert pulls.record.remaining > 0, "what Docker Hub says of its limit is kept"
