"""Signing with a key in the vault, and what is attached to an image in a registry."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.keyvault.keys import KeyClient
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec.structs import replace

from basegate_cli.commands import main
from sandbox.testing import tiny_image
from shared.adapters import artifacts_acr
from shared.adapters.registry_acr import AcrRegistry
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.signing_keyvault import VaultSigner
from shared.attestation.statement import DOCUMENT_TYPES, CheckFacts, evidence_of
from shared.domain.candidate import CandidateState, new_attempt
from shared.domain.errors import Gone, Misconfigured
from shared.domain.image import Digest, Tag
from shared.domain.promotion import new_promotion
from shared.findings.documents import documents
from shared.findings.model import Report
from shared.ports import Artifact
from shared.promotion.decision_records import DecisionRecords
from tests.contract.place import VAULT_URL, Place
from tests.fakes import START, sample_policy
from tests.fakes.storage import FakeArchive

SIGSTORE_JS = Path(__file__).resolve().parents[2] / ".tools/sigstore_js"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
RECORD = Artifact(media_type=BUNDLE, content=b'{"a":"record"}', annotations={"dev.sigstore.bundle.content": "x"})


@pytest.fixture(scope="module")
def keys(place: Place) -> KeyClient:
    return KeyClient(VAULT_URL, place.credential())


@pytest.fixture(scope="module")
def registry(place: Place, secrets: VaultCredentials) -> AcrRegistry:
    return AcrRegistry(place.credential, secrets)


def test_a_signature_is_verified_by_the_public_key_that_comes_with_it(place: Place, keys: KeyClient) -> None:
    keys.create_ec_key("records")
    signer = VaultSigner(f"{VAULT_URL}/keys/records", place.credential)
    signer.check()
    first = signer.sign(hashlib.sha256(b"yes").digest())
    keys.create_ec_key("records")  # rotated
    second = signer.sign(hashlib.sha256(b"yes").digest())
    assert first.public_key != second.public_key
    for one in (first, second):
        key = load_pem_public_key(one.public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(one.value, b"yes", ec.ECDSA(SHA256()))


def test_a_key_that_cannot_sign_a_record_is_named_with_what_to_do(place: Place, keys: KeyClient) -> None:
    keys.create_ec_key("other-curve", curve="P-384")
    keys.create_rsa_key("other-type", size=2048)
    keys.create_ec_key("off", enabled=False)
    for name, why in (
        ("other-curve", "type EC over P-384, not EC over P-256. To fix it: set BASEGATE_SIGNING_KEY"),
        ("other-type", "type RSA, not EC over P-256"),
        ("off", f"signing with {VAULT_URL}/keys/off: 403 .*disabled key"),
        ("none", f"there is no key {VAULT_URL}/keys/none. To fix it: create it"),
    ):
        with pytest.raises(Misconfigured, match=why):
            VaultSigner(f"{VAULT_URL}/keys/{name}", place.credential).check()


def test_an_artifact_is_a_referrer_of_its_image_and_attached_once(place: Place, registry: AcrRegistry) -> None:
    digest = place.push(place.base, "recorded", "1", tiny_image("recorded"))
    attached = registry.attach(place.base, "recorded", digest, RECORD)
    assert registry.attach(place.base, "recorded", digest, RECORD) == attached
    manifest = json.loads(place.manifest(place.base, "recorded", attached))
    assert manifest["artifactType"] == BUNDLE
    assert manifest["subject"]["digest"] == digest
    assert manifest["subject"]["size"] == len(place.manifest(place.base, "recorded", digest))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [BUNDLE]
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    content = place.registry(place.base).download_blob("recorded", manifest["layers"][0]["digest"])
    assert b"".join(content) == RECORD.content


def test_nothing_is_attached_to_an_image_that_is_not_there(place: Place, registry: AcrRegistry) -> None:
    with pytest.raises(Gone, match="is not in recorded"):
        registry.attach(place.base, "recorded", Digest("sha256:" + "0" * 64), RECORD)


def test_a_layer_is_added_once_to_the_artifact_under_a_tag_and_the_others_stay(
    place: Place, registry: AcrRegistry
) -> None:
    other = Artifact(media_type="application/vnd.dsse.envelope.v1+json", content=b"other", annotations={"a": "b"})
    for layer in (RECORD, other, RECORD):
        registry.add_layer(place.base, "layered", "sha256-0.att", layer)
    manifest = json.loads(place.manifest(place.base, "layered", "sha256-0.att"))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [RECORD.media_type, other.media_type]
    assert manifest["layers"][1]["annotations"] == {"a": "b"}


def test_without_the_referrers_api_an_artifact_is_listed_under_the_tag_of_its_image(
    place: Place, registry: AcrRegistry
) -> None:
    client = place.registry(place.base)
    digest = place.push(place.base, "listed", "1", tiny_image("listed"))
    other = Artifact(media_type=BUNDLE, content=b'{"another":"record"}')
    descriptors = []
    for one in (RECORD, other, RECORD):
        attached = registry.attach(place.base, "listed", digest, one)
        size = len(place.manifest(place.base, "listed", attached))
        descriptor = {"mediaType": artifacts_acr.OCI_MANIFEST, "digest": attached, "size": size, "artifactType": BUNDLE}
        artifacts_acr.list_by_tag(client, "listed", digest, descriptor)
        descriptors.append(descriptor)
    index = json.loads(place.manifest(place.base, "listed", digest.replace(":", "-")))
    assert index["manifests"] == descriptors[:2]


@pytest.fixture(scope="module")
def proven(place: Place, registry: AcrRegistry, keys: KeyClient) -> tuple[Digest, list[bytes], bytes]:
    """The records that are attached to an image: its digest, their bundles, and the public key of the vault."""
    keys.create_ec_key("proofs")
    signer = VaultSigner(f"{VAULT_URL}/keys/proofs", place.credential)
    gate, source = sample_policy().gates["node"], sample_policy().registries["public"]
    digest = place.push(place.base, "node", "proven", tiny_image("proven"))
    candidate = new_attempt(gate, source, digest, Tag("proven"), START).ended(START, CandidateState.PASSED, "passed")
    promotion = new_promotion(gate, source, Tag("proven"), digest, 1, START).based_on(candidate, START)
    archive = FakeArchive()
    services: Any = SimpleNamespace(registry=registry, archive=archive, url="", registry_rule=lambda _: place.base)
    records = DecisionRecords(services)
    promotion = replace(promotion, unique="proven-1", moved_at=START)
    scanned = documents(Report(format="trivy"), (), records.image(promotion, gate), START)
    facts = CheckFacts(evidence=tuple(evidence_of(name, "", content) for name, content in scanned.items()))
    signed = replace(promotion, signed_record=records.sign(promotion, candidate, gate, {0: facts}, signer))
    bundles = records.signed(signed)
    files = [
        Artifact(media_type="application/json", content=one, artifact_type=DOCUMENT_TYPES[name], file_name=name)
        for name, one in scanned.items()
    ]
    assert len(set(records.attach(signed, gate, bundles, files))) == 4
    return digest, bundles, signer.sign(bytes(32)).public_key


@pytest.fixture(scope="module")
def stranger(place: Place, keys: KeyClient) -> bytes:
    """The public key of another key of the vault."""
    keys.create_ec_key("strangers")
    return VaultSigner(f"{VAULT_URL}/keys/strangers", place.credential).sign(bytes(32)).public_key


def test_the_command_line_verifies_what_was_signed_and_attached(
    place: Place,
    proven: tuple[Digest, list[bytes], bytes],
    stranger: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    digest, _, public_key = proven
    key = tmp_path / "key.pem"
    key.write_bytes(public_key)
    monkeypatch.setenv("BASEGATE_REGISTRY_PASSWORD", place.refresh_token(place.base))
    image = f"{place.base.login_server}/node:proven"
    arguments = ["verify", image, "--key", str(key), "--username", "00000000-0000-0000-0000-000000000000"]
    assert main(arguments) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert f"{place.base.login_server}/node@{digest} passed gate node" in printed
    assert printed.count(" (attached)\n") == 2
    key.write_bytes(stranger)
    assert main(arguments) == 1
    assert "made by none of the given keys" in capsys.readouterr().err


def verified_by_sigstore_js(content: bytes, public_key: bytes, folder: Path) -> str:
    """Why sigstore-js refuses a bundle, "" if it verifies it."""
    if not (SIGSTORE_JS / "node_modules").exists():
        pytest.fail(f"there is no sigstore-js in {SIGSTORE_JS}: `make browser` installs it")
    key = folder / "key.pem"
    key.write_bytes(public_key)
    command = ["node", str(Path(__file__).parent / "sigstore_js/verify.cjs"), str(key)]
    environment = {**os.environ, "NODE_PATH": str(SIGSTORE_JS / "node_modules")}
    done = subprocess.run(command, input=content, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1 if done.stdout else 0, b"")
    return done.stdout.decode().strip()


def changed_byte(text: str) -> str:
    """A text in base64 of which one byte was changed."""
    content = bytearray(b64decode(text))
    content[len(content) // 2] ^= 1
    return b64encode(content).decode()


def test_sigstore_js_verifies_what_was_signed_and_refuses_one_changed_byte(
    proven: tuple[Digest, list[bytes], bytes], stranger: bytes, tmp_path: Path
) -> None:
    _, bundles, public_key = proven
    for content in bundles:
        assert verified_by_sigstore_js(content, public_key, tmp_path) == ""
        payload, signature = json.loads(content), json.loads(content)
        payload["dsseEnvelope"]["payload"] = changed_byte(payload["dsseEnvelope"]["payload"])
        (one,) = signature["dsseEnvelope"]["signatures"]
        one["sig"] = changed_byte(one["sig"])
        for changed in (payload, signature):
            refused = verified_by_sigstore_js(json.dumps(changed).encode(), public_key, tmp_path)
            assert refused == "VerificationError: signature verification failed"
    assert "key not found" in verified_by_sigstore_js(bundles[0], stranger, tmp_path)
