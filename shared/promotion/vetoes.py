"""Which digests are vetoed, which a stable tag may point to again, and which apps may be built on."""

from collections.abc import Iterator

from shared.domain.candidate import VERDICTS, Candidate, CandidateState, attempts_of
from shared.domain.image import ImageRef
from shared.domain.policy import App, Gate
from shared.domain.rollout import BuiltImage
from shared.domain.stable_tag import Veto, veto_partition, veto_row
from shared.ports import Services, Stored


class Vetoes:
    """The vetoes in the ledger, by target repository."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def target(self, gate: Gate) -> str:
        """The target repository of a gate, `<login server>/<repository>`."""
        return f"{self._services.registry_rule(gate.promote.registry).login_server}/{gate.promote.repository}"

    def active(self, gate: Gate, digest: str) -> Veto | None:
        """The active veto of a digest, or None."""
        stored = self.load(gate, digest)
        return stored.record if stored is not None and stored.record.is_active else None

    def load(self, gate: Gate, digest: str) -> Stored[Veto] | None:
        """The veto of a digest, lifted or not."""
        return self._services.ledger.load(Veto, veto_partition(self.target(gate)), veto_row(digest))

    def all(self, gate: Gate) -> Iterator[Veto]:
        """All vetoes of the target repository, lifted or not."""
        return (stored.record for stored in self._services.ledger.list(Veto, veto_partition(self.target(gate))))

    def last_verdict(self, gate: Gate, digest: str) -> Candidate | None:
        """The attempt with the last verdict on a digest, under any checks; None if there is none."""
        attempts = (stored.record for stored in self._services.ledger.list(Candidate, gate.name, attempts_of(digest)))
        return next((attempt for attempt in reversed(list(attempts)) if attempt.state in VERDICTS), None)

    def against(self, gate: Gate, digest: str) -> str:
        """Why a stable tag may not point to a digest again: it is vetoed, or did not pass when last examined.

        "" if it may.
        """
        if (veto := self.active(gate, digest)) is not None:
            return veto.words
        last = self.last_verdict(gate, digest)
        if last is None:
            return f"{digest} has no passed verdict at gate {gate.name}: no attempt was completed"
        if last.state is not CandidateState.PASSED:
            return f"{digest} did not pass when it was last examined: {last.id} {last.state}: {last.reason}"
        return ""

    def against_image(self, app: App, image: BuiltImage) -> str:
        """Why an app's image must not be deployed, "" if it may.

        An image whose base is unknown may be built on any: it is refused while any veto is active at the app's gate.
        """
        if image.base is not None:
            return self.against_base(image.base)
        active = (veto for veto in self.all(self._services.policy.gates[app.base.gate]) if veto.is_active)
        return next((f"its base is unknown, and {veto.words}" for veto in active), "")

    def against_base(self, base: ImageRef | None) -> str:
        """Why no app may be built on a base, "" if it may."""
        if base is None:
            return ""
        name = f"{base.login_server}/{base.repository}"
        stored = self._services.ledger.load(Veto, veto_partition(name), veto_row(base.digest))
        return f"its base {name}@{stored.record.words}" if stored is not None and stored.record.is_active else ""
