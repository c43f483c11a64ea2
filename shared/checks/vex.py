"""VEX at a gate: documents that are attached to the scanned image at its source, and cover findings of its scan.

A statement that an image is not affected makes findings pass. So a document counts only as an attestation about this
digest, signed by somebody whom the rule trusts; and either all that is attached is read, or none of it has an effect:
of several statements the newest counts, which nobody may hide behind others.

Why: docs/adr/0033-vex-at-a-gate-comes-signed-from-upstream.md.
"""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from itertools import chain
from threading import Lock

import msgspec
from cachetools import LRUCache
from msgspec import Struct
from msgspec.structs import replace

from shared.checks.signature import unusable, with_secrets
from shared.domain.candidate import Candidate, CheckRecord, Verdict, VexSummary
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import BasegateError, Malformed, Rejected, Retry, needing
from shared.domain.image import Digest, parse_repository, short
from shared.domain.policy import Rule, fingerprint_of
from shared.findings.vex import BrokenVex, Statement, read_openvex
from shared.ports import Attachments, Descriptor, Services
from shared.signatures.attestations import Attestation, attestations
from shared.signatures.manifest import attestation_layers
from shared.signatures.model import PAYLOAD_LIMIT_BYTES, Attached, Refused, Unreadable, plain
from shared.signatures.trust import CosignTrust, Trust

log = logging.getLogger(__name__)

OPENVEX = re.compile(r"https://openvex\.dev/ns(/v[0-9]+(\.[0-9]+){0,2})?")
"""The predicate types of OpenVEX: https://github.com/openvex/spec/blob/main/ATTESTING.md."""

ATTESTATIONS_LIMIT = 50
"""How many attestations of one digest are read: whoever may push to a repository can attach any number."""

TOTAL_LIMIT_BYTES = 4 * 1024 * 1024
"""The maximum size of all of them together. Those that say that they are no VEX documents are not read."""

READ_SECONDS = 30.0
"""How long the attestations of one digest are read."""

RECENT_BYTES = 16 * 1024 * 1024
"""The size of the readings that a process remembers."""

SWEEP_SECONDS = 60.0
"""How long a sweep job looks for newer documents, for all failed candidates together; then what is kept counts."""

_DEPENDENCY = "VEX documents at the source"
_ENTRY_BYTES = 1024
_MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
_ATTESTATIONS = (".att",)
_UNUSABLE = "judged without VEX: nothing is kept that was read for the trust of this rule"


class VexRule(Rule, frozen=True, kw_only=True):
    """Whose VEX documents count: OpenVEX as attestations of cosign that are attached to the image at its source."""

    cosign: CosignTrust

    @property
    def trust(self) -> Trust:
        """The trust, as signatures are verified by it."""
        return Trust(cosign=self.cosign)

    @property
    def fingerprint(self) -> str:
        """Identifies the trust as it is written."""
        return fingerprint_of(msgspec.to_builtins(self))


class VexDocument(Struct, frozen=True, kw_only=True):
    """A document that counts: its text, who signed it and when (None: nobody says), and where it was found."""

    text: str
    by: str
    at: datetime | None
    place: str

    @property
    def sha256(self) -> str:
        """The hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class VexReading(Struct, frozen=True, kw_only=True, dict=True):
    """What was read of what is attached to an image, as it is stored beside the report of its scan.

    `trust` and `listed` are those of `VexSummary`; `warnings` say what has no effect.
    """

    documents: tuple[VexDocument, ...] = ()
    warnings: tuple[str, ...] = ()
    trust: str = ""
    listed: str = ""

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """What the documents state.

        Raises:
            BrokenVex: another version of the app could read one, and this one cannot.
        """
        return tuple(chain.from_iterable(read_openvex(one.text.encode()) for one in self.documents))

    @property
    def fingerprint(self) -> str:
        """Identifies the documents and their signers; "" if there is none."""
        return fingerprint_of([(one.sha256, one.by) for one in self.documents]) if self.documents else ""

    def summary(self, place: str = "") -> VexSummary:
        """What a record keeps of it, stored at a place."""
        return VexSummary(place=place, trust=self.trust, documents=self.fingerprint, listed=self.listed)


NO_VEX = VexReading()
"""What a rule without VEX reads."""


class VexDocuments:
    """Reads the VEX documents of images, and keeps them as evidence."""

    def __init__(self, services: Services) -> None:
        self._services, self._seconds_left = services, SWEEP_SECONDS

    def read(self, candidate: Candidate, rule: VexRule) -> VexReading:
        """What is attached to an image at the source of its gate.

        Raises:
            Retry: the source is away. Misconfigured: the source, or the trust of the rule, cannot be used.
        """
        reading = self._read(candidate, rule)
        assert reading is not None  # it is compared with nothing
        return reading

    def renewed(self, candidate: Candidate, check: CheckRecord, rule: VexRule) -> VexReading | None:
        """What is to be read before a check is judged again; None: what is kept of it counts.

        What is kept does, unless it was read for another trust. For a check that failed, what is attached is listed
        again, and read again if that has changed: a new document may be what lets it pass.

        Raises:
            BasegateError: as for `read`; a failed check is judged by what is kept instead.
        """
        kept = check.evidence.vex
        is_usable = kept is not None and bool(kept.place) and kept.trust == rule.fingerprint
        if check.verdict is not Verdict.FAILED:
            return None if is_usable else self.read(candidate, rule)
        began = time.monotonic()
        try:
            known = kept.listed if kept is not None and is_usable else ""
            return self._read(candidate, rule, known) if self._seconds_left > 0 else None
        except BasegateError as error:
            log.warning("newer VEX documents of %s cannot be read: %s", candidate.image, error)
            return None
        finally:
            self._seconds_left -= time.monotonic() - began

    def stored(self, check: CheckRecord, rule: VexRule) -> VexReading:
        """What is kept of a check and counts under a rule; if it cannot be used, nothing but a warning."""
        reading = self.kept(check)
        if reading.trust == rule.fingerprint:
            return reading
        return VexReading(warnings=(_UNUSABLE,), trust=rule.fingerprint)

    def kept(self, check: CheckRecord) -> VexReading:
        """What is kept of a check, whoever was trusted then; `NO_VEX` if nothing is, or it is not what was stored."""
        kept = check.evidence.vex
        if kept is None or not kept.place:
            return NO_VEX
        try:
            reading = msgspec.json.decode(self._services.archive.read(kept.place), type=VexReading)
            _ = reading.statements
        except (Rejected, msgspec.MsgspecError, BrokenVex) as error:
            log.warning("the VEX documents at %s cannot be used: %s", kept.place, error)
            return NO_VEX
        return reading if (reading.fingerprint, reading.trust) == (kept.documents, kept.trust) else NO_VEX

    def keep(self, candidate: Candidate, check: CheckRecord, reading: VexReading) -> VexSummary:
        """Store what was read, as evidence of this attempt: what earlier ones were judged by stays, and what another
        worker reads at another moment has another name.
        """
        run = f"{candidate.gate}/{short(candidate.digest)}/{check.registry}/{check.run_id}"
        content = msgspec.json.encode(reading)
        name = f"{run}.vex-{candidate.attempt:03}-{hashlib.sha256(content).hexdigest()[:16]}.json"
        return reading.summary(self._services.archive.store(name, content.decode()))

    def _read(self, candidate: Candidate, rule: VexRule, known: str = "") -> VexReading | None:
        """Read what is attached; None if that is what was `known`.

        1. List it. The same list under the same trust has the same documents: bytes are addressed by their digest.
        2. Read and verify all of it. If that is not possible, no document counts.
        """
        with needing(_DEPENDENCY):
            trust, source = with_secrets(self._services, rule.trust), _Source(self._services, candidate)
            blank = VexReading(trust=rule.fingerprint)
            try:
                found = source.listed()  # 1
            except _Incomplete as why:
                return replace(blank, warnings=(str(why),))
            listed = _listed(trust, candidate.digest, found)
            if listed == known:
                return None
            with _recent_lock:
                recent = _recent.get(listed)
            if recent is not None:
                return replace(recent, trust=blank.trust)
            try:
                documents = source.documents(found, trust)  # 2
                reading = replace(blank, documents=documents, warnings=tuple(source.warnings()), listed=listed)
            except Malformed as error:
                raise unusable(rule.trust, error, "scan.vex") from error
            except _Incomplete as why:
                if not why.is_lasting:
                    return replace(blank, warnings=(str(why),))
                reading = replace(blank, warnings=(str(why),), listed=listed)
            with _recent_lock:
                _recent[listed] = reading
            return reading


class _Incomplete(Exception):
    """Why not all of what is attached can be read; `is_lasting`: another reading of the same list ends the same way."""

    def __init__(self, why: str, *, is_lasting: bool = False) -> None:
        super().__init__(f"judged without VEX: {why}")
        self.is_lasting = is_lasting


class _Source:
    """What is attached to one image at the source of its gate, read within `READ_SECONDS`."""

    def __init__(self, services: Services, candidate: Candidate) -> None:
        source = services.policy.gates[candidate.gate].source
        self._referrers, self._digest = services.referrers, candidate.digest
        self._registry, self._repository = services.registry_rule(source.registry), parse_repository(source.repository)
        self._ends_at = time.monotonic() + READ_SECONDS
        self._refused: list[Refused] = []
        self._number, self._bytes = 0, 0

    def listed(self) -> Attachments:
        """The manifests of attestations: those in bundles, and that under the tag of the older scheme."""
        at = self._registry, self._repository, self._digest
        with self._whole():
            tagged = self._referrers.cosign_tags(*at, suffixes=_ATTESTATIONS, ends_at=self._ends_at)
            found = self._referrers.attached(*at, artifact_type=BUNDLE_TYPE, ends_at=self._ends_at)
        return replace(found, manifests=(*tagged, *found.manifests))

    def documents(self, found: Attachments, trust: Trust) -> tuple[VexDocument, ...]:
        """The documents that count.

        Raises:
            Malformed: the trust cannot be used. _Incomplete: not all of them could be read.
        """
        assert trust.cosign is not None  # the rule has nothing else
        if found.left_out or not found.is_complete:
            left_out = found.left_out or "some"
            raise _Incomplete(f"{left_out} of the attestations of the image are beyond the limits", is_lasting=True)
        self._require_few(len(found.manifests))
        attached = [one for manifest in found.manifests for one in self._attached(manifest)]
        try:
            examined = list(attestations(self._digest, attached, trust.cosign, OPENVEX))
        except Unreadable as error:
            raise _Incomplete(plain(error), is_lasting=True) from error
        self._refused.extend(one for one in examined if isinstance(one, Refused))
        return tuple(_document(one) for one in examined if isinstance(one, Attestation))

    def warnings(self) -> Iterator[str]:
        """What is attached and has no effect."""
        if refused := self._refused:
            what = "attestation has" if len(refused) == 1 else "attestations have"
            whose = "nobody whom the rule trusts has signed a VEX document about this image there"
            yield f"{len(refused)} attached {what} no effect: {whose} ({refused[0]})"

    def _attached(self, manifest: Descriptor) -> Iterator[Attached]:
        """The attestations of a manifest that may be VEX documents. One that is none is refused, and stops no other."""
        place, body = manifest.tag or manifest.digest, self._content(manifest.digest, _MANIFEST_LIMIT_BYTES, blob=False)
        try:
            layers = attestation_layers(body, self._digest, by_tag=bool(manifest.tag))
        except Malformed as error:
            self._refused.append(Refused(place, error.problem))
            return
        for layer in layers:
            if layer.predicate_type and OPENVEX.fullmatch(layer.predicate_type) is None:
                continue
            self._number += 1
            self._require_few(self._number)
            payload = self._content(layer.digest, PAYLOAD_LIMIT_BYTES, blob=True)
            yield Attached(place=place, media_type=layer.media_type, payload=payload, annotations=layer.annotations)

    def _require_few(self, number: int) -> None:
        if number > ATTESTATIONS_LIMIT:
            raise _Incomplete(f"the image has more than {ATTESTATIONS_LIMIT} attestations", is_lasting=True)

    def _content(self, digest: Digest, limit_bytes: int, *, blob: bool) -> bytes:
        read = self._referrers.blob if blob else self._referrers.manifest
        with self._whole():
            if time.monotonic() >= self._ends_at:
                raise Retry("no time is left")
            content = read(self._registry, self._repository, digest, limit_bytes, ends_at=self._ends_at)
        self._bytes += len(content)
        if self._bytes > TOTAL_LIMIT_BYTES:
            raise _Incomplete(f"the image has more than {TOTAL_LIMIT_BYTES} bytes of attestations", is_lasting=True)
        return content

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What cannot be read, or not in time, is missing; a source that is away is another matter, and passed on."""
        try:
            yield
        except (Malformed, Rejected) as error:
            why = f"what is attached to the image cannot be read: {plain(error.problem)}"
            raise _Incomplete(why, is_lasting=isinstance(error, Malformed)) from error
        except Retry as error:
            if time.monotonic() < self._ends_at:
                raise
            raise _Incomplete(
                f"to read what is attached to the image takes longer than {READ_SECONDS:.0f} s"
            ) from error


def _document(one: Attestation) -> VexDocument:
    """A document that counts.

    Raises:
        _Incomplete: it cannot be read, so it is not known what it would take back of the others.
    """
    try:
        read_openvex(one.predicate)
        return VexDocument(text=one.predicate.decode(), by=one.by, at=one.at, place=one.place)
    except (BrokenVex, UnicodeDecodeError) as error:
        why = f"{one.place}, which {one.by} has signed, cannot be read ({plain(error)})"
        raise _Incomplete(why, is_lasting=True) from error


def _listed(trust: Trust, digest: Digest, found: Attachments) -> str:
    """Identifies what is attached to a digest, and who is trusted."""
    manifests = sorted((one.digest, one.tag) for one in found.manifests)
    return fingerprint_of([msgspec.to_builtins(trust), digest, manifests, found.left_out, found.is_complete])


def _size(reading: VexReading) -> int:
    return _ENTRY_BYTES + sum(len(one.text) for one in reading.documents)


_recent: LRUCache[str, VexReading] = LRUCache(maxsize=RECENT_BYTES, getsizeof=_size)
"""The last readings of this process, by what was listed. An image that failed is looked at by every sweep; where
registries count what is read, a list that has changed without letting it pass would be read each time.
"""

_recent_lock = Lock()
