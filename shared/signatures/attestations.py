"""What trusted signers attest about a digest: statements with a predicate, such as a VEX document.

It is verified like a signature of cosign, for another predicate: an attestation does not sign an image, and whoever may
sign one is not thereby allowed to attest something.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from shared.domain.image import Digest
from shared.signatures.model import Attached, Refused, Unreadable, Unverified, plain
from shared.signatures.trust import CosignTrust

if TYPE_CHECKING:
    from shared.signatures.cosign import CosignExaminer


class Attestation(Struct, frozen=True, kw_only=True):
    """A verified attestation about a digest: where it was found, by whom it is, since when (None: nobody says), and its
    predicate as JSON.
    """

    place: str
    by: str
    at: datetime | None
    predicate: bytes


def attestations(
    subject: Digest, attached: Iterable[Attached], trust: CosignTrust, wanted: re.Pattern[str]
) -> Iterator[Attestation | Refused]:
    """Of what is attached to a digest, what claims to have a predicate of a type that is wanted: verified, or refused
    with the reason. What claims to be something else is left out.

    Nothing that has the one signature of a stranger makes it raise. The number and size of what is attached are limited
    by who reads it.

    Raises:
        Malformed: the trust itself cannot be used; `field` is its key.
        Unreadable: what somebody who is trusted says, or may say, is not known. The text names the place.
    """
    from shared.signatures.cosign import CosignExaminer

    examiner = CosignExaminer(subject, trust)
    for one in attached:
        outcome = _examined(one, examiner, wanted)
        if outcome is not None:
            yield outcome


def _examined(one: Attached, examiner: "CosignExaminer", wanted: re.Pattern[str]) -> Attestation | Refused | None:
    from shared.signatures.cosign import claims

    try:
        if not claims(one, wanted):
            return None
        signed, predicate = examiner.attestation(one, wanted)
    except Unreadable as error:
        raise Unreadable(f"{one.place}: {plain(error)}") from error
    except Unverified as error:
        return Refused(one.place, plain(error))
    except Exception as error:  # noqa: BLE001  (whatever a parser makes of hostile bytes: it is no attestation)
        return Refused(one.place, f"cannot be parsed ({type(error).__name__}: {plain(error)})")
    return Attestation(place=one.place, by=signed.by, at=signed.at, predicate=predicate)
