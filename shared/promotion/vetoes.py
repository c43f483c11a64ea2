"""Which digests are banned from a gate's target repository, which may stand there under a tag again or be built on."""

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
        """The repository that a gate promotes into, `<login server>/<repository>`."""
        return f"{self._services.registry_rule(gate.promote.registry).login_server}/{gate.promote.repository}"

    def active(self, gate: Gate, digest: str) -> Veto | None:
        """The veto that stands against a digest, or None."""
        stored = self.load(gate, digest)
        return stored.record if stored is not None and stored.record.is_active else None

    def load(self, gate: Gate, digest: str) -> Stored[Veto] | None:
        """The veto against a digest, lifted or not."""
        return self._services.ledger.load(Veto, veto_partition(self.target(gate)), veto_row(digest))

    def all(self, gate: Gate) -> Iterator[Veto]:
        """Every veto of the target repository, lifted ones too."""
        return (stored.record for stored in self._services.ledger.list(Veto, veto_partition(self.target(gate))))

    def last_verdict(self, gate: Gate, digest: str) -> Candidate | None:
        """The attempt with the last verdict on a digest, under whatever checks; None where there is none."""
        attempts = (stored.record for stored in self._services.ledger.list(Candidate, gate.name, attempts_of(digest)))
        return next((attempt for attempt in reversed(list(attempts)) if attempt.state in VERDICTS), None)

    def against(self, gate: Gate, digest: str) -> str:
        """Why a digest may not stand under a tag again: it is vetoed, or did not pass when it was examined last.

        "" where it may.
        """
        if (veto := self.active(gate, digest)) is not None:
            return veto.words
        last = self.last_verdict(gate, digest)
        if last is None:
            return f"{digest} has no passed verdict at gate {gate.name}: it was never examined to the end"
        if last.state is not CandidateState.PASSED:
            return f"{digest} did not pass when it was examined last: {last.id} {last.state}: {last.reason}"
        return ""

    def against_image(self, app: App, image: BuiltImage) -> str:
        """Why an app's image must not be deployed, "" where nothing stands against it.

        An image whose base is not known may stand on any: it is refused while any veto stands at the app's gate.
        """
        if image.base is not None:
            return self.against_base(image.base)
        standing = (veto for veto in self.all(self._services.policy.gates[app.base.gate]) if veto.is_active)
        return next((f"its base is not known, and {veto.words}" for veto in standing), "")

    def against_base(self, base: ImageRef | None) -> str:
        """Why nothing may be built on a base, "" where nothing stands against it."""
        if base is None:
            return ""
        name = f"{base.login_server}/{base.repository}"
        stored = self._services.ledger.load(Veto, veto_partition(name), veto_row(base.digest))
        return f"its base {name}@{stored.record.words}" if stored is not None and stored.record.is_active else ""
