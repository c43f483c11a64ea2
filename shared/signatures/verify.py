"""Whether a digest is signed by someone who is trusted."""

from collections.abc import Callable, Iterable
from datetime import datetime

from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.image import Digest
from shared.signatures.manifest import COSE, JWS, SIMPLE_SIGNING
from shared.signatures.model import (
    PAYLOAD_LIMIT_BYTES,
    Attached,
    Refused,
    SignatureResult,
    Signed,
    Unverified,
    plain,
)
from shared.signatures.trust import Trust

_ANNOTATIONS_LIMIT = 256 * 1024
"""The maximum size of a layer's annotations, in characters: cosign's carry certificates."""

Examine = Callable[[Attached], Signed]
"""Examines one signature; raises `Unverified`, or any error of a parser."""


def verify(
    subject: Digest, attached: Iterable[Attached], trust: Trust, now: datetime, subject_size: int | None = None
) -> SignatureResult:
    """Whether one of the signatures is valid, is for this digest, and is by someone who is trusted.

    It ends with the first valid one. Nothing in a signature makes it raise. How many there are is limited by who reads
    them (`SIGNATURES_LIMIT`): each costs requests before it costs time here.

    Args:
        subject: the digest that must be signed.
        attached: what is attached to it; an error that iterating raises (a registry is away) is passed on.
        trust: who may sign, with texts in place of the names of secrets.
        now: the time, by which a signature of Notation or its certificates may have expired.
        subject_size: the size of the manifest in bytes, where it is known: a signature of Notation names it too.

    Raises:
        Malformed: the trust itself cannot be used; `field` is its key.
    """
    examiners = _examiners(subject, trust, now, subject_size)
    refused: list[Refused] = []
    for one in attached:
        outcome = _examined(one, examiners)
        if isinstance(outcome, Signed):
            return SignatureResult(signed=outcome, refused=tuple(refused))
        refused.append(outcome)
    return SignatureResult(refused=tuple(refused))


def require_usable(trust: Trust, now: datetime) -> None:
    """Parse all keys, certificates and roots of the trust.

    Raises:
        Malformed: one cannot be used; `field` is its key.
    """
    _examiners(Digest(""), trust, now, None)


def _examiners(subject: Digest, trust: Trust, now: datetime, size: int | None) -> dict[str, Examine]:
    """What examines a signature, by its media type. The libraries are imported here: a cold start needs none."""
    examiners: dict[str, Examine] = {}
    if trust.cosign is not None:
        from shared.signatures.cosign import CosignExaminer

        cosign = CosignExaminer(subject, trust.cosign)
        examiners |= {SIMPLE_SIGNING: cosign.simple_signing, BUNDLE_TYPE: cosign.bundle}
    if trust.notation is not None:
        from shared.signatures.notation import NotationExaminer

        examiners[JWS] = NotationExaminer(subject, size, trust.notation, now).jws
    return examiners


def _examined(one: Attached, examiners: dict[str, Examine]) -> Signed | Refused:
    if one.problem:
        return Refused(one.place, plain(one.problem))
    if one.media_type == COSE:
        return Refused(one.place, "a signature of Notation in a COSE envelope: only JWS is supported; sign with JWS")
    examine = examiners.get(one.media_type)
    if examine is None:
        return Refused(one.place, _no_examiner(one.media_type))
    annotations = sum(len(name) + len(value) for name, value in one.annotations.items())
    if len(one.payload) > PAYLOAD_LIMIT_BYTES or annotations > _ANNOTATIONS_LIMIT:
        return Refused(one.place, f"larger than {PAYLOAD_LIMIT_BYTES} bytes, or with too long annotations")
    try:
        return examine(one)
    except Unverified as error:
        return Refused(one.place, plain(error))
    except Exception as error:  # noqa: BLE001  (whatever a parser makes of hostile bytes: it is no signature)
        return Refused(one.place, f"cannot be parsed ({type(error).__name__}: {plain(error)})")


def _no_examiner(media_type: str) -> str:
    tools = {SIMPLE_SIGNING: "cosign", BUNDLE_TYPE: "cosign", JWS: "Notation"}
    if media_type in tools:
        return f"a signature of {tools[media_type]}, and the rule trusts nobody who signs with that"
    return f"{plain(media_type) or 'no media type'} is not a kind of signature"
