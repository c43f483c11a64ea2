"""Keys in Key Vault through azure-keyvault-keys, and through another library that signs with them."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import JsonWebKey, KeyClient, KeyCurveName, KeyOperation, KeyType, KeyVaultKey
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from securesystemslib.signer import AzureSigner  # type: ignore[attr-defined]

from sandbox.keyvault import Vaults, crypto
from sandbox.tests.live import LiveGateway

NAME = "signing-vault"
URL = f"https://{NAME}.vault.azure.net"


@pytest.fixture
def vaults(live: LiveGateway) -> Vaults:
    vaults = Vaults(live.instance, live.issuer, live.index)
    vaults.mount(live.arm)
    live.gateway.add(vaults.surface())
    vaults.create(NAME, "akv-rg")
    return vaults


@pytest.fixture
def credential() -> Iterator[DefaultAzureCredential]:
    credential = DefaultAzureCredential()
    yield credential
    credential.close()


@pytest.fixture
def client(vaults: Vaults, credential: DefaultAzureCredential) -> Iterator[KeyClient]:
    with KeyClient(URL, credential) as client:
        yield client


def parts(key: KeyVaultKey) -> dict[str, Any]:
    """The fields of a key: the SDK sets them from the response, and declares none."""
    return vars(key.key)


def cryptography_of(key: KeyVaultKey, credential: DefaultAzureCredential) -> CryptographyClient:
    """A client that asks the vault: one with only the key's id has nothing to verify with itself."""
    assert key.id is not None
    return CryptographyClient(key.id, credential)


EC = [
    (KeyCurveName.p_256, SignatureAlgorithm.es256, "sha256", 64),
    (KeyCurveName.p_384, SignatureAlgorithm.es384, "sha384", 96),
    (KeyCurveName.p_521, SignatureAlgorithm.es512, "sha512", 132),
]


@pytest.mark.parametrize(("curve", "algorithm", "hashed", "size"), EC)
def test_an_ec_key_signs_a_hash_and_the_vault_and_the_public_key_verify_it(
    client: KeyClient,
    credential: DefaultAzureCredential,
    curve: KeyCurveName,
    algorithm: SignatureAlgorithm,
    hashed: str,
    size: int,
) -> None:
    key = client.create_ec_key("signing", curve=curve)
    assert (key.key_type, parts(key)["crv"], key.key_operations) == (KeyType.ec, curve, ["sign", "verify"])
    digest, other = (hashlib.new(hashed, text).digest() for text in (b"yes", b"no"))
    with cryptography_of(key, credential) as vault:
        signature = vault.sign(algorithm, digest).signature
        assert len(signature) == size
        assert vault.verify(algorithm, digest, signature).is_valid
    with CryptographyClient.from_jwk(key.key) as local:
        assert local.verify(algorithm, digest, signature).is_valid
        assert not local.verify(algorithm, other, signature).is_valid


@pytest.mark.parametrize("algorithm", [SignatureAlgorithm.rs256, SignatureAlgorithm.ps256])
def test_an_rsa_key_signs_with_either_padding(
    client: KeyClient, credential: DefaultAzureCredential, algorithm: SignatureAlgorithm
) -> None:
    key = client.create_rsa_key("signing", size=2048)
    digest = hashlib.sha256(b"yes").digest()
    with cryptography_of(key, credential) as vault:
        signature = vault.sign(algorithm, digest).signature
        assert not vault.verify(algorithm, digest, signature[:-1] + b"x").is_valid
    with CryptographyClient.from_jwk(key.key) as local:
        assert local.verify(algorithm, digest, signature).is_valid


def test_a_key_without_a_version_signs_with_its_latest(client: KeyClient, credential: DefaultAzureCredential) -> None:
    old = client.create_ec_key("signing")
    new = client.create_ec_key("signing")
    digest = hashlib.sha256(b"yes").digest()
    with CryptographyClient(f"{URL}/keys/signing", credential) as vault:
        signed = vault.sign(SignatureAlgorithm.es256, digest)
    assert signed.key_id == new.id != old.id
    assert client.get_key("signing").id == new.id
    assert parts(client.get_key("signing", old.properties.version))["x"] == parts(old)["x"]
    assert {item.version for item in client.list_properties_of_key_versions("signing")} == {
        old.properties.version, new.properties.version
    }  # fmt: skip


def test_keys_are_listed_without_their_parts_page_by_page(client: KeyClient) -> None:
    for number in range(12):
        client.create_ec_key(f"k{number:02}", tags={"n": str(number)})
    pages = client.list_properties_of_keys(max_page_size=10).by_page()
    assert [len(list(page)) for page in pages] == [10, 2]
    listed = list(client.list_properties_of_keys())
    assert [item.name for item in listed] == [f"k{number:02}" for number in range(12)]
    assert listed[3].tags == {"n": "3"}
    assert listed[3].id == f"{URL}/keys/k03"


def test_another_library_signs_with_a_key_of_the_vault(client: KeyClient) -> None:
    client.create_ec_key("signing")
    uri, public = AzureSigner.import_(NAME, "signing")
    signer = AzureSigner.from_priv_key_uri(uri, public)
    public.verify_signature(signer.sign(b"yes"), b"yes")


def test_a_private_key_is_imported_and_never_returned(client: KeyClient, credential: DefaultAzureCredential) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    numbers = own.private_numbers()
    point = numbers.public_numbers
    public = {name: value.to_bytes(32, "big") for name, value in (("x", point.x), ("y", point.y))}
    secret = numbers.private_value.to_bytes(32, "big")
    key = client.import_key("mine", JsonWebKey(kty="EC", crv="P-256", d=secret, **public), tags={"from": "home"})
    shown = parts(key)
    assert (shown["x"], shown["y"], shown.get("d"), key.properties.tags) == (*public.values(), None, {"from": "home"})
    with cryptography_of(key, credential) as vault:
        signature = vault.sign(SignatureAlgorithm.es256, hashlib.sha256(b"yes").digest()).signature
    with CryptographyClient.from_jwk(key.key) as local:
        assert local.verify(SignatureAlgorithm.es256, hashlib.sha256(b"yes").digest(), signature).is_valid
    wrong = JsonWebKey(kty="EC", crv="P-256", d=b"\x01" * 32, **public)
    with pytest.raises(HttpResponseError, match="The key is not valid"):
        client.import_key("wrong", wrong)


def test_an_rsa_key_is_imported_with_all_its_parts(client: KeyClient) -> None:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    values = {
        "n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d, "p": numbers.p, "q": numbers.q,
        "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp,
    }  # fmt: skip
    whole = {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in values.items()}
    assert parts(client.import_key("mine", JsonWebKey(kty="RSA", **whole)))["n"] == whole["n"]
    with pytest.raises(HttpResponseError, match="'p' is missing"):
        client.import_key("half", JsonWebKey(kty="RSA", **{name: whole[name] for name in ("n", "e", "d")}))


@pytest.mark.attack("a key vault's client", "an RSA key of numbers that take minutes to check", "their size")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": b"\xff" * 100_000}, "'n' has more than 4096 bits"),
        ({"n": b"\xff" * 128}, r"an RSA key has \(2048, 3072, 4096\) bits, not 1024"),
        ({"e": b"\xff" * 9}, "'e' has more than 64 bits"),
        ({"p": b"\xff" * 257}, "'p' has more than 2048 bits"),
        ({"d": b"\xff" * 257}, "'d' has more than 2048 bits"),
    ],
)
def test_the_size_of_an_rsa_key_is_checked_before_anything_is_computed(
    client: KeyClient, changed: dict[str, bytes], message: str
) -> None:
    whole = {"n": b"\xff" * 256, "e": b"\x01\x00\x01"} | dict.fromkeys(("d", "p", "q", "dp", "dq", "qi"), b"\xff")
    with pytest.raises(HttpResponseError, match=message):
        client.import_key("huge", JsonWebKey(kty="RSA", **(whole | changed)))


def test_the_numbers_of_an_ec_key_are_no_longer_than_its_curve(client: KeyClient) -> None:
    key = {"x": b"\xff" * 33, "y": b"\xff", "d": b"\xff"}
    with pytest.raises(HttpResponseError, match="'x' has more than 256 bits"):
        client.import_key("huge", JsonWebKey(kty="EC", crv="P-256", **key))


def test_a_key_is_checked_in_a_thread_of_its_own(
    client: KeyClient, live: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked_in: list[int] = []

    def check(jwk: Mapping[str, str | None]) -> crypto.PrivateKey:
        checked_in.append(threading.get_ident())
        return crypto.generate("EC", "P-256", 0)

    async def gateway_thread() -> int:
        return threading.get_ident()

    monkeypatch.setattr(crypto, "from_jwk", check)
    client.import_key("mine", JsonWebKey(kty="EC", crv="P-256", x=b"1", y=b"2", d=b"3"))
    assert checked_in
    assert live.run(gateway_thread()) not in checked_in


def test_a_deleted_key_signs_nothing_until_it_is_recovered(
    client: KeyClient, credential: DefaultAzureCredential
) -> None:
    key = client.create_ec_key("signing")
    deleted = client.begin_delete_key("signing").result()
    assert (deleted.name, deleted.recovery_id) == ("signing", f"{URL}/deletedkeys/signing")
    with cryptography_of(key, credential) as vault, pytest.raises(ResourceNotFoundError, match="was not found"):
        vault.sign(SignatureAlgorithm.es256, bytes(32))
    with pytest.raises(HttpResponseError, match="deleted but recoverable"):
        client.create_ec_key("signing")
    assert [item.name for item in client.list_deleted_keys()] == ["signing"]
    assert client.begin_recover_deleted_key("signing").result().id == key.id
    client.begin_delete_key("signing").result()
    client.purge_deleted_key("signing")
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_key("signing")


def test_a_key_signs_only_what_and_while_it_may(client: KeyClient, credential: DefaultAzureCredential) -> None:
    now, digest = datetime.now(UTC), hashlib.sha256(b"yes").digest()
    key = client.create_ec_key("signing")
    with cryptography_of(key, credential) as vault:
        signature = vault.sign(SignatureAlgorithm.es256, digest).signature
        for changes, why in (
            ({"enabled": False}, "disabled key"),
            ({"enabled": True, "not_before": now + timedelta(days=1)}, "not yet valid"),
            ({"not_before": now - timedelta(days=2), "expires_on": now - timedelta(days=1)}, "expired key"),
            ({"key_operations": [KeyOperation.verify]}, "not permitted on this key"),
        ):
            client.update_key_properties("signing", **changes)
            with pytest.raises(HttpResponseError, match=why) as caught:
                vault.sign(SignatureAlgorithm.es256, digest)
            assert caught.value.status_code == 403
        assert vault.verify(SignatureAlgorithm.es256, digest, signature).is_valid


def test_a_hash_or_an_algorithm_that_does_not_fit_is_refused_by_name(
    client: KeyClient, credential: DefaultAzureCredential
) -> None:
    key = client.create_ec_key("signing")
    with cryptography_of(key, credential) as vault:
        for algorithm, digest, why in (
            (SignatureAlgorithm.es256, b"short", "5 bytes. ES256 signs 32"),
            (SignatureAlgorithm.es384, bytes(48), "needs a key on P-384, not on P-256"),
            (SignatureAlgorithm.rs256, bytes(32), "does not fit a key of type EC"),
        ):
            with pytest.raises(HttpResponseError, match=why):
                vault.sign(algorithm, digest)


def test_what_the_vault_has_not_is_named(client: KeyClient) -> None:
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: client.create_ec_key("k", hardware_protected=True), "'EC-HSM': it has no HSM"),
        (lambda: client.create_ec_key("k", curve="P-256K"), "not 'P-256K'"),
        (lambda: client.create_rsa_key("k", size=1024), "2048"),
        (lambda: client.create_ec_key("k_k"), "invalid name"),
        (lambda: client.create_ec_key("k", key_operations=["sing"]), "invalid value: sing"),
    )
    for create, why in calls:
        with pytest.raises(HttpResponseError, match=why):
            create()
    with pytest.raises(ResourceNotFoundError, match="k"):
        client.get_key("k")


def test_private_keys_are_on_disk_for_their_owner_only_and_outlive_a_restart(
    client: KeyClient, live: LiveGateway
) -> None:
    key = client.create_ec_key("signing")
    file = live.instance.root / "keyvault" / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Vaults(live.instance, live.issuer, live.index).create_key(NAME, "signing") == key.id


def test_an_access_policy_decides_who_signs(client: KeyClient, live: LiveGateway) -> None:
    key = client.create_ec_key("signing")
    headers = {"Authorization": f"Bearer {live.issuer.issue('https://vault.azure.net', oid='somebody')}"}
    body = {"alg": "ES256", "value": "A" * 43}
    answer = requests.post(f"{key.id}/sign", params={"api-version": "7.6"}, headers=headers, json=body, timeout=20)
    assert answer.status_code == 403
    assert "does not have keys sign permission" in answer.json()["error"]["message"]


def test_a_backup_restores_a_key_after_it_was_purged(client: KeyClient) -> None:
    key = client.create_ec_key("signing")
    backup = client.backup_key("signing")
    client.begin_delete_key("signing").result()
    client.purge_deleted_key("signing")
    assert client.restore_key_backup(backup).id == key.id
