"""The signature check: its rule, and an image on its way through it."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from scripts.schema import gates_schema
from shared.checks import KINDS
from shared.checks.signature import READ_SECONDS, SignatureCheck
from shared.domain.candidate import CandidateState, CheckRecord
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Malformed, Retry
from shared.domain.image import Digest
from shared.domain.policy import CheckRule
from shared.health import HealthChecks
from shared.rules import InvalidGates, parse_gates
from shared.signatures.manifest import NOTARY, signature_layers
from shared.signatures.model import SIGNATURES_LIMIT, Attached
from shared.signatures.trust import TRUSTED_ROOT, CosignTrust
from tests.fakes import World, digest, sample_policy
from tests.fakes.notary import IDENTITY, Notary
from tests.fakes.sigstore import ISSUER, NOW, WORKFLOW, Sigstore, key_bundle, old_layer, pem, sign, statement
from tests.fakes.sigstore import simple_signing as simple

IMAGE, OTHER = digest("green"), digest("another")
KEY, STRANGER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
BY_KEY = SignatureCheck(cosign=CosignTrust(key=pem(KEY)), timeout="1s")
"""It waits for no signature that comes later: that is in `test_signature_later.py`."""

TAG = f"{IMAGE.replace(':', '-')}.sig"


def world_with(rule: CheckRule) -> World:
    """A world whose gate has a task and a signature check."""
    gate = sample_policy().gates["node"]
    return World(sample_policy(gates={"node": replace(gate, checks=(*gate.checks, rule))}))


@pytest.fixture
def world() -> World:
    return world_with(BY_KEY)


def pushed(world: World) -> CheckRecord:
    """The signature check of an image, after it was pushed and examined for two minutes."""
    world.push("15-alpine", IMAGE)
    world.settle(within_seconds=120)
    return world.candidate(IMAGE).checks[-1]


def old(key: ec.EllipticCurvePrivateKey = KEY, subject: Digest = IMAGE) -> Attached:
    return old_layer(simple(subject), sign(key, simple(subject)))


# An image on its way.


def test_a_signed_image_passes_before_its_task_is_run(world: World) -> None:
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    check = pushed(world)
    assert check.verdict == "passed"
    assert check.reason.startswith("signed by key sha256:")
    assert (check.run_id, check.evidence.status) == ("", TAG)
    assert world.candidate(IMAGE).checks[0].verdict == "passed"
    assert world.stable_tag() == IMAGE


def test_a_bundle_that_is_a_referrer_counts(world: World) -> None:
    world.referrers.attach(IMAGE, [key_bundle(KEY, statement(IMAGE))], BUNDLE_TYPE)
    assert pushed(world).verdict == "passed"


def test_a_keyless_signature_says_who_signed_and_when() -> None:
    house = Sigstore()
    world = world_with(SignatureCheck(cosign=house.trust("https://github.com/acme/*")))
    world.referrers.attach(IMAGE, [house.old_signature(simple(IMAGE))], tag=TAG)
    reason = f"signed by {WORKFLOW} (issuer {ISSUER}) (cosign keyless at 2026-03-01 12:01:00 UTC)"
    assert pushed(world).reason == reason


def test_a_signature_of_notation_names_the_size_of_the_manifest_that_is_there() -> None:
    notary = Notary()
    world = world_with(SignatureCheck(notation=notary.trust()))
    world.clock.time = NOW
    manifest = b'{"schemaVersion":2}'
    image = world.referrers.put(manifest)
    world.referrers.attach(image, [notary.sign(image, size=7)], NOTARY)
    world.referrers.attach(image, [notary.sign(image, size=len(manifest))], NOTARY)
    world.push("15-alpine", image)
    world.settle(within_seconds=120)
    check = world.candidate(image).checks[-1]
    assert check.reason == "signed by CN=release,O=acme,ST=WA,C=US (Notation at 2026-02-28 12:00:00 UTC)"
    assert "it says that the manifest has 7 bytes" in check.evidence.log_tail[0]


def test_the_size_of_a_manifest_that_cannot_be_had_is_not_compared() -> None:
    notary = Notary()
    world = world_with(SignatureCheck(notation=notary.trust()))
    world.clock.time = NOW
    world.referrers.attach(IMAGE, [notary.sign(IMAGE, size=7)], NOTARY)
    assert pushed(world).verdict == "passed"


@pytest.mark.parametrize(("server", "verdict"), [("publicregistry.azurecr.io", "passed"), ("other.azurecr.io", None)])
def test_a_source_with_another_name_is_found_by_its_server(world: World, server: str, verdict: str | None) -> None:
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.referrers.fault = Retry("registry: 503")
    assert pushed(world).verdict is None
    world.referrers.fault = None
    registries = dict(world.policy.registries)
    registries["renamed"] = replace(registries.pop("public"), name="renamed", server=server)
    gate = world.policy.gates["node"]
    gates = {"node": replace(gate, source=replace(gate.source, registry="renamed"))}
    world.use(replace(world.policy, registries=registries, gates=gates))
    world.pass_time(600)
    candidate = world.candidate(IMAGE)
    assert candidate.checks[-1].verdict == verdict
    if verdict is None:
        assert candidate.stall is not None
        assert "do not name the registry publicregistry.azurecr.io any more" in candidate.stall.reason


def test_an_image_without_a_signature_fails_and_runs_nothing(world: World) -> None:
    check = pushed(world)
    assert (check.verdict, check.reason) == ("failed", "the image has no signature of a kind that the rule trusts")
    assert world.candidate(IMAGE).state is CandidateState.FAILED
    assert world.tasks.runs == {}
    assert world.stable_tag() is None


def test_no_task_runs_for_an_unsigned_image_either_where_the_task_promotes_it() -> None:
    gate = sample_policy().gates["node"]
    promote = replace(gate.promote, by="task")
    world = World(sample_policy(gates={"node": replace(gate, checks=(*gate.checks, BY_KEY), promote=promote)}))
    assert pushed(world).verdict == "failed"
    assert world.tasks.runs == {}


def test_each_refused_signature_is_evidence_with_its_reason(world: World) -> None:
    place = world.referrers.attach(IMAGE, [key_bundle(STRANGER, statement(IMAGE))], BUNDLE_TYPE)
    world.referrers.attach(IMAGE, [old(subject=OTHER)], tag=TAG)
    check = pushed(world)
    first = f"{TAG}: it is for {OTHER}"
    assert check.reason == f"the image has no valid signature: 2 were refused, {first}"
    assert check.evidence.log_tail == (first, f"{place}: it is not by the key of the rule")


@pytest.mark.parametrize("named", [OTHER, "sha256:x"])
def test_a_signature_that_is_attached_to_another_image_is_not_read(world: World, named: Any) -> None:
    place = world.referrers.attach(IMAGE, [key_bundle(KEY, statement(IMAGE))], BUNDLE_TYPE, named=named)
    check = pushed(world)
    assert check.verdict == "failed"
    assert f"it is attached to {named}, not to {IMAGE}" in check.reason
    assert set(world.referrers.reads) == {place}


def test_a_referrer_without_a_subject_is_attached_to_nothing() -> None:
    layer = {"mediaType": BUNDLE_TYPE, "digest": IMAGE, "size": 1}
    manifest = json.dumps({"artifactType": BUNDLE_TYPE, "layers": [layer]}).encode()
    with pytest.raises(Malformed, match="it is attached to nothing, not to"):
        signature_layers(manifest, IMAGE)


def test_a_layer_of_another_kind_is_no_signature(world: World) -> None:
    world.referrers.attach(IMAGE, [replace(old(), media_type="application/json")], BUNDLE_TYPE)
    assert "it has no layer with a signature" in pushed(world).reason


def test_a_bundle_needs_the_artifact_type_of_bundles() -> None:
    layer = {"mediaType": BUNDLE_TYPE, "digest": IMAGE, "size": 1}
    manifest = {"artifactType": "text/plain", "subject": {"digest": IMAGE}, "layers": [layer]}
    with pytest.raises(Malformed, match="artifact type text/plain"):
        signature_layers(json.dumps(manifest).encode(), IMAGE)


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 99_999, b'{"layers": [1]}', b"\xff"])
def test_what_is_no_manifest_has_no_signatures(body: bytes) -> None:
    with pytest.raises(Malformed, match="it is not an image manifest"):
        signature_layers(body, IMAGE)


def test_a_signature_that_is_listed_and_not_there_stops_no_other(world: World) -> None:
    gone = world.referrers.attach(IMAGE, [key_bundle(STRANGER, statement(IMAGE))], BUNDLE_TYPE)
    del world.referrers.content[gone]
    world.referrers.attach(IMAGE, [key_bundle(KEY, statement(IMAGE))], BUNDLE_TYPE)
    check = pushed(world)
    assert check.verdict == "passed"
    assert check.evidence.log_tail == (f"{gone}: {gone} is listed, and is not there",)


def test_a_payload_that_is_huge_or_gone_is_refused_with_its_reason(world: World) -> None:
    huge = replace(old(), payload=b" " * 2_000_000)
    world.referrers.attach(IMAGE, [huge, old()], tag=TAG)
    check = pushed(world)
    assert check.verdict == "passed"
    assert "sent more than 1048576 bytes" in check.evidence.log_tail[0]


def test_ten_thousand_referrers_neither_stop_the_gate_nor_get_through(world: World) -> None:
    for number in range(1000):
        world.referrers.attach(IMAGE, [key_bundle(STRANGER, statement(IMAGE, f"{number}"))], BUNDLE_TYPE)
    world.referrers.left_out = 9000
    check = pushed(world)
    assert check.verdict == "failed"
    assert check.reason.endswith(f"; {10_000 - SIGNATURES_LIMIT} were not examined")
    assert len(world.referrers.reads) <= 2 * 2 * SIGNATURES_LIMIT, "manifests and blobs, before and after the timeout"


def test_pages_without_an_end_are_told(world: World) -> None:
    world.referrers.is_complete = False
    assert pushed(world).reason == "the image has no valid signature: some were not examined"


def test_many_signatures_in_one_manifest_are_bounded_too(world: World) -> None:
    world.referrers.attach(IMAGE, [old(STRANGER)] * 200 + [old()], tag=TAG)
    check = pushed(world)
    assert check.verdict == "failed"
    assert f"{SIGNATURES_LIMIT} were refused" in check.reason
    assert check.reason.endswith(f"; {201 - SIGNATURES_LIMIT} were not examined")


def test_a_source_that_is_away_is_no_verdict(world: World) -> None:
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.referrers.fault = Retry("registry: 503")
    check = pushed(world)
    assert check.verdict is None
    stall = world.candidate(IMAGE).stall
    assert stall is not None
    assert (stall.dependency, stall.reason) == ("signatures at the source", "registry: 503")
    world.referrers.fault = None
    world.pass_time(3600)
    assert world.stable_tag() == IMAGE


def test_a_list_that_cannot_be_read_is_unknown_and_read_again(world: World) -> None:
    world.referrers.list_fault = Malformed("referrers", "the response is not an index")
    check = pushed(world)
    assert check.verdict is None
    assert check.reason.startswith("what is attached to the image cannot be listed: the response is not an index")
    world.referrers.list_fault = None
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    world.pass_time(3600)
    assert world.candidate(IMAGE).checks[-1].verdict == "passed"


def test_the_whole_reading_has_one_deadline() -> None:
    notary = Notary()
    world = world_with(SignatureCheck(cosign=CosignTrust(key=pem(KEY)), notation=notary.trust()))
    world.clock.time = NOW
    world.referrers.attach(IMAGE, [notary.sign(IMAGE, size=7)], NOTARY)
    began = time.monotonic()
    assert pushed(world).verdict == "passed"
    ends = world.referrers.ends[:6]  # the tag, two lists, the image's manifest, the signature's, its layer
    (ends_at,) = set(ends)
    assert set(world.referrers.ends[6:]) - set(ends), "the promotion has a deadline of its own"
    assert began + READ_SECONDS <= ends_at <= time.monotonic() + READ_SECONDS


# Keys in the vault.


def test_the_key_may_be_a_secret(world: World) -> None:
    world = world_with(SignatureCheck(cosign=CosignTrust(key="secret:release-key")))
    world.secrets.texts["release-key"] = pem(KEY)
    world.referrers.attach(IMAGE, [old()], tag=TAG)
    assert pushed(world).verdict == "passed"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no secret release-key"),
        ("no key", "the secret release-key: signature.cosign.key is not a public key in PEM"),
    ],
)
def test_a_secret_that_cannot_be_used_stalls_and_is_told_by_readyz(text: str | None, why: str) -> None:
    world = world_with(SignatureCheck(cosign=CosignTrust(key="secret:release-key")))
    if text:
        world.secrets.texts["release-key"] = text
    assert pushed(world).verdict is None
    stall = world.candidate(IMAGE).stall
    assert stall is not None
    assert why in stall.reason
    results = {one.dependency: one for one in HealthChecks(world.services).run()}
    result = results["trusted signers (secret release-key)"]
    assert (result.state, why in result.detail) == ("misconfigured", True)


def test_a_trust_root_without_logs_of_certificates_is_told_by_readyz() -> None:
    house = Sigstore()
    world = world_with(SignatureCheck(cosign=replace(house.trust(), trust_root="secret:root")))
    world.secrets.texts["root"] = json.dumps(json.loads(house.trusted_root()) | {"ctlogs": []})
    results = {one.dependency: one for one in HealthChecks(world.services).run()}
    result = results["trusted signers (secret root)"]
    assert result.state == "misconfigured"
    assert "the secret root: signature.cosign.trust_root is not a usable trusted root (CTFE keys not" in result.detail


def test_readyz_says_that_the_trust_can_be_used(world: World) -> None:
    states = [one.state for one in HealthChecks(world.services).run() if one.dependency.startswith("trusted signers")]
    assert states == ["ok"]


def test_a_key_of_the_rules_that_cannot_be_used_is_named_with_its_field() -> None:
    world = world_with(SignatureCheck(cosign=CosignTrust(key=pem(ec.generate_private_key(ec.SECP521R1())))))
    results = {one.dependency.partition(" (")[0]: one for one in HealthChecks(world.services).run()}
    result = results["trusted signers"]
    assert result.detail.startswith("signature.cosign.key is a secp521r1 key")
    assert result.remedy == "correct it in the rules"


# The rule.

SCOPE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries"


def rules(check: object) -> str:
    """A gates.yaml whose gate has one check."""
    gate = {
        "source": {"registry": "public", "repository": "node", "tags": ["15-alpine"]},
        "checks": [{"signature": check}],
        "promote": {"registry": "base", "repository": "node"},
    }
    registries = {name: {"id": f"{SCOPE}/{name}registry"} for name in ("public", "base")}
    return yaml.safe_dump({"registries": registries, "gates": {"node": gate}})


COSIGN = {"keyless": [{"identity": "https://github.com/acme/*", "issuer": ISSUER}], "trust_root": "secret:root"}
NOTATION = {"certificates": "secret:roots", "identities": [IDENTITY]}


@pytest.mark.parametrize("check", [{"cosign": COSIGN}, {"notation": NOTATION}, {"cosign": {"key": pem(KEY)}}])
def test_a_rule_is_read_and_described(check: object) -> None:
    parsed = parse_gates(rules(check)).gates["node"].checks[0]
    assert isinstance(parsed, SignatureCheck)
    jsonschema.validate(yaml.safe_load(rules(check)), gates_schema())


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ({}, "signature.cosign: cosign or notation is needed"),
        ({"cosign": {}}, "signature.cosign: a key, or keyless identities, are needed"),
        ({"cosign": {"key": "hello"}}, "signature.cosign.key: has no PEM block -----BEGIN PUBLIC KEY-----"),
        (
            {"cosign": {"key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}},
            "signature.cosign.key: has no PEM block -----BEGIN PUBLIC KEY-----",
        ),
        (
            {"cosign": {"key": "secret:no name"}},
            "cosign.key: 'no name' is not the name of a Key Vault secret",
        ),
        ({"cosign": {**COSIGN, "trust_root": ""}}, "signature.cosign.keyless: needs trust_root"),
        ({"cosign": {**COSIGN, "trust_root": "{}"}}, "signature.cosign.trust_root: is not the JSON of a trusted root"),
        (
            {"cosign": {**COSIGN, "trust_root": json.dumps({"mediaType": TRUSTED_ROOT, "tlogs": [{}], "ctlogs": []})}},
            "cosign.trust_root: has no certificateAuthorities and no ctlogs: no signature could be verified under it",
        ),
        ({"cosign": {"key": pem(KEY) * 2}}, "signature.cosign.key: has 2 PEM blocks, of which only the first would"),
        (
            {"cosign": {"key": pem(KEY), "trust_root": "secret:root"}},
            "cosign.trust_root: has no effect",
        ),
        (
            {"cosign": {**COSIGN, "keyless": [{"identity": "a", "issuer": "https://*"}]}},
            "signature.cosign.keyless.0.issuer: 'https://*' is not the URL of an OIDC issuer",
        ),
        ({"cosign": {**COSIGN, "keyless": [{"identity": "a"}]}}, "keyless.0: the key 'issuer' is missing"),
        ({"notation": {**NOTATION, "identities": []}}, "signature.notation.identities"),
        ({"notation": {**NOTATION, "identities": ["*", IDENTITY]}}, "signature.notation.identities.0: * allows any"),
        ({"notation": {**NOTATION, "identities": ["CN=x"]}}, "signature.notation.identities.0: is neither * nor"),
        ({"notation": {**NOTATION, "certificates": pem(KEY)}}, "signature.notation.certificates: has no PEM block"),
    ],
)
def test_an_error_of_the_rule_names_its_field(check: object, why: str) -> None:
    with pytest.raises(InvalidGates) as caught:
        parse_gates(rules(check))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "identity",
    [
        "*", "**", "https://*", "http*", "*/acme/*", "https://github.com*", "https://github.com/*",
        "https://github.com/acme*", "https://github.com//*", "https://*.acme.example/release/*",
        "https://github.com/*/node/*", "https://eve@/acme/*", "https://git hub/acme/*", "https:///acme/*",
        "*@*", "*@", "*@*.example", "*@acme*", "*@acme.*", "*acme.example", "release*", "*@refs/heads/main",
        "*@example", "*@acme.example/*",
    ],
)  # fmt: skip
def test_a_pattern_that_strangers_fit_is_refused_with_what_to_write(identity: str) -> None:
    with pytest.raises(InvalidGates) as caught:
        parse_gates(rules({"cosign": {**COSIGN, "keyless": [{"identity": identity, "issuer": ISSUER}]}}))
    assert f"signature.cosign.keyless.0.identity: {identity!r} could be strangers, too: write the host and" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "identity",
    [
        WORKFLOW, "ada@acme.example", "ada", "https://github.com/acme/*", "https://git.acme.example:8443/team/*/x@*",
        "spiffe://acme.example/release/*", "*@acme.example", "release-*@mail.acme.example",
    ],
)  # fmt: skip
def test_a_pattern_that_names_its_owner_is_accepted(identity: str) -> None:
    parsed = parse_gates(rules({"cosign": {**COSIGN, "keyless": [{"identity": identity, "issuer": ISSUER}]}}))
    assert parsed.gates["node"].checks


def test_an_error_within_a_rule_has_its_own_line() -> None:
    text = rules({"cosign": {**COSIGN, "keyless": [{"identity": "*", "issuer": ISSUER}]}})
    line = next(number for number, one in enumerate(text.splitlines(), 1) if "identity: '*'" in one)
    with pytest.raises(InvalidGates, match=f"line {line}, column"):
        parse_gates(text)


def test_another_key_is_another_rule() -> None:
    first, second = (parse_gates(rules({"cosign": {"key": pem(key)}})).gates["node"] for key in (KEY, STRANGER))
    assert first.fingerprint != second.fingerprint
    assert next(iter(KINDS)) == "signature"


def test_what_signed_long_ago_counts_still() -> None:
    house = Sigstore(at=NOW - timedelta(days=200))
    world = world_with(SignatureCheck(cosign=house.trust()))
    world.referrers.attach(IMAGE, [house.old_signature(simple(IMAGE))], tag=TAG)
    assert pushed(world).verdict == "passed"
