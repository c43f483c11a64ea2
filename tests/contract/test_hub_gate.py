"""A gate on Docker Hub, which sends no events: the sweep finds, a real task examines, Azure copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from demo import scenario
from shared import bootstrap
from shared.bootstrap import Basegate
from shared.domain.candidate import Candidate, CandidateState, FoundBy, candidate_row
from shared.domain.drift import TagState
from shared.domain.image import Digest
from shared.domain.record import Look
from shared.domain.upstream import UpstreamRecord
from shared.ports import QueueState
from shared.settings import Settings
from shared.workflow.advance import Advance
from shared.workflow.services import Services
from shared.workflow.sweep import Standing, Sweep
from tests.contract.place import VAULT_URL, Place, until

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


class Looks:
    """A queue in this process, for whoever takes a look out of it."""

    def __init__(self) -> None:
        self.sent: list[Look] = []

    def send(self, look: Look, wait_seconds: float) -> None:
        self.sent.append(look)

    def check(self) -> QueueState:
        return QueueState(None)


@pytest.fixture
def services(place: Place, tmp_path: Path) -> Iterator[Services]:
    """The app as its bootstrap puts it together, with a queue in this process."""
    rules = tmp_path / "gates.yaml"
    rules.write_text(RULES.format(base=place.base.id))
    bootstrap.credential.cache_clear()
    settings = Settings(storage_account=scenario.STORAGE, key_vault=VAULT_URL, gates=str(rules))
    yield replace(Basegate(settings).services, queue=Looks())
    bootstrap.credential.cache_clear()


def test_a_tag_of_docker_hub_is_found_examined_and_promoted_by_its_digest(place: Place, services: Services) -> None:
    place.make_task(place.base, "examine-hub", EXAMINE)
    digest = place.hub_digest("library/node", "15-alpine")
    report = Sweep(services).run(services.clock.now() + timedelta(minutes=1))
    assert {beat.beat: beat.standing for beat in report.beats}["upstream.hub-node"] is Standing.DONE
    assert [effect.what for effect in report.effects] == ["examine, new digest"]

    candidate = until(lambda: finished(services, digest))
    assert (candidate.state, candidate.found_by) == (CandidateState.PROMOTED, FoundBy.SWEEP), candidate.reason
    assert str(candidate.image) == f"docker.io/library/node@{digest}"
    target = services.registry.tag_state(services.registry_rule("base"), "hub/node", candidate.tags[0].unique)
    assert target == TagState(digest, locked=True)
    assert services.registry.digest_of(services.registry_rule("base"), "hub/node", "15-alpine") == digest

    again = Sweep(services).run(services.clock.now() + timedelta(minutes=1))
    assert again.effects == ()
    pulls = services.ledger.load(UpstreamRecord, "upstream", "docker.io")
    assert pulls is not None
    assert pulls.record.remaining > 0, "what Docker Hub says of its limit is kept"


def finished(services: Services, digest: Digest) -> Candidate | None:
    """Take every look that waits; the candidate when it has come to its end."""
    assert isinstance(services.queue, Looks)
    looks, services.queue.sent = services.queue.sent, []
    for look in looks:
        Advance(services).look(look)
    stored = services.ledger.load(Candidate, "hub-node", candidate_row(digest, 1))
    return stored.record if stored and stored.record.finished and stored.record.announced else None
