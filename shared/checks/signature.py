"""The signature check: the image is signed at its source, by someone whom the rule trusts. It runs nothing."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial

import msgspec
from msgspec.structs import replace

from shared.checks.kind import CheckKind, CheckResult
from shared.domain.candidate import Candidate, Evidence, Verdict
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Busy, Cause, Malformed, Misconfigured, Rejected, Retry
from shared.domain.image import Digest
from shared.domain.policy import CheckRule, Duration, Phase, Policy, RegistryRule, fingerprint_of, seconds
from shared.domain.record import seconds_between
from shared.ports import Descriptor, Services
from shared.signatures.manifest import NOTARY, Layer, signature_layers
from shared.signatures.model import PAYLOAD_LIMIT_BYTES, SIGNATURES_LIMIT, Attached, SignatureResult
from shared.signatures.trust import Trust, form_problems, secret_of, signers
from shared.signatures.verify import require_usable, verify

READ_SECONDS = 30.0
"""How long signatures are read in one go: a source that takes longer is away."""

_AGAIN_SECONDS = 30.0
"""How long after a reading without a valid signature the next one is."""

_TIMEOUT_LIMIT_SECONDS = 86_400

_MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024
_TAIL_LINES = 15
_SIGNATURES = (".sig",)


class SignatureCheck(Trust, CheckRule, frozen=True, kw_only=True):
    """The image is signed at its source: with cosign, by a key or keyless, or with Notation.

    Up to `timeout` after the candidate was found, a signature that is not there yet is waited for. A signature of
    either is enough. Nothing is run, and nothing but the source registry is asked.
    """

    kind = "signature"
    phase = Phase.READ

    timeout: Duration = "15m"
    """The age of the candidate until which a signature that is not there yet is waited for."""

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """Trust that is not of its form, and a wait without an end in sight."""
        yield from form_problems(self)
        if seconds(self.timeout) > _TIMEOUT_LIMIT_SECONDS:
            yield "timeout", "a signature is waited for a day at most: the source is read every 30 s for it"


class SignatureCheckKind(CheckKind[SignatureCheck]):
    """Reads what is attached to the digest at its source, and verifies it.

    `passed` names the signer; `failed` says why each signature was refused. An image is often signed after its push:
    up to the rule's timeout, a candidate without a valid signature waits for one, whatever else is attached to it.
    While the source or the vault cannot be read there is no verdict, and none either if the registry's list of
    referrers is invalid.
    """

    rule = SignatureCheck

    def start(self, candidate: Candidate, rule: SignatureCheck, mark: str) -> CheckResult:
        """Verify.

        1. Read the keys and roots of the rule.
        2. List what is attached to the digest, of the kinds that the rule trusts.
        3. Read signatures one by one, and verify each, until one is valid.
        4. If none is, wait for one, up to the timeout.

        Raises:
            Busy: it is not signed yet.
        """
        began, now = time.monotonic(), self._services.clock.now()
        trust = with_secrets(self._services, rule)  # 1
        source = _Source(self._services, candidate, deadline=began + READ_SECONDS)
        source.list_manifests(rule)  # 2
        size = source.subject_size(rule)
        try:
            result = verify(candidate.digest, source.signatures(), trust, now, size)  # 3
        except Malformed as error:
            raise unusable(rule, error, "signature") from error
        concluded = replace(_result(result, source), started_at=now)
        left = seconds(rule.timeout) - seconds_between(candidate.created_at, now)
        if concluded.verdict is Verdict.FAILED and left > 0:  # 4
            until = candidate.created_at + timedelta(seconds=seconds(rule.timeout))
            waits = f"not signed yet by {signers(rule)}; read again until {until:%Y-%m-%d %H:%M:%S} UTC"
            raise Busy("; ".join((waits, *_flaws(result, source))), max(1.0, min(_AGAIN_SECONDS, left)))
        return concluded

    def readiness(self, rule: SignatureCheck) -> Iterator[tuple[str, Callable[[], object]]]:
        """Whether the keys, certificates and roots can be read and used."""
        yield f"trusted signers ({signers_id(rule)})", partial(require_signers, self._services, rule, "signature")

    def dependency(self, rule: SignatureCheck) -> str:
        """The source registry, or the vault."""
        return "signatures at the source"


class _Source:
    """What is attached to a candidate at its source; `left_out` and `problems` say what was not read, and why."""

    def __init__(self, services: Services, candidate: Candidate, deadline: float) -> None:
        self._referrers, self._candidate, self._deadline = services.referrers, candidate, deadline
        self._registry = _registry(services.policy, candidate)
        self._manifests: list[Descriptor] = []
        self.left_out, self.is_complete = 0, True
        self.problems: list[str] = []

    def list_manifests(self, rule: SignatureCheck) -> None:
        """List the manifests of the kinds that a rule trusts. An invalid list is a problem, and stops no other."""
        at = self._registry, self._candidate.repository, self._candidate.digest
        if rule.cosign is not None:
            try:
                self._manifests += self._referrers.cosign_tags(*at, suffixes=_SIGNATURES, ends_at=self._deadline)
            except (Malformed, Rejected) as error:
                self.problems.append(error.problem)
        for wanted in (BUNDLE_TYPE,) * (rule.cosign is not None) + (NOTARY,) * (rule.notation is not None):
            try:
                found = self._referrers.attached(*at, artifact_type=wanted, ends_at=self._deadline)
            except (Malformed, Rejected) as error:
                self.problems.append(error.problem)
            else:
                self._manifests += found.manifests
                self.left_out += found.left_out
                self.is_complete &= found.is_complete

    def subject_size(self, rule: SignatureCheck) -> int | None:
        """The size of the image's manifest, which signatures of Notation name; None if nothing needs it, or if it
        cannot be had: the digest identifies the manifest anyway.
        """
        if rule.notation is None or not any(one.artifact_type == NOTARY for one in self._manifests):
            return None
        at = self._registry, self._candidate.repository, self._candidate.digest
        try:
            return len(self._referrers.manifest(*at, limit_bytes=_MANIFEST_LIMIT_BYTES, ends_at=self._deadline))
        except (Malformed, Rejected):
            return None

    def signatures(self) -> Iterator[Attached]:
        """The signatures, read as they are taken, up to the limit.

        Raises:
            Retry: the source is away, or takes too long.
        """
        number = 0
        for index, manifest in enumerate(self._manifests):
            if number == SIGNATURES_LIMIT:
                self.left_out += len(self._manifests) - index
                return
            for one in self._claims(manifest):
                if number == SIGNATURES_LIMIT:
                    self.left_out += 1
                    continue
                number += 1
                yield one if isinstance(one, Attached) else self._attached(manifest, one)

    def _claims(self, manifest: Descriptor) -> Iterable[Layer | Attached]:
        """The layers of a manifest that claim to be signatures; if it is unusable, one signature that says why."""
        try:
            body = self._read(manifest.digest, _MANIFEST_LIMIT_BYTES, blob=False)
            return signature_layers(body, self._candidate.digest, by_tag=bool(manifest.tag))
        except (Malformed, Rejected) as error:
            return (Attached(place=_place(manifest), media_type="", problem=error.problem),)

    def _attached(self, manifest: Descriptor, layer: Layer) -> Attached:
        """A layer with its bytes, or why they cannot be read."""
        try:
            payload, problem = self._read(layer.digest, PAYLOAD_LIMIT_BYTES, blob=True), ""
        except (Malformed, Rejected) as error:
            payload, problem = b"", error.problem
        return Attached(
            place=_place(manifest),
            media_type=layer.media_type,
            payload=payload,
            annotations=layer.annotations,
            problem=problem,
        )

    def _read(self, digest: Digest, limit_bytes: int, *, blob: bool) -> bytes:
        if time.monotonic() > self._deadline:
            subject = f"{self._candidate.login_server}/{self._candidate.repository}@{self._candidate.digest}"
            raise Retry(f"reading the signatures of {subject} takes longer than {READ_SECONDS:.0f} s")
        read = self._referrers.blob if blob else self._referrers.manifest
        return read(self._registry, self._candidate.repository, digest, limit_bytes, ends_at=self._deadline)


def _registry(policy: Policy, candidate: Candidate) -> RegistryRule:
    """The source of a candidate, whatever its name in the rules is now.

    Raises:
        Misconfigured: the rules do not name it any more.
    """
    named = policy.registries.get(candidate.source_registry) or policy.registry_at(candidate.login_server)
    if named is None:
        problem = f"the rules do not name the registry {candidate.login_server} any more"
        raise Misconfigured(problem, remedy="name it, or cancel the candidate")
    return named


# The trust of a rule.


def with_secrets(services: Services, rule: Trust) -> Trust:
    """The trust of a rule with the texts of its secrets.

    Raises:
        Misconfigured: a secret cannot be read.
    """
    read = {name: services.secrets.read(name) for _, name in _secrets(rule)}

    def text(written: str) -> str:
        return read.get(secret_of(written), written)

    cosign, notation = rule.cosign, rule.notation
    return Trust(
        cosign=cosign and replace(cosign, key=text(cosign.key), trust_root=text(cosign.trust_root)),
        notation=notation and replace(notation, certificates=text(notation.certificates)),
    )


def require_signers(services: Services, rule: Trust, key: str) -> None:
    """Check that the keys, certificates and roots of the rule under a key can be read and used.

    Raises:
        Misconfigured: one cannot.
    """
    try:
        require_usable(with_secrets(services, rule), services.clock.now())
    except Malformed as error:
        raise unusable(rule, error, key) from error


def unusable(rule: Trust, error: Malformed, key: str) -> Misconfigured:
    """The error for the trust of the rule under a key, of which a text cannot be used."""
    name = dict(_secrets(rule)).get(error.field, "")
    problem = f"{key}.{error.field} {error.problem}"
    if name:
        return Misconfigured(f"the secret {name}: {problem}", cause=Cause.SECRET, remedy="store the right text in it")
    return Misconfigured(problem, remedy="correct it in the rules")


def signers_id(rule: Trust) -> str:
    """What tells the trust of a rule from that of others: the names of its secrets, or a hash."""
    names = [name for _, name in _secrets(rule)]
    return f"secret {', '.join(names)}" if names else fingerprint_of(msgspec.to_builtins(rule))[:8]


def _place(manifest: Descriptor) -> str:
    return manifest.tag or manifest.digest


def _secrets(rule: Trust) -> Iterator[tuple[str, str]]:
    """The secrets that a rule names, by key."""
    cosign, notation = rule.cosign, rule.notation
    texts = {
        "cosign.key": cosign.key if cosign else "",
        "cosign.trust_root": cosign.trust_root if cosign else "",
        "notation.certificates": notation.certificates if notation else "",
    }
    return ((key, name) for key, text in texts.items() if (name := secret_of(text)))


def _result(result: SignatureResult, source: _Source) -> CheckResult:
    """The verdict, with what was refused as its evidence."""
    refused = [*map(str, result.refused), *source.problems]
    tail = tuple(refused[:_TAIL_LINES])
    if (signed := result.signed) is not None:
        when = f" at {signed.at:%Y-%m-%d %H:%M:%S} UTC" if signed.at else ""
        reason = f"signed by {signed.by} ({signed.kind}{when})"
        return CheckResult(verdict=Verdict.PASSED, reason=reason, evidence=Evidence(status=signed.place, log_tail=tail))
    evidence = Evidence(status=f"{len(refused)} refused, {source.left_out} not examined", log_tail=tail)
    if source.problems:
        reason = f"what is attached to the image cannot be listed: {source.problems[0]}"
        return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, evidence=evidence)
    return CheckResult(verdict=Verdict.FAILED, reason=_failure(result, source), evidence=evidence)


def _failure(result: SignatureResult, source: _Source) -> str:
    flaws = "; ".join(_flaws(result, source))
    if not flaws:
        return "the image has no signature of a kind that the rule trusts"
    return f"the image has no valid signature: {flaws}"


def _flaws(result: SignatureResult, source: _Source) -> Iterator[str]:
    """What of the attached signatures does not count, or was not examined."""
    left_out, refused = source.left_out, result.refused
    if refused:
        yield f"{len(refused)} {'was' if len(refused) == 1 else 'were'} refused, {refused[0]}"
    if left_out or not source.is_complete:
        yield f"{left_out or 'some'} were not examined"
