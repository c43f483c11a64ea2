"""What is under way against a decision when it is made: it is undone or put back, and the operator hears of it now."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from shared.domain.image import short
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion
from shared.domain.rollout import Rollout, RolloutState
from shared.domain.stable_tag import StableTag
from shared.operations.plan import Effect
from shared.ports.services import Services

_ROLLING = (RolloutState.BUILDING, RolloutState.DEPLOYING, RolloutState.VERIFYING)


def in_flight(services: Services, gates: Collection[Gate], *, tag: str = "", digest: str = "") -> tuple[Effect, ...]:
    """The moves, promotions and rollouts that are under way at the stable tag of that name, or with that digest."""
    moves_and_promotions = (effect for gate in gates for effect in _at_gate(services, gate, tag, digest))
    return (*moves_and_promotions, *_rollouts(services, {gate.name for gate in gates}, tag, digest))


def _at_gate(services: Services, gate: Gate, tag: str, digest: str) -> Iterator[Effect]:
    for stored in services.ledger.list(StableTag, gate.name, tag):
        stable, claim = stored.record, stored.record.claim
        if claim is not None and (claim.digest == digest or (stable.tag == tag and claim.digest != stable.digest)):
            yield Effect("move", f"{stable.tag} to {short(claim.digest)}, by {claim.mover}")
    for promotion in (stored.record for stored in services.ledger.open(Promotion, gate.name)):
        if not promotion.settled and (promotion.tag == tag or promotion.digest == digest):
            yield Effect("promotion", f"{promotion.tag} to {short(promotion.digest)}, {promotion.state_name}")


def _rollouts(services: Services, gates: Collection[str], tag: str, digest: str) -> Iterator[Effect]:
    for app in services.policy.apps.values():
        for rollout in (stored.record for stored in services.ledger.open(Rollout, app.name)):
            base = rollout.base if app.base.gate in gates and rollout.state in _ROLLING else None
            if base is not None and (app.base.tag == tag or base.digest == digest):
                yield Effect("rollout", f"{rollout.id}, {rollout.state_name}")
