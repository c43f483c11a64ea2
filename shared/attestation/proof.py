"""What a bundle proves about a digest, to whoever has the public key and nothing else of the gate."""

from typing import TypeVar

import msgspec
from msgspec import Struct

from shared.attestation.envelope import Keys, Unproven, verified
from shared.attestation.statement import DECISION_TYPE, SUMMARY_TYPE, Decision, Summary
from shared.domain.image import Digest, short

T = TypeVar("T")


class Proof(Struct, frozen=True, kw_only=True):
    """A verified statement about a digest: one of the two predicates, neither if it is of another type."""

    key_id: str
    predicate_type: str
    names: tuple[str, ...]
    """The repositories that the statement names with that digest, each with its registry."""

    summary: Summary | None = None
    decision: Decision | None = None


def proof(content: bytes, keys: Keys, digest: Digest) -> Proof:
    """What a bundle proves about a digest.

    1. The signature is that of one of the keys.
    2. The statement is about that digest: a record of another image, moved to this one, proves nothing.
    3. A predicate of one of our types is whole, and says that the digest passed.

    Raises:
        Unproven: any of that is not so.
    """
    statement, key_id = verified(content, keys)  # 1
    algorithm, _, value = digest.partition(":")
    names = tuple(one.name for one in statement.subject if one.digest.get(algorithm) == value)  # 2
    if not names:
        about = ", ".join(f"{one.name}@{short(one.digest.get(algorithm, '?'))}" for one in statement.subject[:3])
        raise Unproven(f"it is signed, but about another image: {about or 'none'}")
    kind, predicate = statement.predicate_type, statement.predicate
    summary = _converted(predicate, Summary) if kind == SUMMARY_TYPE else None  # 3
    decision = _converted(predicate, Decision) if kind == DECISION_TYPE else None
    result = summary.verification_result if summary else decision.verdict if decision else "passed"
    if result.lower() != "passed":
        raise Unproven(f"it is signed, and says that the digest did not pass: {result!r}")
    return Proof(key_id=key_id, predicate_type=kind, names=names, summary=summary, decision=decision)


def _converted(predicate: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(predicate, kind)
    except msgspec.ValidationError as error:
        raise Unproven(f"it is signed, but its {kind.__name__.lower()} is not complete: {error}") from error
