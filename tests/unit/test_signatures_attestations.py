"""Attestations: who says what about a digest, in bundles and in the older scheme."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from shared.domain.dsse import BUNDLE_TYPE, ENVELOPE_TYPE
from shared.domain.errors import Malformed
from shared.signatures.attestations import Attestation, attestations
from shared.signatures.manifest import attestation_layers
from shared.signatures.model import Attached, Refused, Unreadable
from shared.signatures.trust import CosignTrust
from tests.fakes import digest
from tests.fakes.sigstore import (
    NOW,
    WORKFLOW,
    Sigstore,
    bundle_layer,
    envelope,
    envelope_layer,
    key_bundle,
    pem,
    simple_signing,
    statement,
)

IMAGE, OTHER = digest("image"), digest("another")
KEY, STRANGER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
BY_KEY = CosignTrust(key=pem(KEY))
TYPE = "https://example.test/said"
WANTED = re.compile(re.escape(TYPE))
SAID = statement(IMAGE, TYPE, predicate={"said": "so"})


def examined(*attached: Attached, trust: CosignTrust = BY_KEY) -> list[Attestation | Refused]:
    return list(attestations(IMAGE, attached, trust, WANTED))


def why(one: Attached, trust: CosignTrust = BY_KEY) -> str:
    """Why an attestation is refused."""
    (refused,) = examined(one, trust=trust)
    assert isinstance(refused, Refused)
    return refused.reason


@pytest.mark.parametrize("one", [key_bundle(KEY, SAID), envelope_layer(envelope(KEY, SAID))], ids=["bundle", "older"])
def test_an_attestation_by_the_key_is_verified_with_its_predicate(one: Attached) -> None:
    (found,) = examined(one)
    assert isinstance(found, Attestation)
    assert (json.loads(found.predicate), found.at) == ({"said": "so"}, None)
    assert found.by.startswith("key sha256:")


def test_a_keyless_attestation_names_its_signer_and_its_time() -> None:
    house = Sigstore()
    for one in (bundle_layer(house.bundle(SAID)), house.old_attestation(SAID)):
        (found,) = examined(one, trust=house.trust())
        assert isinstance(found, Attestation), found
        assert found.by.startswith(WORKFLOW)
        assert found.at is not None
        assert (found.at - NOW).total_seconds() == 60
        assert json.loads(found.predicate) == {"said": "so"}


@pytest.mark.parametrize("one", [key_bundle(STRANGER, SAID), envelope_layer(envelope(STRANGER, SAID))])
def test_an_attestation_by_another_key_is_refused(one: Attached) -> None:
    assert why(one) == "it is not by the key of the rule"


def test_an_attestation_that_is_signed_by_somebody_else_is_refused_although_it_names_the_right_one() -> None:
    house, impostor = Sigstore(), Sigstore()
    for one in (bundle_layer(impostor.bundle(SAID)), impostor.old_attestation(SAID)):
        assert why(one, house.trust())
    assert "is not trusted" in why(house.old_attestation(SAID), house.trust("https://github.com/other/*"))


def test_an_older_attestation_without_an_entry_of_the_log_is_refused() -> None:
    house = Sigstore()
    one = house.old_attestation(SAID)
    certificate = {name: text for name, text in one.annotations.items() if "certificate" in name}
    assert "no entry of a transparency log" in why(replace(one, annotations=certificate), house.trust())


def test_the_entry_of_another_attestation_does_not_vouch_for_this_one() -> None:
    house = Sigstore()
    one, other = house.old_attestation(SAID), house.old_attestation(statement(IMAGE, TYPE, predicate={"said": "no"}))
    assert why(replace(one, annotations=other.annotations), house.trust())


NO_STATEMENTS = {
    "unsupported": SAID.replace(b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v9"),
    "without subjects": json.dumps({"_type": "https://in-toto.io/Statement/v1", "predicateType": TYPE}).encode(),
    "without JSON": b"{",
    "of another encoding": SAID.replace(b"Statement/v1", b"Statement/\xff"),
}


def test_an_attestation_about_something_else_is_refused() -> None:
    assert why(key_bundle(KEY, statement(OTHER, TYPE, predicate={}))) == f"it is for {OTHER}"


@pytest.mark.parametrize("payload", NO_STATEMENTS.values(), ids=NO_STATEMENTS)
def test_what_a_trusted_signer_has_signed_and_cannot_be_read_is_no_strangers(payload: bytes) -> None:
    house = Sigstore()
    signed = (key_bundle(KEY, payload), envelope_layer(envelope(KEY, payload)), bundle_layer(house.bundle(payload)))
    for one in signed:
        with pytest.raises(Unreadable, match="has signed it, and it cannot be read"):
            examined(one, trust=replace(house.trust(), key=pem(KEY)))
    assert why(key_bundle(STRANGER, payload)) == "it is not by the key of the rule"


@pytest.mark.parametrize("older", [False, True])
def test_of_several_signatures_one_may_be_trusted(older: bool) -> None:
    twice = json.loads(key_bundle(STRANGER, SAID).payload)
    twice["dsseEnvelope"]["signatures"] += envelope(KEY, SAID)["signatures"]
    with pytest.raises(Unreadable, match="the envelope has 2 signatures"):
        examined(envelope_layer(twice["dsseEnvelope"]) if older else bundle_layer(twice))


def test_a_changed_byte_is_refused() -> None:
    changed = json.loads(key_bundle(KEY, SAID).payload)
    changed["dsseEnvelope"]["payload"] = envelope(KEY, SAID + b" ")["payload"]
    assert why(bundle_layer(changed)) == "it is not by the key of the rule"


@pytest.mark.parametrize(
    "one",
    [
        key_bundle(KEY, statement(IMAGE)),
        key_bundle(STRANGER, statement(IMAGE, "https://slsa.dev/provenance/v1")),
        bundle_layer({"mediaType": BUNDLE_TYPE, "verificationMaterial": {}, "messageSignature": {}}),
        envelope_layer(envelope(KEY, simple_signing(IMAGE), "application/json")),
    ],
    ids=["a signature", "provenance", "a bundle without an envelope", "no statement"],
)
def test_what_claims_to_be_something_else_is_left_out(one: Attached) -> None:
    assert examined(one) == []


@pytest.mark.parametrize("payload", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"dsseEnvelope": 1}'])
@pytest.mark.parametrize("media_type", [BUNDLE_TYPE, ENVELOPE_TYPE])
def test_what_is_of_no_form_is_refused(payload: bytes, media_type: str) -> None:
    assert "is not of its form" in why(Attached(place="x", media_type=media_type, payload=payload))


def test_one_that_is_refused_stops_no_other() -> None:
    kinds = [type(one) for one in examined(key_bundle(STRANGER, SAID), key_bundle(KEY, SAID))]
    assert kinds == [Refused, Attestation]


def test_a_key_that_cannot_be_used_is_no_matter_of_what_is_attached() -> None:
    with pytest.raises(Malformed):
        examined(trust=CosignTrust(key="none"))


# Manifests.


def manifest(**parts: Any) -> bytes:
    layer = {"mediaType": BUNDLE_TYPE, "digest": OTHER, "annotations": {"predicateType": TYPE}}
    whole = {"artifactType": BUNDLE_TYPE, "subject": {"digest": IMAGE}, "layers": [layer]}
    return json.dumps({**whole, **parts}).encode()


def test_the_predicate_type_is_what_the_publisher_wrote() -> None:
    named = manifest(annotations={"dev.sigstore.bundle.predicateType": TYPE})
    assert [layer.predicate_type for layer in attestation_layers(named, IMAGE)] == [TYPE]
    assert [layer.predicate_type for layer in attestation_layers(manifest(), IMAGE)] == [""]
    layer = {"mediaType": ENVELOPE_TYPE, "digest": OTHER, "annotations": {"predicateType": TYPE}}
    older = manifest(artifactType="", subject=None, layers=[layer])
    assert [one.predicate_type for one in attestation_layers(older, IMAGE, by_tag=True)] == [TYPE]


@pytest.mark.parametrize(
    "body",
    [
        manifest(subject={"digest": OTHER}),
        manifest(subject=None),
        manifest(artifactType="text/plain"),
        manifest(layers=[{"mediaType": "text/plain", "digest": OTHER}]),
        manifest(layers=[{"mediaType": BUNDLE_TYPE, "digest": "sha256:x"}]),
        manifest(layers=[]),
        b"",
    ],
)
def test_a_manifest_of_another_kind_or_subject_has_no_attestation(body: bytes) -> None:
    with pytest.raises(Malformed):
        attestation_layers(body, IMAGE)
