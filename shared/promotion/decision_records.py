"""Decision records: made of the ledger's records, signed, archived, and attached to the promoted image."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from shared import VERSION
from shared.attestation.envelope import Unproven, bundle, envelope_of, key_id, payload_of, predicate_type_of
from shared.attestation.statement import (
    DECISION_TYPE,
    CheckFacts,
    Decision,
    Facts,
    Statement,
    Verifier,
    documents_of,
    rules_digest,
    statements,
)
from shared.domain.candidate import Candidate
from shared.domain.dsse import BUNDLE_TYPE, ENVELOPE_TYPE, pae
from shared.domain.errors import Rejected
from shared.domain.image import Digest, ImageRef, digest_tag, parse_repository
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion, decision_record_name
from shared.ports import Artifact, Services, Signer


class DecisionRecords:
    """Signs and attaches the decision records of promotions.

    A signature differs each time it is made. So what was signed is archived first, and only what is archived is
    attached: a step that is repeated attaches the same bytes, which a registry keeps once.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def sign(
        self, promotion: Promotion, candidate: Candidate, gate: Gate, checks: Mapping[int, CheckFacts], signer: Signer
    ) -> str:
        """Sign the statements of a promotion, and archive them; returns their place in the archive.

        Raises:
            Misconfigured: the key cannot be used, or the archive: `dependency` says which.
        """
        made = statements(promotion, candidate, self._facts(promotion, gate, checks))
        content = b"\n".join(self._signed(statement, signer) for statement in made.values())
        return self._services.archive.store(decision_record_name(promotion, content), content.decode())

    def signed(self, promotion: Promotion) -> list[bytes]:
        """The archived bundles; none if the archive has lost or damaged them."""
        try:
            lines = [line.encode() for line in self._services.archive.read(promotion.signed_record).splitlines()]
            return lines if all(map(predicate_type_of, lines)) else []
        except (Rejected, Unproven, msgspec.MsgspecError):
            return []

    def image(self, promotion: Promotion, gate: Gate) -> ImageRef:
        """The promoted image."""
        server = self._services.registry_rule(gate.promote.registry).login_server
        return ImageRef(server, parse_repository(gate.promote.repository), promotion.digest)

    def attach(
        self, promotion: Promotion, gate: Gate, bundles: Sequence[bytes], documents: Iterable[Artifact] = ()
    ) -> tuple[Digest, ...]:
        """Attach bundles, and documents that they name, to the promoted image; returns the digests of what is attached.

        Raises:
            Gone: the image does not exist any more.
        """
        target, repository = self._services.registry_rule(gate.promote.registry), gate.promote.repository
        registry, digest = self._services.registry, promotion.digest
        attached = [registry.attach(target, repository, digest, _referrer(one)) for one in bundles]
        for one in bundles:
            registry.add_layer(target, repository, attestations_tag(digest), _layer(one))
        attached += (registry.attach(target, repository, digest, one) for one in documents)
        return tuple(attached)

    def _signed(self, statement: bytes, signer: Signer) -> bytes:
        signature = signer.sign(hashlib.sha256(pae(statement)).digest())
        return bundle(statement, signature.value, key_id(signature.public_key))

    def _facts(self, promotion: Promotion, gate: Gate, checks: Mapping[int, CheckFacts]) -> Facts:
        url = self._services.url
        return Facts(
            target=self.image(promotion, gate),
            verifier=Verifier(id=url or "urn:basegate", version={"basegate": VERSION}),
            policy_uri=f"{url}/api/v1/gates/{gate.name}" if url else f"urn:basegate:gate:{gate.name}",
            rules=rules_digest(gate) if gate.fingerprint == promotion.fingerprint else "",
            checks=checks,
        )


def documents_in(bundles: Iterable[bytes]) -> dict[str, str] | None:
    """The names of the documents that a decision of our own says to be attached beside it, by their digests; None if it
    is of another version's form.
    """
    decisions = (payload_of(one) for one in bundles if predicate_type_of(one) == DECISION_TYPE)
    try:
        read = [msgspec.json.decode(one, type=Statement[Decision]).predicate for one in decisions]
    except msgspec.MsgspecError:
        return None
    return {digest: name for decision in read for digest, name in documents_of(decision)}


def attestations_tag(digest: Digest) -> str:
    """The tag of an image's attestations in cosign's older scheme: policy-controller verifies keys in no other.

    Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
    """
    return digest_tag(digest, ".att")


def _layer(content: bytes) -> Artifact:
    """The envelope of a bundle, as a layer of the image's attestations, with cosign's annotations."""
    annotations = {"dev.cosignproject.cosign/signature": "", "predicateType": predicate_type_of(content)}
    return Artifact(media_type=ENVELOPE_TYPE, content=envelope_of(content), annotations=annotations)


def _referrer(content: bytes) -> Artifact:
    """What refers to the image for a bundle, with cosign's annotations."""
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type_of(content),
    }
    return Artifact(media_type=BUNDLE_TYPE, content=content, annotations=annotations)
